import { Worker } from "node:worker_threads";
import { ToastError } from "../../errors.js";
import type { GrammarSource } from "./grammar-source.js";
import type { TrialAnswer, TrialRequest } from "./trial-messages.js";
import type { Vocabulary } from "./vocabulary.js";

/**
 * Milliseconds for one grammar, by the clock: a busy machine takes many times as long as an idle one, and nobody but those who wait for
 * new grammars waits here. The engine's thread will take as long once more.
 */
const patienceMs = 10_000;
const startPatienceMs = 30_000;
const maxWaiting = 64;

/**
 * Lets a thread of its own try grammars, one after the other. Started when first needed; a failure ends the thread, and the next
 * grammar gets a new one.
 */
export class GrammarTrial {
  readonly #vocabulary: Vocabulary;
  readonly #workerUrl: URL;
  #thread: Worker | null = null;
  #last: Promise<unknown> = Promise.resolve();
  #waiting = 0;

  /** @param workerUrl compiled entry of the thread. */
  constructor(vocabulary: Vocabulary, workerUrl: URL) {
    this.#vocabulary = vocabulary;
    this.#workerUrl = workerUrl;
  }

  /**
   * @returns null when the grammar is fit to be used, else what is wrong with it.
   * @throws ToastError `server_overloaded`
   */
  async run(source: GrammarSource): Promise<string | null> {
    if (this.#waiting >= maxWaiting) {
      throw new ToastError(
        "server_overloaded",
        `${maxWaiting} grammars are waiting to be compiled. Try again in a moment.`,
      );
    }
    this.#waiting++;
    const turn = this.#last.then(() => this.#runNow(source));
    this.#last = turn.catch(() => {});
    try {
      return await turn;
    } finally {
      this.#waiting--;
    }
  }

  async close(): Promise<void> {
    const thread = this.#thread;
    this.#thread = null;
    await thread?.terminate();
  }

  async #runNow(source: GrammarSource): Promise<string | null> {
    const thread = this.#thread ?? (await this.#start());
    thread.postMessage({ source } satisfies TrialRequest);
    const answer = await nextAnswer(thread, patienceMs);
    if (answer?.kind === "passed") return null;
    await this.close();
    return answer?.kind === "failed" ? answer.reason : `takes more than ${patienceMs / 1000} seconds to compile`;
  }

  async #start(): Promise<Worker> {
    const thread = new Worker(this.#workerUrl, { workerData: this.#vocabulary });
    // It waits for work for as long as the engine lives, and keeps nothing alive by that.
    thread.unref();
    // A thread that ends with an error must find a listener even when nobody waits.
    thread.on("error", () => {});
    const answer = await nextAnswer(thread, startPatienceMs);
    if (answer?.kind !== "ready") {
      await thread.terminate();
      throw new ToastError("engine_failed", "The grammar engine did not start.");
    }
    this.#thread = thread;
    return thread;
  }
}

/** @returns null when the thread ended, or said nothing for so long. */
function nextAnswer(thread: Worker, patienceMs: number): Promise<TrialAnswer | null> {
  return new Promise((resolve) => {
    const settle = (answer: TrialAnswer | null) => {
      clearTimeout(timer);
      thread.off("message", settle).off("error", giveUp).off("exit", giveUp);
      resolve(answer);
    };
    const giveUp = () => settle(null);
    const timer = setTimeout(giveUp, patienceMs);
    thread.on("message", settle).on("error", giveUp).on("exit", giveUp);
  });
}
