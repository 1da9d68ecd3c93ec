import { setTimeout as sleep } from "node:timers/promises";
import type { ToastError } from "../errors.js";

/** Something that may go better in a moment. Its message is the reason alone; `final` is what to say if it does not. */
export class TransientFailure extends Error {
  override readonly name = "TransientFailure";
  readonly final: ToastError;
  /** What the other side asks for, in milliseconds; null: it does not say. */
  readonly afterMs: number | null;
  /** How often it is worth trying. */
  readonly tries: number;

  constructor(reason: string, final: ToastError, options: { afterMs?: number | null; tries?: number } = {}) {
    super(reason, { cause: final });
    this.final = final;
    this.afterMs = options.afterMs ?? null;
    this.tries = options.tries ?? 5;
  }
}

export interface RetryPace {
  /** Before the second try; it doubles with each further one. */
  readonly firstWaitMs: number;
  /** Nobody sits in front of a longer wait: what asks for more has failed. */
  readonly longestWaitMs: number;
  /** An unfinished file that nobody has touched for so long is nobody's. */
  readonly idleMs: number;
}

export const defaultRetryPace: RetryPace = { firstWaitMs: 1000, longestWaitMs: 300_000, idleMs: 10_000 };

/** How long to wait after a failure, and when to give up. */
export class Retries {
  readonly #pace: RetryPace;
  readonly #signal: AbortSignal | undefined;
  readonly #onWait: (why: string) => void;
  #failures = 0;

  /** @param onWait is told why, and for how long. */
  constructor(pace: RetryPace, signal: AbortSignal | undefined, onWait: (why: string) => void) {
    this.#pace = pace;
    this.#signal = signal;
    this.#onWait = onWait;
  }

  /** There was progress: what comes next is a first failure again. */
  reset(): void {
    this.#failures = 0;
  }

  /** Tries `work` until it succeeds, fails for good, or has failed too often. */
  async run<T>(work: () => Promise<T>): Promise<T> {
    for (;;) {
      this.#signal?.throwIfAborted();
      try {
        return await work();
      } catch (error) {
        await this.#waitAfter(error);
      }
    }
  }

  async #waitAfter(error: unknown): Promise<void> {
    if (!(error instanceof TransientFailure)) throw error;
    this.#failures += 1;
    if (this.#failures >= error.tries || (error.afterMs ?? 0) > this.#pace.longestWaitMs) throw error.final;
    const { firstWaitMs } = this.#pace;
    // Up to half as long again, so that many who failed together do not come back together.
    const backoff = Math.min(firstWaitMs * 2 ** (this.#failures - 1), 30 * firstWaitMs) * (1 + Math.random() / 2);
    const ms = error.afterMs ?? backoff;
    this.#onWait(`${error.message}; trying again in ${Math.ceil(ms / 1000)} s`);
    await sleep(ms, undefined, this.#signal === undefined ? {} : { signal: this.#signal });
  }
}
