import { randomUUID } from "node:crypto";
import { totalmem } from "node:os";
import { constrainedMemory } from "node:process";
import { Worker } from "node:worker_threads";
import { serverLoading, ToastError } from "../../errors.js";
import { blockTokens } from "../../model/kv-cache.js";
import type { ControlVector } from "../../steering/control-vector.js";
import { vectorsOf } from "../../steering/steering.js";
import type { Asking, Engine, EnginePhase, Generation, LayerOutputOptions, VectorEngine } from "../engine.js";
import type { EngineStatus } from "../engine-status.js";
import type { GenerationRequest } from "../generation-request.js";
import { admitLength, type EngineLimits } from "../loop/admission.js";
import type { AdapterInfo, ModelInfo, VectorInfo } from "../model-info.js";
import type { TextAnswers, TextQuestion } from "../text-questions.js";
import { Calls } from "./calls.js";
import type { EngineWorkerOptions } from "./engine-worker.js";
import type { AdapterToLoad, EngineCall, EngineCommand, EngineEvent, SteeringFingerprints } from "./messages.js";
import { PendingRequest } from "./pending-request.js";

export interface EngineClientOptions {
  /** A converted model folder. */
  readonly folder: string;
  /** Threads of one forward; undefined: onnxruntime's choice. */
  readonly threads?: number | undefined;
  readonly limits?: Partial<EngineLimits> | undefined;
  /** Compiled worker entry; tests that run from source name the built one. */
  readonly workerUrl?: URL | undefined;
  readonly onPhase?: ((phase: EnginePhase) => void) | undefined;
  /** Hears of adapters of the folder that cannot be used, and are not served. */
  readonly onLeftOut?: ((adapter: string, error: ToastError) => void) | undefined;
}

/**
 * Of the memory, a quarter is for caches: weights, activations and other programs need the rest. Half of that may be
 * kept for later requests.
 * @param machine bytes that it has.
 * @param container bytes that a container allows this process; 0, or more than there is: it allows all.
 */
export function cacheLimits(machine: number, container: number): Pick<EngineLimits, "cacheBytes" | "prefixBytes"> {
  const memory = container > 0 ? Math.min(machine, container) : machine;
  const cacheBytes = Math.floor(memory / 4);
  return { cacheBytes, prefixBytes: Math.floor(cacheBytes / 2) };
}

export const defaultLimits: EngineLimits = {
  maxRunning: 16,
  maxWaiting: 256,
  ...cacheLimits(totalmem(), constrainedMemory()),
  chunkTokens: blockTokens,
  schedule: "draftAhead",
  guesses: 16,
};

/** For the running forward to end (or for loading, which cannot be interrupted). */
const closeTimeoutMs = 5_000;

/**
 * The HTTP thread's end of the messages. Starts a worker thread for one model folder, which loads in the background:
 * `phase` and `ready()` say when it can be used.
 */
export class EngineClient implements Engine, VectorEngine {
  /** The model folder. */
  readonly folder: string;
  /** Resolves once the thread is gone, and its memory with it. */
  readonly ended: Promise<void>;
  readonly #worker: Worker;
  readonly #onPhase: (phase: EnginePhase) => void;
  readonly #onLeftOut: (adapter: string, error: ToastError) => void;
  readonly #requests = new Map<string, PendingRequest>();
  readonly #calls = new Calls();
  /** Names by the call that takes them away, until the worker has heard of it: what it says before is out of date. */
  readonly #unloading = new Map<number, string>();
  readonly #ready: Promise<ModelInfo>;
  #onReady: { resolve(model: ModelInfo): void; reject(error: ToastError): void } | null = null;
  #phase: EnginePhase = { kind: "loading", stage: "starting", fraction: 0 };

