import { Worker } from "node:worker_threads";
import { type ErrorData, ToastError } from "../../errors.js";
import type { OutputConstraint } from "../../grammar/constraint.js";
import type { Rules } from "../../grammar/expression.js";
import type { ChatMessage } from "../../text/chat-message.js";
import type { Rendering, TemplateTokens } from "../../text/chat-template.js";
import { FairTurns, mayWait, type TurnTaker } from "../loop/fair-turns.js";

/** What a request may need before its first forward, and may take long. */
export type LongTask =
  | { readonly kind: "tokenize"; readonly text: string; readonly addSpecialTokens: boolean }
  | { readonly kind: "detokenize"; readonly ids: Int32Array; readonly skipSpecialTokens: boolean }
  /** `source`, `tokens`: of the chat template. */
  | {
      readonly kind: "render";
      readonly source: string;
      readonly tokens: TemplateTokens;
      readonly messages: readonly ChatMessage[];
      readonly rendering: Rendering;
    }
  /** Of a schema, an expression or a grammar as text, rules. */
  | { readonly kind: "readGrammar"; readonly constraint: OutputConstraint };

export interface LongAnswers {
  readonly tokenize: Int32Array;
  readonly detokenize: string;
  readonly render: string;
  readonly readGrammar: Rules;
}

/** What the thread says of a task: once that it has begun, and how it ended. */
export type LongReply =
  /** What the task needs of the model's files is there. */
  | { readonly kind: "begun" }
  | { readonly kind: "done"; readonly answer: LongAnswers[LongTask["kind"]] }
  | { readonly kind: "failed"; readonly error: ErrorData };

export interface LongWorkData {
  readonly tokenizerFile: string;
}

export interface LongWorkOptions extends LongWorkData {
  /** Compiled worker entry; tests name another. */
  readonly workerUrl?: URL | undefined;
  /** Default: half a minute, which nothing that fits into a context needs on a machine that serves it. */
  readonly deadlineMs?: number | undefined;
  /** Until a task begins: what its thread loads before is not the request's doing. Default: two minutes. */
  readonly loadMs?: number | undefined;
  /** Of the thread's own heap. */
  readonly memoryMb?: number | undefined;
  /** Until a thread that nobody needs goes, and what it holds with it. */
  readonly idleMs?: number | undefined;
}

/** Whose turn it takes; `signal` gives it up. */
export interface Asker extends TurnTaker {
  readonly signal: AbortSignal;
}

/** Tasks that may wait; more are told to come back, but for who has less than his share. */
const mostWaiting = 64;

interface Job extends TurnTaker {
  readonly task: LongTask;
  resolve(answer: LongAnswers[LongTask["kind"]]): void;
  reject(error: ToastError): void;
}

interface Running {
  readonly job: Job;
  deadline: NodeJS.Timeout | undefined;
}

/**
 * Does in a thread of its own what may take long: streams go on, whatever a text or a template takes. One task at a
 * time, in turns between callers, with a limit of time and one of memory. What is not wanted any more leaves the queue,
 * or ends with its thread, which the next task starts anew.
 */
export class LongWork {
  readonly #options: { readonly [Name in keyof LongWorkOptions]-?: NonNullable<LongWorkOptions[Name]> };
  readonly #turns = new FairTurns();
  readonly #waiting: Job[] = [];
  #running: Running | null = null;
  #worker: Worker | null = null;
  #idle: NodeJS.Timeout | undefined;

