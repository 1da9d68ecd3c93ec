import { ToastError } from "../../errors.js";
import { type AdapterManifest, fingerprintOf } from "../../model/manifest.js";
import type { ModelFolder } from "../../model/model-folder.js";
import type { ChatTemplate } from "../../text/chat-template.js";
import type { GenerationRequest } from "../generation-request.js";
import { type LoadedModel, loadAdapter, loadModel } from "../load-model.js";
import { admitLength, checkTokens, type EngineLimits } from "../loop/admission.js";
import { EngineLoop } from "../loop/engine-loop.js";
import type { AdapterInfo, ModelInfo } from "../model-info.js";
import { answerQuestion, type TextAnswers, type TextQuestion } from "../text-questions.js";
import { AdapterSet, type AdapterVersion } from "./adapter-set.js";
import { ConstraintCompiler } from "./constraint-compiler.js";
import type { AdapterToLoad, EngineCall, EngineCommand, EngineEvent, EngineReply } from "./messages.js";
import { PromptEncoder } from "./prompt-encoder.js";

export interface EngineWorkerOptions {
  readonly folder: string;
  readonly threads?: number | undefined;
  readonly limits: EngineLimits;
}

type GenerateCommand = Extract<EngineCommand, { kind: "generate" }>;

/** One model folder, loaded: turns commands into loop calls and what the loop says into events. */
export class EngineWorker {
  readonly model: ModelInfo;
  readonly #loaded: LoadedModel;
  readonly #prompts: PromptEncoder;
  readonly #adapters = new AdapterSet();
  readonly #constraints: ConstraintCompiler;
  readonly #loop: EngineLoop;
  readonly #send: (event: EngineEvent) => void;
  /** Loads that are under way: the thread must not end in one. */
  readonly #loads = new Set<Promise<unknown>>();

  private constructor(loaded: LoadedModel, limits: EngineLimits, send: (event: EngineEvent) => void) {
    const { manifest, adapters } = loaded.folder;
    this.#loaded = loaded;
    this.#send = send;
    this.#prompts = new PromptEncoder(loaded.tokenizer, manifest);
    this.#constraints = new ConstraintCompiler(loaded);
    for (const { manifest: own } of adapters) {
      const adapter = loaded.adapters.get(own.name);
      if (adapter === undefined) throw new Error(`adapter ${own.name} is in the folder but was not loaded`);
      this.#adapters.put({ info: adapterInfo(own.name, own), adapter, template: this.#prompts.templateFor(own) });
    }
    this.model = modelInfo(loaded.folder, this.#adapters.infos);
    this.#loop = new EngineLoop(
      { ...loaded, adapters: this.#adapters.byKey, eosIds: new Set(manifest.tokens.eos.map(({ id }) => id)), limits },
      {
        started: (requestId, queueMs) => send({ kind: "started", requestId, queueMs }),
        prompt: (requestId, reports) => send({ kind: "prompt", requestId, reports }),
        delta: (id, text, tokens, reports) => send({ kind: "delta", ...id, text, tokens, reports }),
        finished: (id, reason, usage) => {
          send({ kind: "finished", ...id, reason, usage });
          this.#adapters.settle(this.#loop);
        },
        errored: (requestId, error) => {
          send({ kind: "errored", requestId, error: error.toData() });
          this.#adapters.settle(this.#loop);
        },
      },
    );
  }

  /** @throws ToastError when the folder cannot be read, verified or loaded */
  static async load(options: EngineWorkerOptions, send: (event: EngineEvent) => void): Promise<EngineWorker> {
    const loaded = await loadModel(options.folder, options, (stage, fraction) =>
      send({ kind: "loading", stage, fraction }),
    );
    return new EngineWorker(loaded, options.limits, send);
  }

  handle(command: Exclude<EngineCommand, { kind: "shutdown" }>): void {
    switch (command.kind) {
      case "generate":
        this.#admit(command);
        break;
      case "cancel":
        this.#loop.cancel(command.requestId);
        break;
      case "call":
        void this.#reply(command.callId, command.call);
        break;
    }
  }

  /** Cancels what runs, then frees the sessions. */
  async close(): Promise<void> {
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
      case "ask":
        return this.#ask(call.question);
    }
  }

  /** @returns once it is served. */
  async #load(callId: number, { name, folder, mode }: AdapterToLoad): Promise<null> {
    this.#refuseTaken(name, mode);
    const { adapter, folder: checked } = await loadAdapter(folder, this.#loaded.folder.manifest);
    let before: AdapterVersion | null;
    try {
      this.#refuseTaken(name, mode);
      const template = this.#prompts.templateFor(checked.manifest);
      before = this.#adapters.put({ info: adapterInfo(name, checked.manifest), adapter, template });
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

  #ask(question: TextQuestion): TextAnswers[keyof TextAnswers] {
    const { tokenizer, folder } = this.#loaded;
    const { bos, eos } = folder.manifest.tokens;
    // Of the base: null.
    const templateOf = (adapter: string | null): ChatTemplate | null =>
      adapter === null ? this.#prompts.baseTemplate : this.#versionOf(adapter, null).template;
    return answerQuestion(question, {
      tokenizer,
      template: (adapter) => this.#prompts.required(templateOf(adapter)),
      encode: (prompt, adapter) => this.#prompts.encode(prompt, templateOf(adapter)),
      info: (adapter) => ({
        vocabSize: this.model.vocabSize,
        bosToken: bos,
        eosTokens: eos,
        chatTemplate: templateOf(adapter)?.source ?? null,
      }),
    });
  }

  /** Everything in one turn. */
  #admit(command: GenerateCommand): void {
    try {
      this.#enqueue(command);
    } catch (cause) {
      if (!(cause instanceof ToastError)) throw cause;
      this.#send({ kind: "rejected", requestId: command.requestId, error: cause.toData() });
    }
  }

  /** @throws ToastError for a request that cannot be honoured */
  #enqueue({ requestId, request, adapterFingerprint }: GenerateCommand): void {
    const { prompt, steering } = request;
    const version = steering.kind === "plain" ? null : this.#versionOf(steering.adapter, adapterFingerprint);
    const promptIds = this.#prompts.encode(prompt, version === null ? this.#prompts.baseTemplate : version.template);
    const maxTokens = admitLength(promptIds.length, request.maxTokens, this.model.contextLength);
    checkTokens(request, maxTokens, this.model.vocabSize);
    const constraint = request.constraint === null ? null : this.#constraints.compile(request.constraint);
    this.#loop.add({
      ...request,
      requestId,
      promptIds,
      // A chat's text is one of its own; a completion goes on from its prompt. Eight ids hold any unfinished character.
      textContext: isTextOfItsOwn(request) ? [] : promptIds.slice(-8),
      maxTokens,
      steering: steering.kind === "plain" || version === null ? steering : { ...steering, adapter: version.key },
      constraint,
    });
    this.#send({ kind: "accepted", requestId, promptTokens: promptIds.length });
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

function modelInfo({ manifest }: ModelFolder, adapters: readonly AdapterInfo[]): ModelInfo {
  return {
    id: manifest.id,
    layers: manifest.architecture.layers,
    contextLength: manifest.architecture.contextLength,
    vocabSize: manifest.architecture.vocabSize,
    quantization: manifest.quantization,
    sampling: manifest.sampling ?? {},
    licence: manifest.licence,
    fingerprint: fingerprintOf(manifest.files.weights),
    adapters,
  };
}

function adapterInfo(name: string, { stage, licence, presentation, files }: AdapterManifest): AdapterInfo {
  return { name, stage, licence, presentation, fingerprint: fingerprintOf([files.weights]) };
}
