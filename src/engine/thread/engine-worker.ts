import { ToastError } from "../../errors.js";
import type { CompiledConstraint } from "../../grammar/matcher.js";
import { type AdapterManifest, fingerprintOf } from "../../model/manifest.js";
import type { ModelFolder } from "../../model/model-folder.js";
import { rotateRows } from "../../model/rotation.js";
import type { ControlVector } from "../../steering/control-vector.js";
import { type Steering, vectorsOf } from "../../steering/steering.js";
import type { ChatTemplate } from "../../text/chat-template.js";
import { type GenerationRequest, promptAlone } from "../generation-request.js";
import { type LoadedModel, loadAdapter, loadModel } from "../load-model.js";
import { type AdmittedRequest, admitBytes, admitLength, checkTokens, type EngineLimits } from "../loop/admission.js";
import { EngineLoop } from "../loop/engine-loop.js";
import type { AdapterInfo, ModelInfo } from "../model-info.js";
import { answerQuestion, type TextAnswers } from "../text-questions.js";
import { AdapterSet, type AdapterVersion } from "./adapter-set.js";
import type { Asker } from "./long-work.js";
import type {
  AdapterToLoad,
  EngineCall,
  EngineCommand,
  EngineEvent,
  EngineReply,
  LayerOutputsCall,
  QuestionCall,
  SteeringFingerprints,
} from "./messages.js";
import { Preparation } from "./preparation.js";
import { VectorSet } from "./vector-set.js";

export interface EngineWorkerOptions {
  readonly folder: string;
  readonly threads?: number | undefined;
  readonly limits: EngineLimits;
}

/** Who waits for the layer outputs of one prompt. */
interface LayerRead {
  resolve(means: Float32Array): void;
  reject(error: ToastError): void;
}

const givenUp = new ToastError("server_draining", "The request was given up before it was prepared.");
const cancelled = new ToastError("server_draining", "The reading of layer outputs was cancelled.");

type GenerateCommand = Extract<EngineCommand, { kind: "generate" }>;

/** One model folder, loaded: turns commands into loop calls and what the loop says into events. */
export class EngineWorker {
  readonly model: ModelInfo;
  readonly #loaded: LoadedModel;
  readonly #preparation: Preparation;
  readonly #adapters = new AdapterSet();
  readonly #vectors: VectorSet;
  readonly #loop: EngineLoop;
  readonly #send: (event: EngineEvent) => void;
  /** Requests that look into the model, by id, and who waits for what they see. */
  readonly #layerReads = new Map<string, LayerRead>();
  /** Loads that are under way: the thread must not end in one. */
  readonly #loads = new Set<Promise<unknown>>();
  /** Requests that are being prepared, by id: the loop does not know them yet. */
  readonly #preparing = new Map<string, AbortController>();

