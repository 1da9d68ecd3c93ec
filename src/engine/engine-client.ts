import { randomUUID } from "node:crypto";
import { totalmem } from "node:os";
import { Worker } from "node:worker_threads";
import { ToastError } from "../errors.js";
import type { EngineLimits } from "./admission.js";
import type { Engine, EnginePhase, Generation, GenerationEvent } from "./engine.js";
import type { EngineWorkerOptions } from "./engine-worker.js";
import type {
  AdapterInfo,
  AdapterToLoad,
  EngineCommand,
  EngineEvent,
  EngineStatus,
  GenerationRequest,
  ModelInfo,
} from "./messages.js";
import type { TextAnswers, TextQuestion } from "./text-questions.js";

/** What the worker thread is started with. */
export type EngineOptions = EngineWorkerOptions;

export interface CreateEngineOptions {
  /** A converted model folder. */
  readonly folder: string;
  /** Threads of one forward; undefined: onnxruntime's choice. */
  readonly threads?: number | undefined;
  readonly limits?: Partial<EngineLimits> | undefined;
  /** Compiled worker entry; tests that run from source name the built one. */
  readonly workerUrl?: URL | undefined;
  readonly onPhase?: ((phase: EnginePhase) => void) | undefined;
}

/** Of the memory, a quarter is for caches: weights, activations and other programs need the rest. */
export const defaultLimits: EngineLimits = {
  maxRunning: 16,
  maxWaiting: 256,
  cacheBytes: Math.floor(totalmem() / 4),
  prefixBytes: Math.floor(totalmem() / 8),
  chunkTokens: 128,
  schedule: "draftAhead",
};

/** How long closing waits for the running forward (or for loading, which cannot be interrupted). */
const closePatienceMs = 5_000;

/** Starts a worker thread for one model folder. Loads in the background: `phase` and `ready()` say when it can be used. */
export function createEngine(options: CreateEngineOptions): EngineClient {
  return new EngineClient(options);
}

/** The HTTP thread's end of the messages. */
export class EngineClient implements Engine {
  /** The model folder. */
  readonly folder: string;
  readonly #worker: Worker;
  readonly #onPhase: (phase: EnginePhase) => void;
  readonly #requests = new Map<string, PendingRequest>();
  readonly #inspections = new Map<number, PromiseWithResolvers<EngineStatus>>();
  readonly #adapterCalls = new Map<number, PromiseWithResolvers<void>>();
  /** Names by the call that takes them away, until the worker has heard of it: what it says before is out of date. */
  readonly #unloading = new Map<number, string>();
  readonly #questions = new Map<number, PromiseWithResolvers<TextAnswers[keyof TextAnswers]>>();
  readonly #ready = withResolvers<ModelInfo>();
  readonly #exited: Promise<void>;
  #nextInspection = 0;
  #nextAdapterCall = 0;
  #nextQuestion = 0;
  #phase: EnginePhase = { kind: "loading", stage: "starting", fraction: 0 };

