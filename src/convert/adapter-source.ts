import { z } from "zod";
import { ToastError } from "../errors.js";
import { featureScales, adapterPresentationFields as presented } from "../model/manifest.js";
import { builtinTemplates } from "../text/builtin-templates.js";
import type { AdapterWeights } from "./adapter-graph.js";
import { foldFeedback, mergeLowRank } from "./fold.js";
import type { LlamaConfig } from "./llama-config.js";
import { type PairMatrix, pairMatrix } from "./matrix-product.js";
import type { AdapterConfig, AdapterParts } from "./model-writer.js";
import { SafetensorsReader } from "./safetensors-reader.js";
import { schemaIssue } from "./schema-issue.js";
import { readJson } from "./source-folder.js";
import type { ValueProjections } from "./source-model.js";

const shared = {
  format: z.literal("toast-adapter"),
  version: z.literal(1),
  hidden_size: z.int().positive(),
  num_hidden_layers: z.int().positive(),
  backbone_sha256: z.string().regex(/^[0-9a-f]{64}$/, "expected a lower-case hex sha256"),
  stage: z.enum(["initial", "pretuned", "tuned"]),
  /** How features are weighed; files of version 0.1 do not say. */
  selection: z.enum(["cosine", "none"]).default("cosine"),
  /** How large features are; files of version 0.1 do not say. */
  features: z.enum(featureScales).default("raw"),
  /** `chat`: the backbone's own template. */
  prompt_format: z.enum(["alpaca", "vicuna", "chat"]).nullish(),
  licence: z.string().nullish(),
  description: presented.description.optional(),
  example_prompt: presented.examplePrompt.optional(),
  recommended_strength: presented.recommendedStrength.optional(),
};
const descriptionSchema = z.discriminatedUnion("kind", [
  z.looseObject({ ...shared, kind: z.literal("full") }),
  z.looseObject({ ...shared, kind: z.literal("lite"), rank: z.int().positive(), alpha: z.number().positive() }),
]);
type Description = z.infer<typeof descriptionSchema>;

const taskEmbedding = "model.prompt";
const channelTransform = "model.top_down_transform";

/**
 * A trained adapter on disk, described and checked against a backbone's shape; its weights are read when they are
 * folded.
 */
export class AdapterSource {
  readonly file: string;
  readonly description: Description;
  readonly #reader: SafetensorsReader;

  private constructor(file: string, description: Description, reader: SafetensorsReader) {
    this.file = file;
    this.description = description;
    this.#reader = reader;
  }

  /**
   * @param file X.safetensors; X.json beside it describes it.
   * @throws ToastError `file_missing`, `invalid_adapter`, `adapter_mismatch` for another shape, `missing_tensor`,
   * `misshapen_tensor`, `corrupt_safetensors`.
   */
  static async open(file: string, config: Pick<LlamaConfig, "layers" | "hiddenSize">): Promise<AdapterSource> {
    if (!file.endsWith(".safetensors")) {
      throw new ToastError("invalid_adapter", `${file}: an adapter is a .safetensors file with a .json beside it.`);
    }
    const reader = await SafetensorsReader.openFiles([file]);
    try {
      const description = await readDescription(file);
      if (description.selection === "none") {
        const message = `${file} was trained without feature selection, as a comparison; adapters that select are served.`;
        throw new ToastError("invalid_adapter", message);
      }
      const { hidden_size: hiddenSize, num_hidden_layers: layers } = description;
      if (hiddenSize !== config.hiddenSize || layers !== config.layers) {
        throw new ToastError(
          "adapter_mismatch",
          `${file} was made for ${layers} layers of size ${hiddenSize}; this backbone has ${config.layers} of ${config.hiddenSize}.`,
        );
      }
      for (const [name, shape] of adapterTensors(description)) reader.expect(name, shape);
      return new AdapterSource(file, description, reader);
    } catch (error) {
      await reader.close();
      throw error;
    }
  }

  /** The chat format it was tuned on, or null: the backbone's. */
  get chatTemplate(): string | null {
    const format = this.description.prompt_format ?? null;
    return format === null || format === "chat" ? null : builtinTemplates[format];
  }

  /** @throws ToastError `adapter_mismatch` */
  checkBackbone(hash: string): void {
    const own = this.description.backbone_sha256;
    if (own === hash) return;
    throw new ToastError(
      "adapter_mismatch",
      `${this.file} was made for backbone ${own.slice(0, 12)}, this one is ${hash.slice(0, 12)}: an adapter works only with the weights it was trained on.`,
    );
  }

