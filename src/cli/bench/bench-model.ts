import type { Engine } from "../../engine/engine.js";
import { type GenerationRequest, ordinaryText } from "../../engine/generation-request.js";
import type { ModelInfo } from "../../engine/model-info.js";
import { defaultLimits, EngineClient } from "../../engine/thread/engine-client.js";
import type { ModelFolder } from "../../model/model-folder.js";
import type { BenchPrompts } from "./prompts.js";
import type { Way } from "./way.js";

/** One model folder under measurement: its engines, what to ask, and the ways in which it can answer. */
export class BenchModel {
  readonly folder: ModelFolder;
  readonly info: ModelInfo;
  /** The adapter that steers; null when the folder has none. */
  readonly adapter: string | null;
  readonly prompts: BenchPrompts;
  readonly #options: EngineChoices;
  readonly #draftAhead: EngineClient;
  #sequential: EngineClient | null = null;
  #guessing: EngineClient | null = null;

  private constructor(
    parts: Pick<BenchModel, "folder" | "info" | "adapter" | "prompts">,
    options: EngineChoices,
    draftAhead: EngineClient,
  ) {
    this.folder = parts.folder;
    this.info = parts.info;
    this.adapter = parts.adapter;
    this.prompts = parts.prompts;
    this.#options = options;
    this.#draftAhead = draftAhead;
  }

  /** Loads the folder in an engine of its own. @throws ToastError as `EngineClient.ready`. */
  static async open(
    parts: Pick<BenchModel, "folder" | "adapter" | "prompts">,
    options: EngineChoices,
  ): Promise<BenchModel> {
    const engine = startEngine(parts.folder, "draftAhead", options);
    try {
      const info = await engine.ready();
      for (const vector of smallVectors(info)) await engine.addVector(vector, "add");
      return new BenchModel({ ...parts, info }, options, engine);
    } catch (error) {
      await engine.close();
      throw error;
    }
  }

  /** Without an adapter there is one pass only. */
  get ways(): readonly Way[] {
    return this.adapter === null ? ["plain", "vectors"] : ["plain", "vectors", "sequential", "draftAhead"];
  }

  /** What it is served as by default. */
  get bestWay(): Way {
    return this.adapter === null ? "plain" : "draftAhead";
  }

  /**
   * The engine with that schedule. The sequential one is a second engine over the same folder, loaded when it is first
   * asked for.
   */
  async engine(way: Way): Promise<Engine> {
    if (way !== "sequential") return this.#draftAhead;
    this.#sequential ??= startEngine(this.folder, "sequential", this.#options);
    await this.#sequential.ready();
    return this.#sequential;
  }

  /** A third engine over the same folder, which guesses ahead as a server does; loaded when it is first asked for. */
  async guessing(): Promise<Engine> {
    this.#guessing ??= startEngine(this.folder, "draftAhead", { ...this.#options, guesses: defaultLimits.guesses });
    await this.#guessing.ready();
    return this.#guessing;
  }

  /** A request for exactly `tokens` tokens, or with `ignoreEos` false for as many at most. */
  request(
    way: Way,
    ids: readonly number[],
    options: {
      readonly tokens: number;
      readonly temperature: number;
      readonly seed: number;
      readonly ignoreEos: boolean;
    },
  ): GenerationRequest {
    return {
      prompt: { kind: "tokens", ids },
      steering: this.#steering(way),
      sampling: {
        temperature: options.temperature,
        topP: 1,
        topK: null,
        minP: 0,
        presencePenalty: 0,
        frequencyPenalty: 0,
        repetitionPenalty: 1,
        logitBias: [],
        seed: options.seed,
      },
      maxTokens: options.tokens,
      choices: 1,
      stopStrings: [],
      ignoreEos: options.ignoreEos,
      ...ordinaryText,
    };
  }

  #steering(way: Way): GenerationRequest["steering"] {
    const layers = [0, this.info.layers - 1] as const;
    if (way === "vectors") {
      return { kind: "vectors", vectors: smallVectors(this.info).map(({ name }) => ({ name, strength: 1, layers })) };
    }
    if (way === "plain" || this.adapter === null) return { kind: "plain" };
    return { kind: "steered", adapter: this.adapter, strength: 1, layers, vectors: [] };
  }

  async close(): Promise<void> {
    await this.#draftAhead.close();
    await this.#sequential?.close();
    await this.#guessing?.close();
  }
}

/** Three control vectors of all layers, so small that the text goes on as it would. */
function smallVectors({ layers, hiddenSize }: Pick<ModelInfo, "layers" | "hiddenSize">) {
  return [1, 2, 3].map((number) => {
    const direction = Float32Array.from({ length: hiddenSize }, (_, channel) => 1e-4 * Math.sin(number * channel));
    const directions = new Map(Array.from({ length: layers }, (_, layer) => [layer, direction] as const));
    return { name: `bench-${number}`, directions };
  });
}

/** What both engines are started with. */
export interface EngineChoices {
  readonly threads: number | undefined;
  /** Streams at the same time, at most. */
  readonly maxRunning: number;
  /** Absent: none. What a text repeats of itself says nothing of the speed of others. */
  readonly guesses?: number;
}

function startEngine(folder: ModelFolder, schedule: "sequential" | "draftAhead", options: EngineChoices): EngineClient {
  const { threads, maxRunning, guesses = 0 } = options;
  return new EngineClient({ folder: folder.path, threads, limits: { schedule, maxRunning, guesses } });
}