  constructor(options: CreateEngineOptions) {
    this.folder = options.folder;
    this.#onPhase = options.onPhase ?? (() => {});
    // Whoever does not ask for `ready()` still learns of a failure from `phase`.
    this.#ready.promise.catch(() => {});
    const workerOptions: EngineOptions = {
      folder: options.folder,
      threads: options.threads,
      limits: { ...defaultLimits, ...options.limits },
    };
    this.#worker = new Worker(options.workerUrl ?? new URL("./worker.js", import.meta.url), {
      workerData: workerOptions,
    });
    this.#worker.on("message", (events: readonly EngineEvent[]) => {
      for (const event of events) this.#handle(event);
    });
    this.#worker.on("error", (error) =>
      this.#fail(new ToastError("engine_failed", `The engine stopped: ${error.message}`)),
    );
    this.#exited = new Promise((resolve) => this.#worker.once("exit", () => resolve()));
    this.#worker.on("exit", () => {
      if (this.#phase.kind !== "closed") this.#fail(new ToastError("engine_failed", "The engine stopped."));
    });
  }

  get phase(): EnginePhase {
    return this.#phase;
  }

  /** @throws ToastError when loading failed */
  ready(): Promise<ModelInfo> {
    return this.#ready.promise;
  }

  async generate(request: GenerationRequest, signal: AbortSignal): Promise<Generation> {
    this.#requireReady();
    const requestId = randomUUID();
    const pending = new PendingRequest(request.choices, () => this.#send({ kind: "cancel", requestId }));
    this.#requests.set(requestId, pending);
    this.#send({ kind: "generate", requestId, request, adapterFingerprint: this.#fingerprintOf(request) });
    const cancel = (): void => pending.cancel();
    if (signal.aborted) cancel();
    signal.addEventListener("abort", cancel, { once: true });
    pending.whenDone(() => signal.removeEventListener("abort", cancel));
    return pending.accepted;
  }

  /** Read in the turn in which the request was made, so it is the one that its answer will name. */
  #fingerprintOf({ steering }: GenerationRequest): string | null {
    if (steering.kind === "plain" || this.#phase.kind !== "ready") return null;
    return this.#phase.model.adapters.find(({ name }) => name === steering.adapter)?.fingerprint ?? null;
  }

  /**
   * @returns once it is served, and named by `phase`.
   * @throws ToastError as `loadAdapter` of load-model.ts, and `adapter_exists` for a name that is taken.
   */
  async loadAdapter(adapter: AdapterToLoad): Promise<void> {
    await this.#callForAdapter((callId) => ({ kind: "loadAdapter", callId, adapter }));
  }

  /**
   * New requests do not find it from now on.
   * @returns once the last request that uses it has ended and its memory is free.
   * @throws ToastError `model_not_found`
   */
  async unloadAdapter(name: string): Promise<void> {
    return this.#callForAdapter((callId) => {
      this.#unloading.set(callId, name);
      if (this.#phase.kind === "ready") this.#setAdapters(this.#phase.model.adapters);
      return { kind: "unloadAdapter", callId, name };
    });
  }

  async #callForAdapter(command: (callId: number) => EngineCommand): Promise<void> {
    this.#requireReady();
    const callId = this.#nextAdapterCall++;
    const call = withResolvers<void>();
    this.#adapterCalls.set(callId, call);
    this.#send(command(callId));
    return call.promise;
  }

  #setAdapters(adapters: readonly AdapterInfo[]): void {
    if (this.#phase.kind !== "ready") return;
    const gone = new Set(this.#unloading.values());
    const model = { ...this.#phase.model, adapters: adapters.filter(({ name }) => !gone.has(name)) };
    this.#setPhase({ kind: "ready", model });
  }

  /** @throws ToastError `server_loading`, `engine_failed`, `server_draining` */
  #requireReady(): void {
    switch (this.#phase.kind) {
      case "loading":
        throw new ToastError("server_loading", "The model is still loading. Try again in a moment.");
      case "failed":
        throw new ToastError("engine_failed", this.#phase.message);
      case "closed":
        throw new ToastError("server_draining", "The server is shutting down.");
      case "ready":
        break;
    }
  }

  async ask<Question extends TextQuestion>(question: Question): Promise<TextAnswers[Question["kind"]]> {
    this.#requireReady();
    const asked = withResolvers<TextAnswers[keyof TextAnswers]>();
    const askId = this.#nextQuestion++;
    this.#questions.set(askId, asked);
    this.#send({ kind: "ask", askId, question });
    // The worker answers each kind of question with its kind of answer.
    return (await asked.promise) as TextAnswers[Question["kind"]];
  }

  inspect(): Promise<EngineStatus> {
    const inspection = withResolvers<EngineStatus>();
    const inspectId = this.#nextInspection++;
    this.#inspections.set(inspectId, inspection);
    this.#send({ kind: "inspect", inspectId });
    return inspection.promise;
  }

  async close(): Promise<void> {
    if (this.#phase.kind === "closed") return;
    this.#end(new ToastError("server_draining", "The server is shutting down."));
    this.#setPhase({ kind: "closed" });
    // Not terminate() at once: onnxruntime aborts the whole process when its thread ends in the middle of a run.
    this.#send({ kind: "shutdown" });
    const timer = setTimeout(() => void this.#worker.terminate(), closePatienceMs);
    await this.#exited;
    clearTimeout(timer);
  }

  #send(command: EngineCommand): void {
    this.#worker.postMessage(command);
  }

  #setPhase(phase: EnginePhase): void {
    this.#phase = phase;
    this.#onPhase(phase);
  }

  #handle(event: EngineEvent): void {
    switch (event.kind) {
      case "loading":
        this.#setPhase(event);
        break;
      case "ready":
        this.#setPhase(event);
        this.#ready.resolve(event.model);
        break;
      case "failed":
        this.#fail(ToastError.fromData(event.error));
        break;
      case "status":
        this.#inspections.get(event.inspectId)?.resolve(event.status);
        this.#inspections.delete(event.inspectId);
        break;
      case "adapters":
        this.#unloading.delete(event.callId);
        this.#setAdapters(event.adapters);
        break;
      case "adapterCall": {
        const call = this.#adapterCalls.get(event.callId);
        this.#adapterCalls.delete(event.callId);
        this.#unloading.delete(event.callId);
        if (event.error === null) call?.resolve();
        else call?.reject(ToastError.fromData(event.error));
        break;
      }
      case "answer":
        this.#questions.get(event.askId)?.resolve(event.answer);
        this.#questions.delete(event.askId);
        break;
      case "unanswered":
        this.#questions.get(event.askId)?.reject(ToastError.fromData(event.error));
        this.#questions.delete(event.askId);
        break;
      case "accepted":
        this.#requests.get(event.requestId)?.accept(event.promptTokens);
        break;
      case "started":
        this.#requests.get(event.requestId)?.start(event.queueMs);
        break;
      case "delta":
      case "prompt":
        this.#requests.get(event.requestId)?.push(event);
        break;
      case "finished":
        if (this.#requests.get(event.requestId)?.finish(event) === "done") this.#requests.delete(event.requestId);
        break;
      case "rejected":
      case "errored":
        this.#requests.get(event.requestId)?.fail(ToastError.fromData(event.error));
        this.#requests.delete(event.requestId);
        break;
    }
  }

  #fail(error: ToastError): void {
    if (this.#phase.kind === "failed" || this.#phase.kind === "closed") return;
    const model = this.#phase.kind === "ready" ? this.#phase.model : null;
    this.#setPhase({ kind: "failed", message: error.message, model });
    this.#end(error);
  }

  #end(error: ToastError): void {
    this.#ready.reject(error);
    for (const pending of this.#requests.values()) pending.fail(error);
    this.#requests.clear();
    for (const inspection of this.#inspections.values()) inspection.reject(error);
    this.#inspections.clear();
    for (const call of this.#adapterCalls.values()) call.reject(error);
    this.#adapterCalls.clear();
    for (const question of this.#questions.values()) question.reject(error);
    this.#questions.clear();
  }
}

/** One request's way back: a promise of acceptance, then a queue of events for one reader. */
class PendingRequest {
  readonly #accepted = withResolvers<Generation>();
  readonly #started = withResolvers<number>();
  readonly #queue: GenerationEvent[] = [];
  readonly #sendCancel: () => void;
  /** Choices that go on. */
  #running: number;
  #error: ToastError | null = null;
  #done = false;
  #wake: () => void = () => {};
  #onDone: () => void = () => {};

  constructor(choices: number, sendCancel: () => void) {
    this.#running = choices;
    this.#sendCancel = sendCancel;
  }

  get accepted(): Promise<Generation> {
    return this.#accepted.promise;
  }

  whenDone(callback: () => void): void {
    this.#onDone = callback;
  }

  cancel(): void {
    if (!this.#done) this.#sendCancel();
  }

  accept(promptTokens: number): void {
    this.#accepted.resolve({ promptTokens, started: this.#started.promise, events: this.#events() });
  }

  start(queueMs: number): void {
    this.#started.resolve(queueMs);
  }

  push(event: GenerationEvent): void {
    this.#queue.push(event);
    this.#wake();
  }

  /** One choice has ended. */
  finish(event: GenerationEvent): "running" | "done" {
    this.push(event);
    this.#running--;
    if (this.#running > 0) return "running";
    this.#close();
    return "done";
  }

  /** Before acceptance: `generate` throws; afterwards: the events do, behind those already queued. */
  fail(error: ToastError): void {
    this.#error = error;
    this.#close();
    this.#accepted.reject(error);
  }

  #close(): void {
    this.#done = true;
    this.#onDone();
    this.#wake();
  }

  async *#events(): AsyncGenerator<GenerationEvent, void, undefined> {
    try {
      for (;;) {
        const event = this.#queue.shift();
        if (event !== undefined) {
          yield event;
        } else if (this.#error !== null) {
          throw this.#error;
        } else if (this.#done) {
          return;
        } else {
          await new Promise<void>((resolve) => {
            this.#wake = resolve;
          });
        }
      }
    } finally {
      // A reader that walks away does not leave the engine working.
      this.cancel();
    }
  }
}

interface PromiseWithResolvers<T> {
  readonly promise: Promise<T>;
  readonly resolve: (value: T) => void;
  readonly reject: (error: Error) => void;
}

/** Promise.withResolvers, which Node 20 lacks. */
function withResolvers<T>(): PromiseWithResolvers<T> {
  let resolve: (value: T) => void = () => {};
  let reject: (error: Error) => void = () => {};
  const promise = new Promise<T>((onResolve, onReject) => {
    resolve = onResolve;
    reject = onReject;
  });
  return { promise, resolve, reject };
}