  private constructor(loaded: LoadedModel, limits: EngineLimits, send: (event: EngineEvent) => void) {
    const { manifest, adapters } = loaded.folder;
    this.#loaded = loaded;
    this.#send = send;
    this.#preparation = new Preparation(loaded);
    this.#vectors = new VectorSet(manifest.architecture, manifest.rotation);
    for (const { manifest: own } of adapters) {
      const adapter = loaded.adapters.get(own.name);
      if (adapter === undefined) throw new Error(`adapter ${own.name} is in the folder but was not loaded`);
      const template = this.#preparation.prompts.templateFor(own);
      this.#adapters.put({ info: adapterInfo(own.name, own, template), adapter, template });
    }
    this.model = modelInfo(loaded.folder, this.#adapters.infos, this.#preparation.prompts.baseTemplate);
    this.#loop = new EngineLoop(
      { ...loaded, adapters: this.#adapters.byKey, eosIds: new Set(manifest.tokens.eos.map(({ id }) => id)), limits },
      {
        started: (requestId, queueMs) => {
          if (!this.#layerReads.has(requestId)) send({ kind: "started", requestId, queueMs });
        },
        prompt: (requestId, reports, tokenIds) =>
          send({ kind: "prompt", requestId, reports, ...(tokenIds === null ? {} : { tokenIds }) }),
        delta: (id, text, tokens, reports, tokenIds) =>
          send({ kind: "delta", ...id, text, tokens, reports, ...(tokenIds.length === 0 ? {} : { tokenIds }) }),
        layerMeans: (requestId, means) => this.#layerReads.get(requestId)?.resolve(means),
        finished: (id, reason, usage, pooled) => {
          const vector = pooled === null ? {} : { pooled };
          if (!this.#endLayerRead(id.requestId, cancelled)) send({ kind: "finished", ...id, reason, usage, ...vector });
          this.#adapters.settle(this.#loop);
        },
        errored: (requestId, error) => {
          if (!this.#endLayerRead(requestId, error)) send({ kind: "errored", requestId, error: error.toData() });
          this.#adapters.settle(this.#loop);
        },
      },
    );
  }

  /** @throws ToastError when the folder cannot be read, verified or loaded */
  static async load(options: EngineWorkerOptions, send: (event: EngineEvent) => void): Promise<EngineWorker> {
    const loaded = await loadModel(
      options.folder,
      { ...options, onDamaged: (adapter, error) => send({ kind: "leftOut", adapter, error: error.toData() }) },
      (stage, fraction) => send({ kind: "loading", stage, fraction }),
    );
    return new EngineWorker(loaded, options.limits, send);
  }

  handle(command: Exclude<EngineCommand, { kind: "shutdown" }>): void {
    switch (command.kind) {
      case "generate":
        this.#admit(command);
        break;
      case "cancel":
        this.#preparing.get(command.requestId)?.abort(givenUp);
        this.#loop.cancel(command.requestId);
        break;
      case "call":
        void this.#reply(command.callId, command.call);
        break;
    }
  }

  /** Cancels what runs, then frees the sessions. */
  async close(): Promise<void> {
    await this.#preparation.close();
    await this.#loop.close();
    await Promise.allSettled(this.#loads);
    await this.#loaded.decoder.release();
    await this.#adapters.release();
  }

  async #reply(callId: number, call: EngineCall): Promise<void> {
    try {
      this.#send({ kind: "reply", callId, reply: await this.#answer(callId, call) });
    } catch (cause) {
      this.#send({ kind: "refusal", callId, error: ToastError.from(cause).toData() });
    }
  }

  /** @throws ToastError */
  #answer(callId: number, call: EngineCall): EngineReply | Promise<EngineReply> {
    switch (call.kind) {
      case "inspect":
        return this.#loop.status();
      case "loadAdapter": {
        const load = this.#load(callId, call.adapter).finally(() => this.#loads.delete(load));
        this.#loads.add(load);
        return load;
      }
      case "unloadAdapter":
        return this.#unload(callId, call.name);
      case "addVector":
        return this.#addVector(call.vector, call.mode);
      case "removeVector":
        return this.#removeVector(call.name);
      case "layerOutputs":
        return this.#layerOutputs(call);
      case "ask":
        return this.#ask(call);
    }
  }

  /** @returns once it is served. */
  async #load(callId: number, { name, folder, mode }: AdapterToLoad): Promise<null> {
    this.#refuseTaken(name, mode);
    const { adapter, folder: checked } = await loadAdapter(folder, this.#loaded.folder.manifest);
    let before: AdapterVersion | null;
    try {
      this.#refuseTaken(name, mode);
      const template = this.#preparation.prompts.templateFor(checked.manifest);
      before = this.#adapters.put({ info: adapterInfo(name, checked.manifest, template), adapter, template });
    } catch (error) {
      await adapter.release();
      throw error;
    }
    this.#send({ kind: "adapters", callId, adapters: this.#adapters.infos });
    if (before !== null) this.#adapters.retire(before, this.#loop, () => {});
    return null;
  }

  /** @returns once its memory is free. */
  #unload(callId: number, name: string): Promise<null> {
    const version = this.#adapters.take(name);
    if (version === null) throw this.#unknown(name);
    this.#send({ kind: "adapters", callId, adapters: this.#adapters.infos });
    return new Promise((resolve) => this.#adapters.retire(version, this.#loop, () => resolve(null)));
  }

  #addVector(vector: ControlVector, mode: AdapterToLoad["mode"]): null {
    if (mode === "add" && this.#vectors.find(vector.name) !== undefined) {
      const message = `Model ${this.model.id} has a control vector ${vector.name} already.`;
      throw new ToastError("vector_exists", message, { param: "name" });
    }
    this.#vectors.put(vector);
    this.#send({ kind: "vectors", vectors: this.#vectors.infos });
    return null;
  }

  #removeVector(name: string): null {
    if (!this.#vectors.delete(name)) throw this.#unknownVector(name);
    this.#send({ kind: "vectors", vectors: this.#vectors.infos });
    return null;
  }

  /**
   * A request for no tokens that nobody hears of but the caller.
   * @returns float32 [L,D], in the channels that the model was trained with.
   */
  async #layerOutputs({ requestId, promptIds, lastTokens, steering }: LayerOutputsCall): Promise<Float32Array> {
    if (!Number.isInteger(lastTokens) || lastTokens < 1) {
      const message = `Layer outputs of the last ${lastTokens} tokens were asked for; ask for those of 1 at least.`;
      throw new ToastError("invalid_request", message, { param: "lastTokens" });
    }
    const request = { ...promptAlone, prompt: { kind: "tokens", ids: promptIds }, steering } as const;
    const read = new Promise<Float32Array>((resolve, reject) => {
      this.#layerReads.set(requestId, { resolve, reject });
    });
    try {
      const fingerprints = { adapter: null, vectors: new Map() };
      const command = { kind: "generate", requestId, request, fingerprints } as const;
      const admitted = this.#admitted(command, this.#preparation.prompts.checked(promptIds), null);
      this.#loop.add({ ...admitted, layerMeans: lastTokens });
    } catch (error) {
      this.#layerReads.delete(requestId);
      throw error;
    }
    const means = await read;
    rotateRows(means, this.#loaded.folder.manifest.rotation);
    return means;
  }

  /** @param error for a request that has ended without having seen anything. @returns whether it was one that looks. */
  #endLayerRead(requestId: string, error: ToastError): boolean {
    this.#layerReads.get(requestId)?.reject(error);
    return this.#layerReads.delete(requestId);
  }

  #refuseTaken(name: string, mode: AdapterToLoad["mode"]): void {
    if (mode === "replace" || this.#adapters.find(name) === undefined) return;
    throw new ToastError("adapter_exists", `Model ${this.model.id} has an adapter ${name} already.`, { param: "name" });
  }

  /** @throws ToastError `model_not_found`, `server_loading` when another version has just taken its place */
  #versionOf(name: string, fingerprint: string | null): AdapterVersion {
    const version = this.#adapters.find(name);
    if (version === undefined) throw this.#unknown(name);
    if (fingerprint === null || version.info.fingerprint === fingerprint) return version;
    throw new ToastError("server_loading", `The adapter ${name} is being replaced. Try again in a moment.`);
  }