  constructor(options: EngineClientOptions) {
    this.folder = options.folder;
    this.#onPhase = options.onPhase ?? (() => {});
    this.#onLeftOut = options.onLeftOut ?? (() => {});
    this.#ready = new Promise((resolve, reject) => {
      this.#onReady = { resolve, reject };
    });
    // Whoever does not ask for `ready()` still learns of a failure from `phase`.
    this.#ready.catch(() => {});
    const workerData: EngineWorkerOptions = {
      folder: options.folder,
      threads: options.threads,
      limits: { ...defaultLimits, ...options.limits },
    };
    this.#worker = new Worker(options.workerUrl ?? new URL("./worker.js", import.meta.url), { workerData });
    this.#worker.on("message", (events: readonly EngineEvent[]) => {
      for (const event of events) this.#handle(event);
    });
    this.#worker.on("error", (error) => this.#fail(this.#stopped(error)));
    this.ended = new Promise((resolve) => this.#worker.once("exit", () => resolve()));
    this.#worker.on("exit", (code) => {
      if (this.#phase.kind === "closed") return;
      this.#fail(this.#stopped(new Error(`The engine's thread exited with ${code}.`)));
    });
  }

  get phase(): EnginePhase {
    return this.#phase;
  }

  /** @throws ToastError when loading failed */
  ready(): Promise<ModelInfo> {
    return this.#ready;
  }

  async generate(request: GenerationRequest, signal: AbortSignal): Promise<Generation> {
    this.#requireReady();
    this.#refuseLong(request);
    const requestId = randomUUID();
    const pending = new PendingRequest(request.choices, signal, () => this.#send({ kind: "cancel", requestId }));
    this.#requests.set(requestId, pending);
    this.#send({ kind: "generate", requestId, request, fingerprints: this.#fingerprintsOf(request) });
    pending.watchSignal();
    return pending.accepted;
  }

  /**
   * What the worker would refuse of ids it need not be sent: a million of them take as long to hand over as to read.
   * @throws ToastError `context_length_exceeded`
   */
  #refuseLong({ prompt, maxTokens, truncatePrompt }: GenerationRequest): void {
    if (prompt.kind !== "tokens" || truncatePrompt !== undefined || this.#phase.kind !== "ready") return;
    admitLength(prompt.ids.length, maxTokens, this.#phase.model.contextLength);
  }

  /** Read in the turn in which the request was made, so they are those that its answer will name. */
  #fingerprintsOf({ steering }: GenerationRequest): SteeringFingerprints {
    if (this.#phase.kind !== "ready") return { adapter: null, vectors: new Map() };
    const { adapters, vectors } = this.#phase.model;
    const names = new Set(vectorsOf(steering).map(({ name }) => name));
    const known = vectors.filter(({ name }) => names.has(name));
    const adapter = steering.kind === "steered" ? steering.adapter : null;
    return {
      adapter: adapters.find(({ name }) => name === adapter)?.fingerprint ?? null,
      vectors: new Map(known.map(({ name, fingerprint }) => [name, fingerprint])),
    };
  }

  /**
   * @returns once it is served, and named by `phase`.
   * @throws ToastError as `loadAdapter` of load-model.ts, and `adapter_exists` for a name that is taken.
   */
  async loadAdapter(adapter: AdapterToLoad): Promise<void> {
    this.#requireReady();
    await this.#call({ kind: "loadAdapter", adapter });
  }

  /**
   * New requests do not find it from now on.
   * @returns once the last request that uses it has ended and its memory is free.
   * @throws ToastError `model_not_found`
   */
  async unloadAdapter(name: string): Promise<void> {
    this.#requireReady();
    await this.#call({ kind: "unloadAdapter", name }, (callId) => {
      this.#unloading.set(callId, name);
      if (this.#phase.kind === "ready") this.#setAdapters(this.#phase.model.adapters);
    });
  }

  async addVector(vector: ControlVector, mode: "add" | "replace"): Promise<void> {
    this.#requireReady();
    await this.#call({ kind: "addVector", vector, mode });
  }

  async removeVector(name: string): Promise<void> {
    this.#requireReady();
    await this.#call({ kind: "removeVector", name });
  }

  async layerOutputs(
    prompts: readonly (readonly number[])[],
    { signal, lastTokens = 1, steering = { kind: "plain" }, onProgress = () => {} }: LayerOutputOptions,
  ): Promise<readonly Float32Array[]> {
    const outputs: Float32Array[] = [];
    for (const promptIds of prompts) {
      signal.throwIfAborted();
      this.#requireReady();
      const requestId = randomUUID();
      const call: EngineCall = { kind: "layerOutputs", requestId, promptIds, lastTokens, steering };
      outputs.push(await this.#cancellable(requestId, signal, call));
      onProgress(outputs.length, prompts.length);
    }
    return outputs;
  }

  async ask<Question extends TextQuestion>(
    question: Question,
    asking?: Asking,
  ): Promise<TextAnswers[Question["kind"]]> {
    this.#requireReady();
    const requestId = randomUUID();
    const call: EngineCall = { kind: "ask", requestId, caller: asking?.caller ?? "", question };
    // The worker answers each kind of question with its kind of answer.
    return await this.#cancellable(requestId, asking?.signal, call);
  }

  /** A call that the worker gives up when nobody waits for it. @throws the signal's reason */
  async #cancellable<Reply>(requestId: string, signal: AbortSignal | undefined, call: EngineCall): Promise<Reply> {
    signal?.throwIfAborted();
    const cancel = () => this.#send({ kind: "cancel", requestId });
    const reply = this.#call<Reply>(call);
    signal?.addEventListener("abort", cancel, { once: true });
    try {
      return await reply;
    } finally {
      signal?.removeEventListener("abort", cancel);
      // The engine may have been quicker than the cancellation, and the reason is the signal's.
      signal?.throwIfAborted();
    }
  }

  inspect(): Promise<EngineStatus> {
    return this.#call({ kind: "inspect" });
  }

  async close(): Promise<void> {
    if (this.#phase.kind === "closed") return;
    this.#end(new ToastError("server_draining", "The server is shutting down."));
    this.#setPhase({ kind: "closed" });
    // Not terminate() at once: onnxruntime aborts the whole process when its thread ends in the middle of a run.
    this.#send({ kind: "shutdown" });
    const timer = setTimeout(() => void this.#worker.terminate(), closeTimeoutMs);
    await this.ended;
    clearTimeout(timer);
  }

  /** @param onSend is called before the call is on its way. */
  #call<Reply>(call: EngineCall, onSend: (callId: number) => void = () => {}): Promise<Reply> {
    return this.#calls.begin((callId) => {
      onSend(callId);
      this.#send({ kind: "call", callId, call });
    });
  }

  #setAdapters(adapters: readonly AdapterInfo[]): void {
    if (this.#phase.kind !== "ready") return;
    const gone = new Set(this.#unloading.values());
    const model = { ...this.#phase.model, adapters: adapters.filter(({ name }) => !gone.has(name)) };
    this.#setPhase({ kind: "ready", model });
  }

  #setVectors(vectors: readonly VectorInfo[]): void {
    if (this.#phase.kind === "ready") this.#setPhase({ kind: "ready", model: { ...this.#phase.model, vectors } });
  }

  /** What its requests are told, when the thread ends: of the cause nothing, which may hold anything. */
  #stopped(cause: Error): ToastError {
    if (this.#phase.kind !== "ready") {
      return new ToastError("engine_failed", `The engine stopped: ${cause.message}`, { cause });
    }
    const message = `The engine of ${this.#phase.model.id} stopped. Send the request again in a moment.`;
    return new ToastError("engine_stopped", message, { cause });
  }

  /** @throws ToastError `server_loading`, `engine_failed`, `server_draining` */
  #requireReady(): void {
    switch (this.#phase.kind) {
      case "loading":
        throw serverLoading();
      case "failed":
        throw new ToastError("engine_failed", this.#phase.message);
      // Another thread's business: this one has ended.
      case "restarting":
      case "closed":
        throw new ToastError("server_draining", "The server is shutting down.");
      case "ready":
        break;
    }
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
      case "leftOut":
        this.#onLeftOut(event.adapter, ToastError.fromData(event.error));
        break;
      case "ready":
        this.#setPhase(event);
        this.#onReady?.resolve(event.model);
        break;
      case "failed":
        this.#fail(ToastError.fromData(event.error));
        break;
      case "adapters":
        this.#unloading.delete(event.callId);
        this.#setAdapters(event.adapters);
        break;
      case "vectors":
        this.#setVectors(event.vectors);
        break;
      case "reply":
        this.#calls.resolve(event.callId, event.reply);
        break;
      case "refusal":
        this.#unloading.delete(event.callId);
        this.#calls.reject(event.callId, ToastError.fromData(event.error));
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
    const cause = error.cause instanceof Error ? { cause: error.cause } : {};
    this.#setPhase({ kind: "failed", message: error.message, model, ...cause });
    this.#end(error);
  }

  #end(error: ToastError): void {
    this.#onReady?.reject(error);
    for (const pending of this.#requests.values()) pending.fail(error);
    this.#requests.clear();
    this.#calls.rejectAll(error);
  }
}
