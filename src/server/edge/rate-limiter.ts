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

interface CallerState {
  readonly requests: TokenBucket | null;
  readonly tokens: TokenBucket | null;
  running: number;
}

/** Beyond so many callers, those that have their limits whole again are forgotten. */
const maxCallers = 10_000;

/** What each caller may still do. A refused request costs nothing. Knows no HTTP but the names of headers. */
export class RateLimiter {
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
    if (refusal !== null) {
      return { kind: "refused", ...refusal, headers: headersOf(state, now) };
    }
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

  /** Counts tokens that a caller's request turned out to need. */
  charge(caller: string, tokens: number): void {
    const now = this.#now();
    this.#stateOf(caller, now).tokens?.take(tokens, now);
  }

  #refusal({ requests, tokens, running }: CallerState, now: number) {
    const { maxConcurrent } = this.limits;
    if (maxConcurrent !== null && running >= maxConcurrent) {
      const message = `${running} requests of yours are running, the limit of this server. Wait for one of them to end.`;
      return { message, retryAfterSeconds: 1 };
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
    const { name, bucket, waitMs } = longest;
    const message = `Rate limit reached for ${name} per min: Limit ${bucket.perMinute}. Please try again in ${duration(waitMs)}.`;
    return { message, retryAfterSeconds: Math.ceil(waitMs / 1000) };
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

/** OpenAI's names and forms. */
function headersOf({ requests, tokens }: CallerState, now: number): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const [name, bucket] of [["requests", requests] as const, ["tokens", tokens] as const]) {
    if (bucket === null) continue;
    headers[`x-ratelimit-limit-${name}`] = String(bucket.perMinute);
    headers[`x-ratelimit-remaining-${name}`] = String(Math.max(0, Math.floor(bucket.level(now))));
    headers[`x-ratelimit-reset-${name}`] = duration(bucket.msUntil(bucket.perMinute, now));
  }
  return headers;
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
