import { TokenBucket } from "./token-bucket.js";

/** Of each caller; null: no limit. */
export interface RateLimits {
  readonly requestsPerMinute: number | null;
  readonly tokensPerMinute: number | null;
  readonly maxConcurrent: number | null;
}

export type Admission =
  | {
      readonly kind: "admitted";
      readonly headers: Readonly<Record<string, string>>;
      /** The request has ended. Safe to call again. */
      readonly release: () => void;
    }
  | {
      readonly kind: "refused";
      /** A sentence for the caller. */
      readonly message: string;
      readonly retryAfterSeconds: number;
      readonly headers: Readonly<Record<string, string>>;
    };

/** What each caller may still do, counted here or elsewhere. */
export interface CallerLimiter {
  readonly limits: RateLimits;
  admit(caller: string): Admission | Promise<Admission>;
  /** Counts tokens that a caller's request turned out to need. */
  charge(caller: string, tokens: number): void;
}

interface CallerState {
  readonly requests: TokenBucket | null;
  readonly tokens: TokenBucket | null;
  running: number;
}

/** Beyond so many callers, those that have their limits whole again are forgotten. */
const maxCallers = 10_000;

/** In this process. A refused request costs nothing. Knows no HTTP but the names of headers. */
export class RateLimiter implements CallerLimiter {
  readonly limits: RateLimits;
  readonly #now: () => number;
  readonly #callers = new Map<string, CallerState>();

  constructor(limits: RateLimits, now: () => number = () => performance.now()) {
    this.limits = limits;
    this.#now = now;
  }

  admit(caller: string): Admission {
    const now = this.#now();
    const state = this.#stateOf(caller, now);
    const refusal = this.#refusal(state, now);
    if (refusal !== null) return { ...refusal, headers: headersOf(state, now) };
    state.requests?.take(1, now);
    state.running++;
    let released = false;
    return {
      kind: "admitted",
      headers: headersOf(state, now),
      release() {
        if (!released) state.running--;
        released = true;
      },
    };
  }

  charge(caller: string, tokens: number): void {
    const now = this.#now();
    this.#stateOf(caller, now).tokens?.take(tokens, now);
  }

  #refusal({ requests, tokens, running }: CallerState, now: number) {
    const { maxConcurrent } = this.limits;
    if (maxConcurrent !== null && running >= maxConcurrent) {
      const message = `${running} requests of yours are running, the limit of this server. Wait for one of them to end.`;
      return { kind: "refused", message, retryAfterSeconds: 1 } as const;
    }
    // One more unit is enough to be let in: what a request will cost in tokens shows later.
    const waits = [
      { name: "requests", bucket: requests },
      { name: "tokens", bucket: tokens },
    ].flatMap(({ name, bucket }) => (bucket === null ? [] : [{ name, bucket, waitMs: bucket.msUntil(1, now) }]));
    const longest = waits.reduce<(typeof waits)[number] | null>(
      (worst, wait) => (wait.waitMs > (worst?.waitMs ?? 0) ? wait : worst),
      null,
    );
    if (longest === null) return null;
    return rateRefusal(longest.name, longest.bucket.perMinute, longest.waitMs);
  }

  #stateOf(caller: string, now: number): CallerState {
    const known = this.#callers.get(caller);
    if (known !== undefined) return known;
    if (this.#callers.size >= maxCallers) this.#forget(now);
    const { requestsPerMinute, tokensPerMinute } = this.limits;
    const state: CallerState = {
      requests: requestsPerMinute === null ? null : new TokenBucket(requestsPerMinute, now),
      tokens: tokensPerMinute === null ? null : new TokenBucket(tokensPerMinute, now),
      running: 0,
    };
    this.#callers.set(caller, state);
    return state;
  }

  #forget(now: number): void {
    for (const [caller, state] of this.#callers) {
      const whole = [state.requests, state.tokens].every(
        (bucket) => bucket === null || bucket.level(now) >= bucket.perMinute,
      );
      if (whole && state.running === 0) this.#callers.delete(caller);
    }
  }
}

/** In OpenAI's words. */
export function rateRefusal(name: string, perMinute: number, waitMs: number) {
  const message = `Rate limit reached for ${name} per min: Limit ${perMinute}. Please try again in ${duration(waitMs)}.`;
  return { kind: "refused", message, retryAfterSeconds: Math.ceil(waitMs / 1000) } as const;
}

function headersOf({ requests, tokens }: CallerState, now: number): Record<string, string> {
  const lines = [["requests", requests] as const, ["tokens", tokens] as const].map(([name, bucket]) =>
    bucket === null ? {} : headerLine(name, bucket.perMinute, bucket.level(now), bucket.msUntil(bucket.perMinute, now)),
  );
  return Object.assign({}, ...lines) as Record<string, string>;
}

/** OpenAI's names and forms. */
export function headerLine(name: string, perMinute: number, left: number, resetMs: number): Record<string, string> {
  return {
    [`x-ratelimit-limit-${name}`]: String(perMinute),
    [`x-ratelimit-remaining-${name}`]: String(Math.max(0, Math.floor(left))),
    [`x-ratelimit-reset-${name}`]: duration(resetMs),
  };
}

/** As OpenAI writes times: `0s`, `120ms`, `7.5s`, `6m0s`. */
export function duration(milliseconds: number): string {
  const whole = Math.ceil(milliseconds);
  if (whole === 0) return "0s";
  if (whole < 1_000) return `${whole}ms`;
  const minutes = Math.floor(whole / 60_000);
  const seconds = Number(((whole % 60_000) / 1_000).toFixed(3));
  return minutes === 0 ? `${seconds}s` : `${minutes}m${seconds}s`;
}
