import { ToastError } from "../errors.js";
import { type AdapterManifest, fingerprintOf } from "../model/manifest.js";
import type { ModelFolder } from "../model/model-folder.js";
import type { OutputConstraint } from "../sampling/grammar/constraint.js";
import { GrammarCompiler } from "../sampling/grammar/grammar-compiler.js";
import type { CompiledConstraint } from "../sampling/grammar/matcher.js";
import { packVocabulary, type Vocabulary } from "../sampling/grammar/vocabulary.js";
import { ChatTemplate, ordinaryRendering } from "../text/chat-template.js";
import { AdapterSet, type AdapterVersion } from "./adapter-set.js";
import { checkLength, checkTokens, type EngineLimits } from "./admission.js";
import { EngineLoop } from "./engine-loop.js";
import { type LoadedModel, loadAdapter, loadModel } from "./load-model.js";
import type {
  AdapterInfo,
  AdapterToLoad,
  EngineCommand,
  EngineEvent,
  GenerationRequest,
  ModelInfo,
} from "./messages.js";
import type { Prompt } from "./prompt.js";
import { answerQuestion, type TextQuestion } from "./text-questions.js";

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
  readonly #adapters = new AdapterSet();
  /** Of the base. */
  readonly #template: ChatTemplate | null;
  /** Loads that are under way: the thread must not end in one. */
  readonly #loads = new Set<Promise<void>>();
  readonly #loop: EngineLoop;
  readonly #send: (event: EngineEvent) => void;
  /** Made for the first request that constrains its output. */
  #grammars: GrammarCompiler | null = null;
  /** Requests whose constraints are being compiled. */
  readonly #compiling = new Set<string>();
  #isClosing = false;

  private constructor(loaded: LoadedModel, limits: EngineLimits, send: (event: EngineEvent) => void) {
    this.#loaded = loaded;
    this.#send = send;
    this.#template = this.#templateOf(loaded.folder.manifest.chatTemplate);
    for (const { manifest } of loaded.folder.adapters) {
      const adapter = loaded.adapters.get(manifest.name);
      if (adapter === undefined) throw new Error(`adapter ${manifest.name} is in the folder but was not loaded`);
      this.#adapters.put({
        info: adapterInfo(manifest.name, manifest),
        adapter,
        template: this.#templateFor(manifest),
      });
    }
    this.model = modelInfo(loaded.folder, this.#adapters.infos);
    this.#loop = new EngineLoop(
      {
        ...loaded,
        adapters: this.#adapters.byKey,
        eosIds: new Set(loaded.folder.manifest.tokens.eos.map(({ id }) => id)),
        limits,
      },
      {
        started: ({ requestId }, queueMs) => send({ kind: "started", requestId, queueMs }),
        prompt: (requestId, reports) => send({ kind: "prompt", requestId, reports }),
        delta: ({ requestId, choice }, text, tokens, reports) =>
          send({ kind: "delta", requestId, choice, text, tokens, reports }),
        finished: ({ requestId, choice }, reason, usage) => {
          send({ kind: "finished", requestId, choice, reason, usage });
          this.#adapters.settle(this.#loop);
        },
        errored: ({ requestId }, error) => {
          send({ kind: "errored", requestId, error });
          this.#loop.cancel(requestId);
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
        void this.#admit(command);
        break;
      case "cancel":
        if (this.#compiling.delete(command.requestId)) {
          const error = new ToastError("invalid_request", "The request was cancelled before it began.");
          this.#send({ kind: "rejected", requestId: command.requestId, error: error.toData() });
        } else this.#loop.cancel(command.requestId);
        break;
      case "inspect":
        this.#send({ kind: "status", inspectId: command.inspectId, status: this.#loop.status() });
        break;
      case "loadAdapter": {
        const load = this.#load(command.callId, command.adapter);
        this.#loads.add(load);
        void load.finally(() => this.#loads.delete(load));
        break;
      }
      case "unloadAdapter":
        this.#unload(command.callId, command.name);
        break;
      case "ask":
        this.#answer(command.askId, command.question);
        break;
    }
  }

  /** Cancels what runs, then frees the sessions. */
  async close(): Promise<void> {
    this.#isClosing = true;
    await this.#grammars?.close();
    await this.#loop.close();
    await Promise.all(this.#loads);
    await this.#loaded.decoder.release();
    await this.#adapters.release();
  }

  async #load(callId: number, { name, folder, mode }: AdapterToLoad): Promise<void> {
    try {
      this.#refuseTaken(name, mode);
      const loaded = await loadAdapter(folder, this.#loaded.folder.manifest);
      const { manifest } = loaded.folder;
      let template: ChatTemplate | null;
      try {
        this.#refuseTaken(name, mode);
        template = this.#templateFor(manifest);
      } catch (error) {
        await loaded.adapter.release();
        throw error;
      }
      const before = this.#adapters.put({ info: adapterInfo(name, manifest), adapter: loaded.adapter, template });
      this.#send({ kind: "adapters", callId, adapters: this.#adapters.infos });
      this.#send({ kind: "adapterCall", callId, error: null });
      if (before !== null) this.#adapters.retire(before, this.#loop, () => {});
    } catch (cause) {
      this.#send({ kind: "adapterCall", callId, error: asToastError(cause).toData() });
    }
  }

  /** Answered once its memory is free. */
  #unload(callId: number, name: string): void {
    const version = this.#adapters.take(name);
    if (version === null) {
      this.#send({ kind: "adapterCall", callId, error: this.#unknown(name).toData() });
      return;
    }
    this.#send({ kind: "adapters", callId, adapters: this.#adapters.infos });
    this.#adapters.retire(version, this.#loop, () => this.#send({ kind: "adapterCall", callId, error: null }));
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
      param: "steering.adapter",
    });
  }

  #answer(askId: number, question: TextQuestion): void {
    const { tokenizer, folder } = this.#loaded;
    const { tokens } = folder.manifest;
    try {
      const answer = answerQuestion(question, {
        tokenizer,
        template: (adapter) => this.#requireTemplate(this.#templateNamed(adapter)),
        encode: (prompt, adapter) => this.#tokenize(prompt, this.#templateNamed(adapter)),
        info: (adapter) => ({
          vocabSize: this.model.vocabSize,
          bosToken: tokens.bos,
          eosTokens: tokens.eos,
          chatTemplate: this.#templateNamed(adapter)?.source ?? null,
        }),
      });
      this.#send({ kind: "answer", askId, answer });
    } catch (cause) {
      if (!(cause instanceof ToastError)) throw cause;
      this.#send({ kind: "unanswered", askId, error: cause.toData() });
    }
  }

  /** Everything in one turn, but for a request whose constraint has to be compiled first. */
  async #admit(command: GenerateCommand): Promise<void> {
    const { requestId, request } = command;
    try {
      const constraint = request.constraint === null ? null : await this.#compile(requestId, request.constraint);
      if (constraint === "cancelled") return;
      this.#enqueue(command, constraint);
    } catch (cause) {
      if (!(cause instanceof ToastError)) throw cause;
      this.#send({ kind: "rejected", requestId, error: cause.toData() });
    }
  }

  async #compile(requestId: string, constraint: OutputConstraint): Promise<CompiledConstraint | "cancelled"> {
    this.#compiling.add(requestId);
    this.#grammars ??= new GrammarCompiler(this.#vocabulary());
    try {
      const compiled = await this.#grammars.compile(constraint);
      // Whoever cancelled it has been told.
      return this.#compiling.has(requestId) && !this.#isClosing ? compiled : "cancelled";
    } finally {
      this.#compiling.delete(requestId);
    }
  }

  /** The tokens as the detokenizer writes them in the middle of a text. */
  #vocabulary(): Vocabulary {
    const { tokenizer, folder } = this.#loaded;
    const bytesOf = (id: number) => (tokenizer.isSpecial(id) ? undefined : tokenizer.tokenBytes(id, "later"));
    const eosIds = folder.manifest.tokens.eos.map(({ id }) => id);
    return packVocabulary(this.model.vocabSize, bytesOf, eosIds);
  }

  /** @throws ToastError for a request that cannot be honoured */
  #enqueue({ requestId, request, adapterFingerprint }: GenerateCommand, constraint: CompiledConstraint | null): void {
    const { prompt, steering } = request;
    const version = steering.kind === "plain" ? null : this.#versionOf(steering.adapter, adapterFingerprint);
    const promptIds = this.#tokenize(prompt, version === null ? this.#template : version.template);
    const length = checkLength(promptIds.length, request.maxTokens, this.model.contextLength);
    if (length.kind === "refused") throw ToastError.fromData(length.error);
    const wishes = { ...request, logitBias: request.sampling.logitBias };
    const problem = checkTokens(wishes, length.maxTokens, this.model.vocabSize);
    if (problem !== null) throw ToastError.fromData(problem);
    this.#loop.add({
      requestId,
      promptIds,
      // A chat answer is a text of its own; a completion goes on from its prompt. Eight ids hold any unfinished character.
      textContext: isTextOfItsOwn(request) ? [] : promptIds.slice(-8),
      maxTokens: length.maxTokens,
      // The version that is current now steers to the end, whatever is loaded under the name meanwhile.
      steering: steering.kind === "plain" || version === null ? steering : { ...steering, adapter: version.key },
      sampling: request.sampling,
      choices: request.choices,
      stopStrings: request.stopStrings,
      ignoreEos: request.ignoreEos,
      minTokens: request.minTokens,
      stopTokenIds: request.stopTokenIds,
      report: request.report,
      constraint,
    });
    this.#send({ kind: "accepted", requestId, promptTokens: promptIds.length });
  }

  /** @param template writes messages; null: there is none. */
  #tokenize(prompt: Prompt, template: ChatTemplate | null): readonly number[] {
    switch (prompt.kind) {
      case "tokens": {
        const { vocabSize } = this.model;
        const bad = prompt.ids.find((id) => !Number.isInteger(id) || id < 0 || id >= vocabSize);
        if (bad === undefined) return prompt.ids;
        throw new ToastError("invalid_request", `Token id ${bad} is outside this model's 0…${vocabSize - 1}.`, {
          param: "prompt",
        });
      }
      case "text":
        return this.#loaded.tokenizer.encode(prompt.text, { addSpecialTokens: prompt.addSpecialTokens });
      case "chat": {
        const text = this.#requireTemplate(template).render(prompt.messages, prompt.rendering ?? ordinaryRendering);
        // The template writes the special tokens itself.
        return this.#loaded.tokenizer.encode(text, { addSpecialTokens: false });
      }
    }
  }

  #templateFor({ chatTemplate }: AdapterManifest): ChatTemplate | null {
    return chatTemplate === null ? this.#template : this.#templateOf(chatTemplate);
  }

  #templateOf(source: string | null): ChatTemplate | null {
    const { bos, eos } = this.#loaded.folder.manifest.tokens;
    const tokens = { bosToken: bos?.text ?? "", eosToken: eos[0]?.text ?? "" };
    return source === null ? null : new ChatTemplate(source, tokens);
  }

  /** @param adapter null: the base's. @throws ToastError `model_not_found` */
  #templateNamed(adapter: string | null): ChatTemplate | null {
    return adapter === null ? this.#template : this.#versionOf(adapter, null).template;
  }

  #requireTemplate(template: ChatTemplate | null): ChatTemplate {
    if (template !== null) return template;
    throw new ToastError(
      "chat_template_missing",
      `Model ${this.#loaded.folder.manifest.id} has no chat template. Convert it with --chat-template alpaca, vicuna or a Jinja file.`,
      { param: "model" },
    );
  }
}

/**
 * Whether what is generated is a text of its own, and not the rest of one: then the blank that its first token marks a word with is
 * taken off. A grammar has every byte in its place: a text that is bound to one keeps the blank (free text around calls is not bound).
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

function adapterInfo(name: string, { stage, licence, files }: AdapterManifest): AdapterInfo {
  return { name, stage, licence, fingerprint: fingerprintOf([files.weights]) };
}

function asToastError(cause: unknown): ToastError {
  if (cause instanceof ToastError) return cause;
  return new ToastError("engine_failed", cause instanceof Error ? cause.message : String(cause), { cause });
}
