import { ToastError } from "../errors.js";
import type { ModelFolder } from "../model/model-folder.js";
import { ChatTemplate } from "../text/chat-template.js";
import { checkLength, checkTokens, type EngineLimits } from "./admission.js";
import { EngineLoop } from "./engine-loop.js";
import { type LoadedModel, loadModel, releaseModel } from "./load-model.js";
import type { EngineCommand, EngineEvent, GenerationRequest, ModelInfo } from "./messages.js";

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
        this.#admit(command.requestId, command.request);
        break;
      case "cancel":
        this.#loop.cancel(command.requestId);
        break;
      case "inspect":
        this.#send({ kind: "status", inspectId: command.inspectId, status: this.#loop.status() });
        break;
    }
  }

  /** Cancels what runs, then frees the sessions. */
  async close(): Promise<void> {
    await this.#loop.close();
    await releaseModel(this.#loaded);
  }

  #admit(requestId: string, request: GenerationRequest): void {
    try {
      if (request.steering.kind === "steered" && !this.#loaded.adapters.has(request.steering.adapter)) {
        throw new ToastError(
          "model_not_found",
          `Model ${this.model.id} has no adapter ${request.steering.adapter}. It has: ${[...this.#loaded.adapters.keys()].join(", ") || "none"}.`,
          { param: "steering.adapter" },
        );
      }
      const promptIds = this.#tokenize(request);
      const length = checkLength(promptIds.length, request.maxTokens, this.model.contextLength);
      if (length.kind === "refused") throw ToastError.fromData(length.error);
      const wishes = { ...request, logitBias: request.sampling.logitBias };
      const problem = checkTokens(wishes, length.maxTokens, this.model.vocabSize);
      if (problem !== null) throw ToastError.fromData(problem);
      this.#loop.add({
        requestId,
        promptIds,
        // A chat answer is a text of its own; a completion goes on from its prompt. Eight ids hold any unfinished character.
        textContext: request.prompt.kind === "chat" ? [] : promptIds.slice(-8),
        maxTokens: length.maxTokens,
        steering: request.steering,
        sampling: request.sampling,
        choices: request.choices,
        stopStrings: request.stopStrings,
        ignoreEos: request.ignoreEos,
        minTokens: request.minTokens,
        stopTokenIds: request.stopTokenIds,
        report: request.report,
      });
      this.#send({ kind: "accepted", requestId, promptTokens: promptIds.length });
    } catch (cause) {
      if (!(cause instanceof ToastError)) throw cause;
      this.#send({ kind: "rejected", requestId, error: cause.toData() });
    }
  }

  #tokenize({ prompt, steering }: GenerationRequest): readonly number[] {
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
        const template = this.#templates.get(steering.kind === "steered" ? steering.adapter : null);
        if (template === undefined) {
          throw new ToastError(
            "chat_template_missing",
            `Model ${this.#loaded.folder.manifest.id} has no chat template. Convert it with --chat-template alpaca, vicuna or a Jinja file.`,
            { param: "model" },
          );
        }
        // The template writes the special tokens itself.
        return this.#loaded.tokenizer.encode(template.render(prompt.messages, { addGenerationPrompt: true }), {
          addSpecialTokens: false,
        });
      }
    }
  }
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