  constructor({ tokenizerFile, workerUrl, deadlineMs, loadMs, memoryMb, idleMs }: LongWorkOptions) {
    this.#options = {
      tokenizerFile,
      workerUrl: workerUrl ?? new URL("./long-work-worker.js", import.meta.url),
      deadlineMs: deadlineMs ?? 30_000,
      loadMs: loadMs ?? 120_000,
      // A tokenizer takes some hundred bytes for a character.
      memoryMb: memoryMb ?? 1_024,
      idleMs: idleMs ?? 60_000,
    };
  }

  /**
   * @throws ToastError as the task does; `server_overloaded` when too many wait; `invalid_request` for what takes too
   * long or too much memory; the signal's reason.
   */
  async do<Task extends LongTask>(
    task: Task,
    { caller, requestId, signal }: Asker,
  ): Promise<LongAnswers[Task["kind"]]> {
    signal.throwIfAborted();
    if (!mayWait(this.#waiting, { caller }, mostWaiting)) {
      const message = `${this.#waiting.length} long prompts and grammars are waiting already. Try again in a moment.`;
      throw new ToastError("server_overloaded", message);
    }
    let giveUp = () => {};
    try {
      return await new Promise<LongAnswers[Task["kind"]]>((resolve, reject) => {
        // The thread answers each kind of task with its kind of answer.
        const job: Job = { task, caller, requestId, resolve: resolve as Job["resolve"], reject };
        giveUp = () => this.#giveUp(job, ToastError.from(signal.reason));
        signal.addEventListener("abort", giveUp, { once: true });
        this.#waiting.push(job);
        this.#next();
      });
    } finally {
      signal.removeEventListener("abort", giveUp);
    }
  }

  async close(): Promise<void> {
    const closed = new ToastError("server_draining", "The server is shutting down.");
    for (const { reject } of this.#waiting.splice(0)) reject(closed);
    this.#take()?.reject(closed);
    clearTimeout(this.#idle);
    await this.#stop();
  }

  #next(): void {
    if (this.#running !== null) return;
    clearTimeout(this.#idle);
    const job = this.#turns.next(this.#waiting, []);
    if (job === null) {
      this.#idle = setTimeout(() => void this.#stop(), this.#options.idleMs).unref();
      return;
    }
    this.#waiting.splice(this.#waiting.indexOf(job), 1);
    this.#turns.took(job);
    this.#running = { job, deadline: undefined };
    this.#limit(this.#options.loadMs, notBegun());
    this.#worker ??= this.#start();
    this.#worker.postMessage(job.task);
  }

  #start(): Worker {
    const { tokenizerFile, workerUrl, memoryMb } = this.#options;
    const worker = new Worker(workerUrl, {
      workerData: { tokenizerFile } satisfies LongWorkData,
      resourceLimits: { maxOldGenerationSizeMb: memoryMb },
    });
    // A thread that was ended has nothing to say any more.
    const isCurrent = () => this.#worker === worker;
    const ended = (cause: Error) => {
      if (!isCurrent()) return;
      this.#worker = null;
      const job = this.#take();
      job?.reject(unable(job.task, cause, this.#options));
      this.#next();
    };
    worker.on("message", (reply: LongReply) => {
      if (!isCurrent()) return;
      if (reply.kind === "begun") {
        const task = this.#running?.job.task;
        if (task !== undefined) this.#limit(this.#options.deadlineMs, tooSlow(task, this.#options));
        return;
      }
      const job = this.#take();
      if (reply.kind === "done") job?.resolve(reply.answer);
      else job?.reject(ToastError.fromData(reply.error));
      this.#next();
    });
    worker.on("messageerror", ended);
    worker.on("error", ended);
    worker.on("exit", (code) => ended(new Error(`The thread for long work exited with ${code}.`)));
    return worker;
  }

  /** Ends what runs when it takes longer, from now on. */
  #limit(milliseconds: number, error: ToastError): void {
    if (this.#running === null) return;
    clearTimeout(this.#running.deadline);
    this.#running.deadline = setTimeout(() => this.#abandon(error), milliseconds);
  }

  #giveUp(job: Job, reason: ToastError): void {
    const at = this.#waiting.indexOf(job);
    if (at !== -1) {
      this.#waiting.splice(at, 1);
      job.reject(reason);
    } else if (this.#running?.job === job) {
      this.#abandon(reason);
    }
  }

  /** Ends what runs: nothing but its thread's end does. */
  #abandon(error: ToastError): void {
    void this.#stop();
    this.#take()?.reject(error);
    this.#next();
  }

  async #stop(): Promise<void> {
    const worker = this.#worker;
    this.#worker = null;
    await worker?.terminate();
  }

  #take(): Job | null {
    const running = this.#running;
    this.#running = null;
    clearTimeout(running?.deadline);
    return running?.job ?? null;
  }
}

const subjects: Readonly<Record<LongTask["kind"], string>> = {
  tokenize: "The prompt could not be tokenized",
  detokenize: "The tokens could not be written as text",
  render: "The chat template could not write the messages",
  readGrammar: "The grammar of the output could not be read",
};

function refusal(task: LongTask, limit: string, cause?: Error): ToastError {
  const message = `${subjects[task.kind]} within ${limit}. Ask for less at once.`;
  const options = cause === undefined ? {} : { cause };
  if (task.kind === "readGrammar")
    return new ToastError("invalid_request", message, { param: task.constraint.param, ...options });
  return new ToastError("invalid_request", message, { field: "prompt", ...options });
}

function notBegun(): ToastError {
  return new ToastError("server_overloaded", "The server is too busy to prepare the request. Try again in a moment.");
}

function tooSlow(task: LongTask, { deadlineMs }: { readonly deadlineMs: number }): ToastError {
  return refusal(task, `${deadlineMs / 1000} seconds`);
}

function unable(
  task: LongTask,
  cause: Error & { readonly code?: string },
  { memoryMb }: { readonly memoryMb: number },
): ToastError {
  if (cause.code === "ERR_WORKER_OUT_OF_MEMORY") return refusal(task, `${memoryMb} MB of memory`, cause);
  return ToastError.from(cause);
}
