import { setTimeout as wait } from "node:timers/promises";
import { ToastError } from "../../errors.js";
import type { ControlVector } from "../../steering/control-vector.js";
import type { Asking, Engine, EnginePhase, Generation, LayerOutputOptions, VectorEngine } from "../engine.js";
import type { EngineStatus } from "../engine-status.js";
import type { GenerationRequest } from "../generation-request.js";
import type { ModelInfo } from "../model-info.js";
import type { TextAnswers, TextQuestion } from "../text-questions.js";
import { EngineClient, type EngineClientOptions } from "./engine-client.js";
import type { AdapterToLoad } from "./messages.js";

/** How soon, and how often, an engine is started again. */
export interface RestartPolicy {
  /** Before the first start; doubles with each further one. */
  readonly firstDelayMs: number;
  readonly longestDelayMs: number;
  /** Starts that fail one after the other until the engine is given up. */
  readonly mostFailures: number;
  /** An engine that has served for so long begins again at `firstDelayMs` when it ends. */
  readonly calmMs: number;
}

export const defaultRestarts: RestartPolicy = {
  firstDelayMs: 500,
  longestDelayMs: 30_000,
  mostFailures: 5,
  calmMs: 60_000,
};

/** What became of an engine that ended. */
export type EngineLoss =
  /** It served and ended; another one is started after so long. */
  | { readonly kind: "stopped"; readonly model: ModelInfo; readonly error: Error; readonly delayMs: number }
  | { readonly kind: "restarted"; readonly model: ModelInfo; readonly tookMs: number }
  /** An adapter or a control vector that the one before had, and the new one does not. */
  | { readonly kind: "missing"; readonly model: ModelInfo; readonly name: string; readonly error: Error }
  | { readonly kind: "givenUp"; readonly model: ModelInfo; readonly error: Error };

export interface SupervisedEngineOptions extends EngineClientOptions {
  readonly restarts?: Partial<RestartPolicy> | undefined;
  readonly onLoss?: ((loss: EngineLoss) => void) | undefined;
}

/**
 * An engine that outlives its thread. When a thread ends that had served, whatever ended it, its requests fail with
 * `engine_stopped`, and another thread loads the same folder: with the adapters and vectors that the last one had, and
 * without those that were taken from it. One that never could load is left alone: it would fail again.
 *
 * What changes adapters or vectors waits for the new thread; what generates or asks does not.
 */
export class SupervisedEngine implements Engine, VectorEngine {
  readonly #options: SupervisedEngineOptions;
  readonly #restarts: RestartPolicy;
  #client: EngineClient;
  /** While there is no engine that serves, after there was one; null: the client's phase holds. */
  #down: Extract<EnginePhase, { kind: "restarting" | "failed" | "closed" }> | null = null;
  #restart: Promise<void> = Promise.resolve();
  readonly #closing = new AbortController();
  /** Loaded while it ran, by name: the new thread loads them too. */
  readonly #adapters = new Map<string, AdapterToLoad>();
  /** Names that came with the folder, and were taken away. */
  readonly #unloaded = new Set<string>();
  readonly #vectors = new Map<string, ControlVector>();
  /** Ends since the last calm. */
  #ends = 0;
  #servedSince = performance.now();

  constructor(options: SupervisedEngineOptions) {
    this.#options = options;
    this.#restarts = { ...defaultRestarts, ...options.restarts };
    this.#client = this.#start();
    const served = () => {
      this.#servedSince = performance.now();
    };
    this.#client.ready().then(served, () => {});
  }

  get folder(): string {
    return this.#options.folder;
  }

  get phase(): EnginePhase {
    return this.#down ?? this.#client.phase;
  }

  /** @returns once the first thread has loaded. @throws ToastError when that failed */
  ready(): Promise<ModelInfo> {
    return this.#client.ready();
  }

  async generate(request: GenerationRequest, signal: AbortSignal): Promise<Generation> {
    return await this.#serving().generate(request, signal);
  }

  async ask<Question extends TextQuestion>(
    question: Question,
    asking?: Asking,
  ): Promise<TextAnswers[Question["kind"]]> {
    return await this.#serving().ask(question, asking);
  }

  async inspect(): Promise<EngineStatus> {
    return await this.#serving().inspect();
  }

  async layerOutputs(
    prompts: readonly (readonly number[])[],
    options: LayerOutputOptions,
  ): Promise<readonly Float32Array[]> {
    return await this.#serving().layerOutputs(prompts, options);
  }

  /** @throws ToastError as EngineClient's */
  async loadAdapter(adapter: AdapterToLoad): Promise<void> {
    const client = this.#down === null ? this.#client : await this.#restarted();
    await client.loadAdapter(adapter);
    this.#adapters.set(adapter.name, { ...adapter, mode: "replace" });
    this.#unloaded.delete(adapter.name);
  }

  /** @returns as EngineClient's @throws ToastError `model_not_found` */
  async unloadAdapter(name: string): Promise<void> {
    const wasLoaded = this.#adapters.delete(name);
    this.#unloaded.add(name);
    const client = this.#down === null ? this.#client : await this.#restarted();
    // A new thread may never have heard of it.
    if (wasLoaded && !modelOf(client)?.adapters.some((info) => info.name === name)) return;
    await client.unloadAdapter(name);
  }

