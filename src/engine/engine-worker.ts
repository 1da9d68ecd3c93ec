import { join } from "node:path";
import { ToastError } from "../errors.js";
import { Adapter } from "../model/adapter.js";
import { Decoder } from "../model/decoder.js";
import { type ModelFolder, readModelFolder, verifyModelFolder } from "../model/model-folder.js";
import { ChatTemplate } from "../text/chat-template.js";
import { Tokenizer } from "../text/tokenizer.js";
import { checkLength, type EngineLimits } from "./admission.js";
import { EngineLoop } from "./engine-loop.js";
import type { EngineCommand, EngineEvent, GenerationRequest, ModelInfo } from "./messages.js";

export interface EngineWorkerOptions {
  readonly folder: string;
  readonly threads?: number | undefined;
  readonly limits: EngineLimits;
}

/** One model folder, loaded: turns commands into loop calls and what the loop says into events. */
export class EngineWorker {
  readonly model: ModelInfo;
  readonly #folder: ModelFolder;
  readonly #decoder: Decoder;
  readonly #adapters: ReadonlyMap<string, Adapter>;
  readonly #tokenizer: Tokenizer;
  /** By adapter name; `null` is the base. */
  readonly #templates: ReadonlyMap<string | null, ChatTemplate>;
  readonly #loop: EngineLoop;
  readonly #send: (event: EngineEvent) => void;

  private constructor(
    folder: ModelFolder,
    decoder: Decoder,
    adapters: ReadonlyMap<string, Adapter>,
    tokenizer: Tokenizer,
    limits: EngineLimits,
    send: (event: EngineEvent) => void,
  ) {
    const { manifest } = folder;
    this.#folder = folder;
    this.#decoder = decoder;
    this.#adapters = adapters;
    this.#tokenizer = tokenizer;
    this.#send = send;
    this.#templates = templatesOf(folder);
    this.model = modelInfo(folder);
    this.#loop = new EngineLoop(
      { decoder, adapters, tokenizer, eosIds: new Set(manifest.tokens.eos.map(({ id }) => id)), limits },
      {
        delta: (requestId, text, tokens) => send({ kind: "delta", requestId, text, tokens }),
        finished: (requestId, reason, usage) => send({ kind: "finished", requestId, reason, usage }),
        errored: (requestId, error) => send({ kind: "errored", requestId, error }),
      },
    );
  }

  /** @throws ToastError when the folder cannot be read, verified or loaded */
  static async load(options: EngineWorkerOptions, send: (event: EngineEvent) => void): Promise<EngineWorker> {
    const progress = (stage: string, fraction: number): void => send({ kind: "loading", stage, fraction });
    progress("reading manifest", 0);
    const folder = await readModelFolder(options.folder);
    await verifyModelFolder(folder, (done, total) =>
      progress("verifying files", total === 0 ? 0 : (0.5 * done) / total),
    );
    const { manifest } = folder;
    progress("loading decoder", 0.5);
    const decoder = await Decoder.load(join(folder.path, manifest.files.graph.name), manifest.architecture, options);
    const adapters = new Map<string, Adapter>();
    for (const [index, adapter] of folder.adapters.entries()) {
      progress(`loading adapter ${adapter.manifest.name}`, 0.8 + (0.1 * index) / folder.adapters.length);
      const graph = join(adapter.path, adapter.manifest.files.graph.name);
      adapters.set(adapter.manifest.name, await Adapter.load(graph, adapter.manifest, options));
    }
    progress("loading tokenizer", 0.9);
    const tokenizer = await Tokenizer.fromFile(join(folder.path, manifest.files.tokenizer.name));
    progress("warming up", 0.95);
    await warmUp(decoder, adapters);
    progress("ready", 1);
    return new EngineWorker(folder, decoder, adapters, tokenizer, options.limits, send);
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
    await this.#decoder.release();
    for (const adapter of this.#adapters.values()) await adapter.release();
  }

  #admit(requestId: string, request: GenerationRequest): void {
    try {
      if (request.steering.kind === "steered" && !this.#adapters.has(request.steering.adapter)) {
        throw new ToastError(
          "model_not_found",
          `Model ${this.model.id} has no adapter ${request.steering.adapter}. It has: ${[...this.#adapters.keys()].join(", ") || "none"}.`,
          { param: "steering.adapter" },
        );
      }
      const promptIds = this.#tokenize(request);
      const length = checkLength(promptIds.length, request.maxTokens, this.model.contextLength);
      if (length.kind === "refused") throw ToastError.fromData(length.error);
      this.#loop.add({
        id: requestId,
        promptIds,
        // A chat answer is a text of its own; a completion goes on from its prompt. Eight ids hold any unfinished character.
        textContext: request.prompt.kind === "chat" ? [] : promptIds.slice(-8),
        maxTokens: length.maxTokens,
        steering: request.steering,
        sampling: request.sampling,
        stopStrings: request.stopStrings,
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
        return this.#tokenizer.encode(prompt.text, { addSpecialTokens: prompt.addSpecialTokens });
      case "chat": {
        const template = this.#templates.get(steering.kind === "steered" ? steering.adapter : null);
        if (template === undefined) {
          throw new ToastError(
            "chat_template_missing",
            `Model ${this.#folder.manifest.id} has no chat template. Convert it with --chat-template alpaca, vicuna or a Jinja file.`,
            { param: "model" },
          );
        }
        // The template writes the special tokens itself.
        return this.#tokenizer.encode(template.render(prompt.messages, { addGenerationPrompt: true }), {
          addSpecialTokens: false,
        });
      }
    }
  }
}

/** One small forward of each graph: memory is mapped and threads are up before the first request. */
async function warmUp(decoder: Decoder, adapters: ReadonlyMap<string, Adapter>): Promise<void> {
  const { architecture, cache } = decoder;
  const lane = cache.allocate("bottomUp");
  const [result] = await decoder.step([{ pass: "bottomUp", lane, tokenIds: [0], output: "hiddenStates" }]);
  cache.release(lane);
  if (result?.output !== "hiddenStates") return;
  const gains = new Float32Array(architecture.layers).fill(1);
  for (const adapter of adapters.values()) await adapter.topDown(result.hiddenStates, gains);
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
