import { ToastError } from "../../errors.js";
import { EventQueue } from "../../event-queue.js";
import type { Generation, GenerationEvent } from "../engine.js";

/** One request's way back: a promise of acceptance, then a queue of events for one reader. */
export class PendingRequest {
  /** @throws ToastError when it is refused */
  readonly accepted: Promise<Generation>;
  readonly #events: EventQueue<GenerationEvent>;
  readonly #signal: AbortSignal;
  readonly #cancel: () => void;
  /** Choices that go on. */
  #running: number;
  #accept: (generation: Generation) => void = () => {};
  #refuse: (error: ToastError) => void = () => {};
  #start: (queueMs: number) => void = () => {};

  /**
   * @param cancel is called when `signal` aborts or the reader walks away before the end: the engine need not go on.
   */
  constructor(choices: number, signal: AbortSignal, cancel: () => void) {
    this.#running = choices;
    this.#signal = signal;
    this.#cancel = () => {
      if (this.#running > 0) cancel();
    };
    this.#events = new EventQueue(this.#cancel);
    this.accepted = new Promise((resolve, reject) => {
      this.#accept = resolve;
      this.#refuse = reject;
    });
  }

  /**
   * To be called once the request is on its way: it is cancelled behind that, even where the signal has aborted before.
   */
  watchSignal(): void {
    if (this.#signal.aborted) this.#cancel();
    else this.#signal.addEventListener("abort", this.#cancel, { once: true });
  }

  accept(promptTokens: number): void {
    const started = new Promise<number>((resolve) => {
      this.#start = resolve;
    });
    this.#accept({ promptTokens, started, events: this.#events });
  }

  start(queueMs: number): void {
    this.#start(queueMs);
  }

  push(event: GenerationEvent): void {
    this.#events.push(event);
  }

  /** One choice has ended. @returns whether all have. */
  finish(event: GenerationEvent & { readonly kind: "finished" }): "running" | "done" {
    const { reason } = this.#signal;
    if (event.reason === "cancelled" && reason instanceof ToastError) this.#events.fail(reason);
    else this.#events.push(event);
    if (--this.#running > 0) return "running";
    this.#close();
    this.#events.close();
    return "done";
  }

  /** Before acceptance: `accepted` throws; afterwards: the events do, behind those already queued. */
  fail(error: ToastError): void {
    this.#close();
    // Who was given up for a reason hears the reason.
    const { aborted, reason } = this.#signal;
    const said = aborted && reason instanceof ToastError ? reason : error;
    this.#refuse(said);
    this.#events.fail(said);
  }

  #close(): void {
    this.#running = 0;
    this.#signal.removeEventListener("abort", this.#cancel);
  }
}