  #unknown(name: string): ToastError {
    const names = this.#adapters.infos.map((info) => info.name).join(", ") || "none";
    return new ToastError("model_not_found", `Model ${this.model.id} has no adapter ${name}. It has: ${names}.`, {
      field: "steering.adapter",
    });
  }

  /** @throws ToastError `model_not_found`, `server_loading` when another one has just taken its place */
  #checkVectors(steering: Steering, fingerprints: SteeringFingerprints["vectors"]): void {
    for (const { name } of vectorsOf(steering)) {
      const known = this.#vectors.find(name);
      if (known === undefined) throw this.#unknownVector(name);
      const meant = fingerprints.get(name) ?? known.fingerprint;
      if (meant === known.fingerprint) continue;
      throw new ToastError("server_loading", `The control vector ${name} is being replaced. Try again in a moment.`);
    }
  }

  #unknownVector(name: string): ToastError {
    const names = this.#vectors.infos.map((info) => info.name).join(", ") || "none";
    return new ToastError(
      "model_not_found",
      `Model ${this.model.id} has no control vector ${name}. It has: ${names}.`,
      {
        param: "steering.vectors",
      },
    );
  }

  async #ask({ requestId, caller, question }: QuestionCall): Promise<TextAnswers[keyof TextAnswers]> {
    const { tokenizer, folder } = this.#loaded;
    const { bos, eos } = folder.manifest.tokens;
    // Of the base: null.
    const templateOf = (adapter: string | null): ChatTemplate | null =>
      adapter === null ? this.#preparation.prompts.baseTemplate : this.#versionOf(adapter, null).template;
    const controller = new AbortController();
    const asker: Asker = { caller, requestId, signal: controller.signal };
    this.#preparing.set(requestId, controller);
    const answer = answerQuestion(question, {
      tokenizer,
      decode: (ids, skipSpecialTokens) => this.#preparation.decode(ids, { skipSpecialTokens }, asker),
      render: (prompt, adapter) =>
        this.#preparation.render(prompt, this.#preparation.prompts.required(templateOf(adapter)), asker),
      encode: (prompt, adapter, checkText) => this.#preparation.encode(prompt, templateOf(adapter), checkText, asker),
      info: (adapter) => ({
        vocabSize: this.model.vocabSize,
        bosToken: bos,
        eosTokens: eos,
        chatTemplate: templateOf(adapter)?.source ?? null,
      }),
    });
    return answer.finally(() => this.#preparing.delete(requestId));
  }

  /** Everything in one turn, but for what takes long. */
  #admit(command: GenerateCommand): void {
    const { requestId, request } = command;
    const controller = new AbortController();
    const asker: Asker = { caller: request.caller ?? "", requestId, signal: controller.signal };
    try {
      const ids = this.#encode(command, asker);
      if (ids instanceof Promise) void this.#admitLater(command, ids, asker, controller);
      else {
        const constraint = this.#compile(command, ids, asker);
        if (constraint instanceof Promise) void this.#admitLater(command, ids, asker, controller, constraint);
        else this.#enqueue(command, ids, constraint);
      }
    } catch (cause) {
      this.#reject(command, cause);
    }
  }

  /** Whatever it was, it is this request's trouble alone: nothing has been handed to the loop. */
  #reject({ requestId }: GenerateCommand, cause: unknown): void {
    this.#send({ kind: "rejected", requestId, error: ToastError.from(cause).toData() });
  }

  async #admitLater(
    command: GenerateCommand,
    ids: readonly number[] | Promise<readonly number[]>,
    asker: Asker,
    controller: AbortController,
    compiled?: Promise<CompiledConstraint>,
  ): Promise<void> {
    const { requestId } = command;
    this.#preparing.set(requestId, controller);
    try {
      const promptIds = await ids;
      const constraint = await (compiled ?? this.#compile(command, promptIds, asker));
      asker.signal.throwIfAborted();
      this.#enqueue(command, promptIds, constraint);
    } catch (cause) {
      this.#reject(command, cause);
    } finally {
      this.#preparing.delete(requestId);
    }
  }

  /** What a request keeps of its prompt: its end. */
  #truncated(promptIds: readonly number[], { truncatePrompt, maxTokens }: GenerationRequest): readonly number[] {
    if (truncatePrompt === undefined) return promptIds;
    const room = Math.max(1, this.model.contextLength - (maxTokens ?? 1));
    return promptIds.slice(-(truncatePrompt === "room" ? room : truncatePrompt));
  }

  /** @throws ToastError as `Preparation.encode`, `context_length_exceeded`, and for an adapter that is not there */
  #encode({ request, fingerprints }: GenerateCommand, asker: Asker): readonly number[] | Promise<readonly number[]> {
    const { prompt, truncatePrompt } = request;
    const version = this.#versionFor(request, fingerprints);
    const template = version === null ? this.#preparation.prompts.baseTemplate : version.template;
    const { contextLength } = this.model;
    const { longestToken } = this.#loaded.tokenizer;
    const kept = truncatePrompt === undefined ? "all" : "end";
    const checkText = (text: string) => admitBytes(Buffer.byteLength(text), { contextLength, longestToken }, kept);
    return this.#preparation.encode(prompt, template, checkText, asker);
  }

  /** What else is wrong with the request is said before its grammar is compiled. @throws ToastError */
  #compile(
    command: GenerateCommand,
    ids: readonly number[],
    asker: Asker,
  ): CompiledConstraint | Promise<CompiledConstraint> | null {
    const { constraint } = command.request;
    if (constraint === null) return null;
    this.#admitted(command, ids, null);
    return this.#preparation.compile(constraint, asker);
  }

  /** @returns what steers a request; null: no adapter does. @throws ToastError as `#versionOf` */
  #versionFor({ steering }: GenerationRequest, { adapter }: SteeringFingerprints): AdapterVersion | null {
    return steering.kind === "steered" ? this.#versionOf(steering.adapter, adapter) : null;
  }

  /** @throws ToastError for a request that cannot be honoured */
  #enqueue(command: GenerateCommand, ids: readonly number[], constraint: CompiledConstraint | null): void {
    const admitted = this.#admitted(command, ids, constraint);
    this.#loop.add(admitted);
    this.#send({ kind: "accepted", requestId: command.requestId, promptTokens: admitted.promptIds.length });
  }

  /** @throws ToastError for a request that cannot be honoured */
  #admitted(
    { requestId, request, fingerprints }: GenerateCommand,
    ids: readonly number[],
    constraint: CompiledConstraint | null,
  ): AdmittedRequest {
    const { steering } = request;
    const version = this.#versionFor(request, fingerprints);
    this.#checkVectors(steering, fingerprints.vectors);
    const promptIds = this.#truncated(ids, request);
    const maxTokens = admitLength(promptIds.length, request.maxTokens, this.model.contextLength);
    checkTokens(request, maxTokens, this.model.vocabSize);
    return {
      ...request,
      requestId,
      promptIds,
      // A chat's text is one of its own; a completion goes on from its prompt. Eight ids hold any unfinished character.
      textContext: isTextOfItsOwn(request) ? [] : promptIds.slice(-8),
      maxTokens,
      steering: steering.kind !== "steered" || version === null ? steering : { ...steering, adapter: version.key },
      stack: this.#vectors.stackOf(steering),
      constraint,
    };
  }
}