  /**
   * The adapter's weights, folded with the backbone's value projections. Ask for ξ first, then for the layers from the
   * last to the first.
   */
  weights(backbone: ValueProjections, config: AdapterConfig): AdapterWeights {
    const { layers, hiddenSize } = config;
    const square = (values: Float32Array): PairMatrix => pairMatrix(hiddenSize, hiddenSize, values);
    let fold: ReturnType<typeof foldFeedback> | null = null;
    const start = async () =>
      foldFeedback(layers, square(await this.#read(channelTransform)), async (layer) => ({
        carry: await this.#linear(carryOf(layer), hiddenSize),
        emit: await this.#linear(emitOf(layer), hiddenSize),
        value: pairMatrix(config.kvHeads * config.headDim, hiddenSize, await backbone.read(layer)),
      }));
    return {
      taskEmbedding: () => this.#read(taskEmbedding),
      folded: async (layer) => {
        fold ??= await start();
        const next = await fold.next();
        if (next.done === true || next.value.layer !== layer)
          throw new Error(`layer ${layer} was not next to be folded`);
        // Lets the fold free what it holds once the last one is out.
        if (layer === 0) await fold.return(undefined);
        return next.value.folded;
      },
    };
  }

  async close(): Promise<void> {
    await this.#reader.close();
  }

  async #linear(name: string, size: number): Promise<PairMatrix> {
    const weight = await this.#read(`${name}.weight`);
    if (this.description.kind === "full") return pairMatrix(size, size, weight);
    const { rank, alpha } = this.description;
    const a = await this.#read(`${name}.lora_A`);
    const b = await this.#read(`${name}.lora_B`);
    return mergeLowRank(weight, a, b, rank, alpha / rank);
  }

  #read(name: string): Promise<Float32Array> {
    return readFrom(this.#reader, name);
  }
}

/**
 * The hash of the backbone that a trained adapter was made for; its weights are not looked at.
 * @throws ToastError `file_missing`, `invalid_adapter`
 */
export async function readBackboneHash(file: string): Promise<string> {
  return (await readDescription(file)).backbone_sha256;
}

async function readDescription(file: string): Promise<Description> {
  const descriptionFile = file.replace(/\.safetensors$/, ".json");
  const json = await readJson(descriptionFile, "invalid_adapter");
  const parsed = descriptionSchema.safeParse(json);
  if (parsed.success) return parsed.data;
  if (typeof json === "object" && json !== null && "peft_type" in json) {
    const message = `${descriptionFile} describes a PEFT adapter (${String(json.peft_type)}); models are steered with TOAST adapters only. Merge it into its base (merge_and_unload of peft) and convert that.`;
    throw new ToastError("invalid_adapter", message);
  }
  throw new ToastError(
    "invalid_adapter",
    `${descriptionFile} does not describe an adapter: ${schemaIssue(parsed.error)}.`,
  );
}

/** One adapter on its way from a source file to its folder. */
export interface NamedAdapter {
  readonly name: string;
  readonly source: AdapterSource;
}

/** What the source says of an adapter, and its weights folded with the backbone's. */
export function adapterParts(
  { name, source }: NamedAdapter,
  backbone: ValueProjections,
  config: AdapterConfig,
): AdapterParts {
  const { description } = source;
  return {
    name,
    weights: source.weights(backbone, config),
    kind: description.kind,
    rank: description.kind === "lite" ? description.rank : null,
    stage: description.stage,
    features: description.features,
    chatTemplate: source.chatTemplate,
    licence: description.licence ?? null,
    presentation: {
      description: description.description ?? null,
      examplePrompt: description.example_prompt ?? null,
      recommendedStrength: description.recommended_strength ?? null,
    },
  };
}

const carryOf = (layer: number): string => `model.decoders.${layer}.linear`;
const emitOf = (layer: number): string => `model.decoders.${layer}.linear2`;

/** Tensors of an adapter with their shapes, under the names of the method's official checkpoints. */
function* adapterTensors(description: Description): Generator<readonly [string, readonly number[]]> {
  const size = description.hidden_size;
  yield [taskEmbedding, [size]];
  yield [channelTransform, [size, size]];
  for (let layer = 0; layer < description.num_hidden_layers; layer++) {
    for (const linear of [carryOf(layer), emitOf(layer)]) {
      yield [`${linear}.weight`, [size, size]];
      if (description.kind === "full") continue;
      yield [`${linear}.lora_A`, [description.rank, size]];
      yield [`${linear}.lora_B`, [size, description.rank]];
    }
  }
}

async function readFrom(reader: SafetensorsReader, name: string): Promise<Float32Array> {
  const tensor = reader.find(name);
  if (tensor === undefined) throw new Error(`${name} was not checked before it was read`);
  return reader.readFloats(tensor);
}
