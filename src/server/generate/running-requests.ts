import { ToastError } from "../../errors.js";
import { linkedAbort } from "../../linked-abort.js";

/** One generation between its request and the last byte of its answer. */
export interface RunningRequest {
  /** Aborts when the client goes away or the time limit is over; the engine then frees the lanes. */
  readonly signal: AbortSignal;
  abort(): void;
  /** To be called once the answer is complete, whatever became of it. Safe to call again. */
  end(): void;
}

/**
 * Counts generations, so that a shutdown can wait for them, then end them, and ends those that take too long. Knows no
 * sockets.
 */
export class RunningRequests {
  readonly #running = new Set<AbortController>();
  #state: "accepting" | "draining" = "accepting" as "accepting" | "draining";
  #whenIdle: (() => void)[] = [];
  readonly #timeoutMs: number | null;

  /** @param options.timeoutMs from `begin` to `end`; null: no limit. */
  constructor(options: { readonly timeoutMs: number | null } = { timeoutMs: null }) {
    this.#timeoutMs = options.timeoutMs;
  }

  get draining(): boolean {
    return this.#state === "draining";
  }

  get count(): number {
    return this.#running.size;
  }

  /**
   * @param client aborts when the client's connection closes.
   * @throws ToastError `server_draining` after {@link stopAccepting}.
   */
  begin(client: AbortSignal): RunningRequest {
    if (this.draining) {
      throw new ToastError(
        "server_draining",
        "The server is shutting down. Send the request to another one, or later.",
      );
    }
    const { controller, unlink } = linkedAbort(client);
    this.#running.add(controller);
    const timer =
      this.#timeoutMs === null ? undefined : setTimeout(expire, this.#timeoutMs, controller, this.#timeoutMs);
    const end = () => {
      clearTimeout(timer);
      unlink();
      if (this.#running.delete(controller) && this.#running.size === 0) {
        const waiting = this.#whenIdle;
        this.#whenIdle = [];
        for (const resolve of waiting) {
          resolve();
        }
      }
    };
    return { signal: controller.signal, abort: () => controller.abort(), end };
  }

  stopAccepting(): void {
    this.#state = "draining";
  }

  /** @returns once nothing runs. A client that neither reads nor leaves can put that off for ever. */
  idle(): Promise<void> {
    return this.#running.size === 0 ? Promise.resolve() : new Promise((resolve) => this.#whenIdle.push(resolve));
  }

  abortAll(): void {
    for (const controller of this.#running) {
      controller.abort();
    }
  }
}

function expire(controller: AbortController, timeoutMs: number): void {
  const message = `The answer was not complete after ${timeoutMs / 1000} seconds, the limit of this server. Ask for fewer tokens.`;
  controller.abort(new ToastError("request_timeout", message));
}