/**
 * Whether what is generated is a text of its own, and not the rest of one: then the blank that its first token marks a
 * word with is taken off. A grammar has every byte in its place: a text that is bound to one keeps the blank (free text
 * around calls is not bound).
 */
function isTextOfItsOwn({ prompt, constraint }: GenerationRequest): boolean {
  if (prompt.kind !== "chat" || prompt.rendering?.continueFinalMessage === true) return false;
  return constraint === null || constraint.kind === "textWithTags";
}

function modelInfo(
  { manifest }: ModelFolder,
  adapters: readonly AdapterInfo[],
  template: ChatTemplate | null,
): ModelInfo {
  return {
    id: manifest.id,
    layers: manifest.architecture.layers,
    hiddenSize: manifest.architecture.hiddenSize,
    contextLength: manifest.architecture.contextLength,
    vocabSize: manifest.architecture.vocabSize,
    quantization: manifest.quantization,
    sampling: manifest.sampling ?? {},
    licence: manifest.licence,
    fingerprint: fingerprintOf(manifest.files.weights),
    adapters,
    vectors: [],
    ...callsOf(template),
  };
}

function callsOf(template: ChatTemplate | null) {
  return template?.calls == null ? {} : { calls: template.calls };
}

function adapterInfo(
  name: string,
  { stage, licence, presentation, files }: AdapterManifest,
  template: ChatTemplate | null,
): AdapterInfo {
  const fingerprint = fingerprintOf([files.weights]);
  return { name, stage, licence, presentation, fingerprint, ...callsOf(template) };
}
