import { ToastError } from "../errors.js";
import type { ModelFolder } from "../model/model-folder.js";
import type { OutputConstraint } from "../sampling/grammar/constraint.js";
import { GrammarCompiler } from "../sampling/grammar/grammar-compiler.js";
import type { CompiledConstraint } from "../sampling/grammar/matcher.js";
import { packVocabulary, type Vocabulary } from "../sampling/grammar/vocabulary.js";
import { ChatTemplate, ordinaryRendering } from "../text/chat-template.js";
import { checkLength, checkTokens, type EngineLimits } from "./admission.js";
import { EngineLoop } from "./engine-loop.js";
import { type LoadedModel, loadModel, releaseModel } from "./load-model.js";
import type { EngineCommand, EngineEvent, GenerationRequest, ModelInfo } from "./messages.js";
import type { Prompt } from "./prompt.js";
import { answerQuestion, type TextQuestion } from "./text-questions.js";

export interface EngineWorkerOptions {
  readonly folder: string;
  readonly threads?: number | undefined;
  readonly limits: EngineLimits;
}

/** One model folder, loaded: turns commands into loop calls and what the loop says into events. */
export class EngineWorker {
  readonly model: ModelInfo;
  readonly #loaded: LoadedModel;
  /** By adapter name; `null` is the base. */
  readonly #templates: ReadonlyMap<string | null, ChatTemplate>;
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
    this.#templates = templatesOf(loaded.folder);
    this.model = modelInfo(loaded.folder);
    this.#loop = new EngineLoop(
      { ...loaded, eosIds: new Set(loaded.folder.manifest.tokens.eos.map(({ id }) => id)), limits },
      {
        started: ({ requestId }, queueMs) => send({ kind: "started", requestId, queueMs }),
        prompt: (requestId, reports) => send({ kind: "prompt", requestId, reports }),
        delta: ({ requestId, choice }, text, tokens, reports) =>
          send({ kind: "delta", requestId, choice, text, tokens, reports }),
        finished: ({ requestId, choice }, reason, usage) =>
          send({ kind: "finished", requestId, choice, reason, usage }),
        errored: ({ requestId }, error) => {
          send({ kind: "errored", requestId, error });
          this.#loop.cancel(requestId);
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
        void this.#admit(command.requestId, command.request);
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
    await releaseModel(this.#loaded);
  }

  #answer(askId: number, question: TextQuestion): void {
    const { tokenizer, folder } = this.#loaded;
    const { tokens } = folder.manifest;
    try {
      const answer = answerQuestion(question, {
        tokenizer,
        template: (adapter) => this.#template(adapter),
        encode: (prompt, adapter) => this.#tokenize(prompt, adapter),
        info: (adapter) => ({
          vocabSize: this.model.vocabSize,
          bosToken: tokens.bos,
          eosTokens: tokens.eos,
          chatTemplate: this.#templates.get(adapter)?.source ?? null,
        }),
      });
      this.#send({ kind: "answer", askId, answer });
    } catch (cause) {
      if (!(cause instanceof ToastError)) throw cause;
      this.#send({ kind: "unanswered", askId, error: cause.toData() });
    }
  }

  /** Everything in one turn, but for a request whose constraint has to be compiled first. */
  async #admit(requestId: string, request: GenerationRequest): Promise<void> {
    try {
      const constraint = request.constraint === null ? null : await this.#compile(requestId, request.constraint);
      if (constraint === "cancelled") return;
      this.#enqueue(requestId, request, constraint);
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
  #enqueue(requestId: string, request: GenerationRequest, constraint: CompiledConstraint | null): void {
    if (request.steering.kind === "steered" && !this.#loaded.adapters.has(request.steering.adapter)) {
      throw new ToastError(
        "model_not_found",
        `Model ${this.model.id} has no adapter ${request.steering.adapter}. It has: ${[...this.#loaded.adapters.keys()].join(", ") || "none"}.`,
        { param: "steering.adapter" },
      );
    }
    const { prompt, steering } = request;
    const promptIds = this.#tokenize(prompt, steering.kind === "steered" ? steering.adapter : null);
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
      steering: request.steering,
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

  /** @param adapter whose chat template writes messages; null: the base's. */
  #tokenize(prompt: Prompt, adapter: string | null): readonly number[] {
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
        const text = this.#template(adapter).render(prompt.messages, prompt.rendering ?? ordinaryRendering);
        // The template writes the special tokens itself.
        return this.#loaded.tokenizer.encode(text, { addSpecialTokens: false });
      }
    }
  }

  #template(adapter: string | null): ChatTemplate {
    const template = this.#templates.get(adapter);
    if (template !== undefined) return template;
    throw new ToastError(
      "chat_template_missing",
      `Model ${this.#loaded.folder.manifest.id} has no chat template. Convert it with --chat-template alpaca, vicuna or a Jinja file.`,
      { param: "model" },
    );
  }
}

/**
 * Whether what is generated is a text of its own, and not the rest of one. Of a text of its own, the blank that its first token marks a word with is taken off. A grammar has every byte in its place: a text
 * that is bound to one keeps the blank (which free text around calls is not).
 */
function isTextOfItsOwn({ prompt, constraint }: GenerationRequest): boolean {
  if (prompt.kind !== "chat" || prompt.rendering?.continueFinalMessage === true) return false;
  return constraint === null || constraint.kind === "textWithTags";
}

function templatesOf({ manifest, adapters }: ModelFolder): Map<string | null, ChatTemplate> {
  const tokens = { bosToken: manifest.tokens.bos?.text ?? "", eosToken: manifest.tokens.eos[0]?.text ?? "" };
  const sources: [string | null, string | null][] = [
    [null, manifest.chatTemplate],
    ...adapters.map(({ manifest: adapter }): [string, string | null] => [
      adapter.name,
      adapter.chatTemplate ?? manifest.chatTemplate,
    ]),
  ];
  return new Map(
    sources.flatMap(([name, source]) => (source === null ? [] : [[name, new ChatTemplate(source, tokens)]])),
  );
}

function modelInfo({ manifest, adapters }: ModelFolder): ModelInfo {
  return {
    id: manifest.id,
    layers: manifest.architecture.layers,
    contextLength: manifest.architecture.contextLength,
    vocabSize: manifest.architecture.vocabSize,
    quantization: manifest.quantization,
    licence: manifest.licence,
    fingerprint: manifest.files.weights.sha256.slice(0, 12),
    adapters: adapters.map(({ manifest: adapter }) => ({
      name: adapter.name,
      stage: adapter.stage,
      licence: adapter.licence,
      fingerprint: adapter.files.weights.sha256.slice(0, 12),
    })),
  };
}