  async addVector(vector: ControlVector, mode: "add" | "replace"): Promise<void> {
    const client = this.#down === null ? this.#client : await this.#restarted();
    await client.addVector(vector, mode);
    this.#vectors.set(vector.name, vector);
  }

  async removeVector(name: string): Promise<void> {
    const wasAdded = this.#vectors.delete(name);
    const client = this.#down === null ? this.#client : await this.#restarted();
    if (wasAdded && !modelOf(client)?.vectors.some((info) => info.name === name)) return;
    await client.removeVector(name);
  }

  async close(): Promise<void> {
    this.#down = { kind: "closed" };
    this.#closing.abort();
    await this.#client.close();
    await this.#restart;
  }

  #start(): EngineClient {
    const client = new EngineClient({
      ...this.#options,
      onPhase: (phase) => {
        if (this.#down === null) this.#options.onPhase?.(phase);
        if (phase.kind === "failed" && (phase.model ?? null) !== null) this.#onEnd(client, phase.message);
      },
    });
    return client;
  }

  /** @throws ToastError `engine_stopped`, `engine_failed`, `server_draining` */
  #serving(): EngineClient {
    switch (this.#down?.kind) {
      case undefined:
        return this.#client;
      case "restarting":
        throw new ToastError("engine_stopped", `${this.#down.message} Send the request again in a moment.`);
      case "failed":
        throw new ToastError("engine_failed", this.#down.message);
      case "closed":
        throw new ToastError("server_draining", "The server is shutting down.");
    }
  }

  /** @throws ToastError as `#serving`, but waits for a restart. */
  async #restarted(): Promise<EngineClient> {
    await this.#restart;
    return this.#serving();
  }

  #onEnd(client: EngineClient, message: string): void {
    // What ends while it is started again is that start's failure.
    if (client !== this.#client || this.#down !== null || client.phase.kind !== "failed") return;
    const { model = null, cause } = client.phase;
    if (model === null) return;
    this.#down = {
      kind: "restarting",
      message: `The engine of ${model.id} stopped and is being started again.`,
      model,
    };
    this.#options.onPhase?.(this.#down);
    this.#restart = this.#startAgain(model, cause ?? new Error(message));
  }

  /** Never throws: the phase says how it went. */
  async #startAgain(model: ModelInfo, error: Error): Promise<void> {
    const stoppedAt = performance.now();
    if (stoppedAt - this.#servedSince >= this.#restarts.calmMs) this.#ends = 0;
    let cause = error;
    for (let failures = 0; failures < this.#restarts.mostFailures; failures++) {
      const delayMs = Math.min(this.#restarts.firstDelayMs * 2 ** this.#ends++, this.#restarts.longestDelayMs);
      this.#tell({ kind: "stopped", model, error: cause, delayMs });
      // Its memory first: two of a large model may be more than there is.
      await this.#client.ended;
      await wait(delayMs, undefined, { signal: this.#closing.signal }).catch(() => {});
      if (this.#closing.signal.aborted) return;
      this.#client = this.#start();
      try {
        await this.#client.ready();
        await this.#bringBack(this.#client, model);
        // It may have ended since, and nobody has heard of it.
        if (modelOf(this.#client) === null) throw new Error("It ended as soon as it was there.");
      } catch (reason) {
        if (this.#closing.signal.aborted) return;
        cause = reason instanceof Error ? reason : new Error(String(reason));
        // One that lives on without what it should have would be in the next one's way.
        await this.#client.close();
        continue;
      }
      if (this.#closing.signal.aborted) return;
      this.#servedSince = performance.now();
      this.#down = null;
      this.#options.onPhase?.(this.phase);
      this.#tell({ kind: "restarted", model, tookMs: performance.now() - stoppedAt });
      return;
    }
    const message = `The engine of ${model.id} stopped and could not be started again. The server's log says why.`;
    this.#down = { kind: "failed", message, model };
    this.#options.onPhase?.(this.#down);
    this.#tell({ kind: "givenUp", model, error: cause });
  }

  /** @throws ToastError when the thread ends meanwhile */
  async #bringBack(client: EngineClient, model: ModelInfo): Promise<void> {
    const attempt = async (name: string, action: Promise<void>): Promise<void> => {
      try {
        await action;
      } catch (reason) {
        if (modelOf(client) === null) throw reason;
        const error = reason instanceof Error ? reason : new Error(String(reason));
        this.#tell({ kind: "missing", model, name, error });
      }
    };
    // Read as they are by then: what is taken away meanwhile does not come back.
    for (const { name } of modelOf(client)?.adapters ?? []) {
      if (this.#unloaded.has(name)) await attempt(name, client.unloadAdapter(name));
    }
    for (const adapter of this.#adapters.values()) await attempt(adapter.name, client.loadAdapter(adapter));
    for (const vector of this.#vectors.values()) await attempt(vector.name, client.addVector(vector, "replace"));
  }

  #tell(loss: EngineLoss): void {
    this.#options.onLoss?.(loss);
  }
}

function modelOf({ phase }: EngineClient): ModelInfo | null {
  return phase.kind === "ready" ? phase.model : null;
}
