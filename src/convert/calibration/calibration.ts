import type { OnnxSession, TensorValue } from "../../model/onnx-session.js";
import { rotateRows, rotationBlock } from "../../model/rotation.js";
import type { LlamaConfig } from "../llama-config.js";
import { llamaTensors } from "../llama-tensors.js";
import { openGraph } from "../open-graph.js";
import { errorSpread } from "../quantize/compensated-rounding.js";
import { rotaryTable } from "../rotary-table.js";
import { floatRows, scaleColumns, wholeRows } from "../row-stream.js";
import { type TensorRows, tensors } from "../weight-source.js";
import { calibrationLayerGraph, gramOutput, layerTensors, type Product, products } from "./layer-graph.js";
import { smoothingScales } from "./smoothing.js";

/** Tokens of the text that are run through the model, and how many of them see each other. */
const maxTokens = 1024;
const blockTokens = 512;
/**
 * Inputs up to this size are rounded with compensation; the work grows with the cube, in one thread (2,048: 3 s an
 * input).
 */
const maxCompensated = 2048;
/** Weights up to which it is done at all: with 300 million it takes about five minutes. */
const maxWeights = 3e8;

/**
 * What a text tells of the inputs of a model's layers, and what quantization makes of it. Layers are computed in their
 * order, each when it is first asked for, and one is in memory at a time; their scales stay.
 */
export class Calibration {
  readonly #config: LlamaConfig;
  readonly #tensors: TensorRows;
  readonly #session: OnnxSession;
  readonly #grams: readonly Product[];
  readonly #smooths: boolean;
  /** The residual stream behind the layers computed so far, a block of tokens each: float32 [T,D]. */
  readonly #blocks: Float32Array[];
  readonly #scales: LayerScales[] = [];
  /** Of the layer computed last, by product: float32 [K,K], of the inputs as they will be multiplied. */
  #layerGrams = new Map<Product, Float32Array>();

  private constructor(
    config: LlamaConfig,
    source: TensorRows,
    session: OnnxSession,
    blocks: Float32Array[],
    smooths: boolean,
  ) {
    this.#smooths = smooths;
    this.#config = config;
    this.#tensors = source;
    this.#session = session;
    this.#blocks = blocks;
    this.#grams = compensated(config);
  }

  /**
   * @param tokenIds a text's; the first 1,024 are used.
   * @param smooths whether `scales` are to be anything but ones.
   * @throws ToastError `not_finite_weights`, `corrupt_safetensors`, `corrupt_gguf`, `disk_full`, `write_failed`
   */
  static async open(
    config: LlamaConfig,
    source: TensorRows,
    tokenIds: readonly number[],
    { smooths }: { readonly smooths: boolean },
  ): Promise<Calibration> {
    const size = Math.min(blockTokens, config.contextLength);
    const used = tokenIds.slice(0, maxTokens);
    const embedded = await embed(config, source, used);
    const blocks: Float32Array[] = [];
    for (let start = 0; start < used.length; start += size) {
      blocks.push(embedded.slice(start * config.hiddenSize, (start + size) * config.hiddenSize));
    }
    const session = await openGraph(calibrationLayerGraph(config, compensated(config)));
    return new Calibration(config, source, session, blocks, smooths);
  }

  /**
   * What the input channels of q, k and v (`attention`) or of gate and up (`mlp`), turned, are divided by, and their
   * weights multiplied with.
   * @returns float32 [D]
   */
  async scales(layer: number, part: NormPart): Promise<Float32Array> {
    while (this.#scales.length <= layer) await this.#next();
    return (this.#scales[layer] as LayerScales)[part];
  }

  /**
   * How the rounding errors of a product's weights are made good, see quantize/compensated-rounding.ts.
   * @param layer one not passed yet.
   * @returns float32 [K,K], or null where they are rounded to the nearest.
   */
  async spread(layer: number, product: Product): Promise<Float32Array | null> {
    while (this.#scales.length <= layer) await this.#next();
    if (layer !== this.#scales.length - 1) throw new Error(`layer ${layer} was passed before it was asked for`);
    const gram = this.#layerGrams.get(product);
    return gram === undefined ? null : errorSpread(gram, Math.sqrt(gram.length));
  }

  async close(): Promise<void> {
    await this.#session.release();
  }

  async #next(): Promise<void> {
    const { hiddenSize } = this.#config;
    const layer = this.#scales.length;
    const weights = await this.#weightsOf(layer);
    const sums = new Map<Product, Float32Array>();
    const attentionInputs: Float32Array[] = [];
    const mlpInputs: Float32Array[] = [];
    for (const [index, block] of this.#blocks.entries()) {
      const outputs = await this.#session.run({ ...this.#textFeeds(block), ...weights.feeds });
      const output = (name: string): Float32Array => {
        const values = outputs[name];
        if (values === undefined) throw new Error(`the calibration layer has no output ${name}`);
        return values;
      };
      this.#blocks[index] = output("hidden_out");
      attentionInputs.push(output("attention_input"));
      mlpInputs.push(output("mlp_input"));
      for (const product of this.#grams) addTo(sums, product, output(gramOutput(product)));
    }
    // From here on inputs and weights as they will be multiplied: turned, the gain of the norm in the weights.
    const scalesOf = (inputs: readonly Float32Array[], norm: string, names: readonly string[]): Float32Array => {
      if (!this.#smooths) return new Float32Array(hiddenSize).fill(1);
      const rows = joined(inputs);
      rotateRows(rows, rotationBlock(hiddenSize));
      const matrices = names.map((name) => weights.get(`${name}_proj.weight`));
      for (const matrix of matrices) {
        scaleColumns(matrix, weights.get(`${norm}.weight`));
        rotateRows(matrix, rotationBlock(hiddenSize));
      }
      return smoothingScales(rows, matrices, hiddenSize);
    };
    const attention = scalesOf(attentionInputs, "input_layernorm", ["self_attn.q", "self_attn.k", "self_attn.v"]);
    const mlp = scalesOf(mlpInputs, "post_attention_layernorm", ["mlp.gate", "mlp.up"]);
    for (const [product, gram] of sums) if (product !== "o") rotateGram(gram, Math.sqrt(gram.length));
    scaleGram(sums.get("qkv"), attention);
    scaleGram(sums.get("gate_up"), mlp);
    this.#layerGrams = sums;
    this.#scales.push({ attention, mlp });
  }

  /** The layer's tensors, whole. */
  async #weightsOf(layer: number): Promise<LayerWeights> {
    const shapes = llamaTensors(this.#config);
    const feeds: Record<string, Extract<TensorValue, { type: "float32" }>> = {};
    for (const name of layerTensors(this.#config)) {
      const tensor = `model.layers.${layer}.${name}`;
      const dims = shapes.get(tensor);
      if (dims === undefined) throw new Error(`a decoder of this shape has no tensor ${tensor}`);
      feeds[name] = { type: "float32", data: await wholeRows(tensors(tensor), dims, this.#tensors), dims };
    }
    const get = (name: string): Float32Array => {
      const feed = feeds[name];
      if (feed === undefined) throw new Error(`the calibration layer takes no ${name}`);
      return feed.data;
    };
    return { feeds, get };
  }

  /** block: float32 [T,D] */
  #textFeeds(block: Float32Array): Record<string, TensorValue> {
    const { hiddenSize, headDim } = this.#config;
    const tokens = block.length / hiddenSize;
    const table = (part: "cos" | "sin"): TensorValue => ({
      type: "float32",
      data: rotaryTable({ ...this.#config, contextLength: tokens }, part),
      dims: [tokens, headDim / 2],
    });
    const mask = new Float32Array(tokens * tokens);
    for (let query = 0; query < tokens; query++) {
      mask.fill(Number.NEGATIVE_INFINITY, query * tokens + query + 1, (query + 1) * tokens);
    }
    return {
      hidden_in: { type: "float32", data: block, dims: [tokens, hiddenSize] },
      positions: {
        type: "int64",
        data: BigInt64Array.from({ length: tokens }, (_, at) => BigInt(at)),
        dims: [1, tokens],
      },
      cos: table("cos"),
      sin: table("sin"),
      mask: { type: "float32", data: mask, dims: [tokens, tokens] },
    };
  }
}

interface LayerWeights {
  readonly feeds: Readonly<Record<string, TensorValue>>;
  /** By the name of `layerTensors`. */
  get(name: string): Float32Array;
}

/** The parts of a layer that a norm stands before. */
export type NormPart = "attention" | "mlp";
type LayerScales = Readonly<Record<NormPart, Float32Array>>;

/** The products whose weights are rounded with compensation. */
function compensated(config: LlamaConfig): Product[] {
  let weights = 0;
  for (const dims of llamaTensors(config).values()) weights += dims.reduce((product, size) => product * size, 1);
  if (weights > maxWeights) return [];
  const { hiddenSize, heads, headDim, intermediateSize } = config;
  const sizes = { qkv: hiddenSize, o: heads * headDim, gate_up: hiddenSize, down: intermediateSize };
  return products.filter((product) => sizes[product] <= maxCompensated);
}

/** The embedding table's rows of the ids, float32 [tokens,D]; the table is read once and never whole. */
async function embed(config: LlamaConfig, source: TensorRows, ids: readonly number[]): Promise<Float32Array> {
  const size = config.hiddenSize;
  const places = new Map<number, number[]>();
  for (const [place, id] of ids.entries()) places.set(id, [...(places.get(id) ?? []), place]);
  const embedded = new Float32Array(ids.length * size);
  let first = 0;
  for await (const rows of floatRows(tensors("model.embed_tokens.weight"), size, source)) {
    const count = rows.length / size;
    for (const [id, at] of places) {
      if (id < first || id >= first + count) continue;
      const row = rows.subarray((id - first) * size, (id - first + 1) * size);
      for (const place of at) embedded.set(row, place * size);
    }
    first += count;
  }
  return embedded;
}

function addTo(sums: Map<Product, Float32Array>, product: Product, gram: Float32Array): void {
  const sum = sums.get(product);
  if (sum === undefined) sums.set(product, gram);
  else for (let i = 0; i < sum.length; i++) sum[i] = (sum[i] as number) + (gram[i] as number);
}

function joined(parts: readonly Float32Array[]): Float32Array {
  const all = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let done = 0;
  for (const part of parts) {
    all.set(part, done);
    done += part.length;
  }
  return all;
}

/** The Gram matrix of inputs whose channels are divided by `scales`. */
function scaleGram(gram: Float32Array | undefined, scales: Float32Array): void {
  if (gram === undefined) return;
  const size = scales.length;
  for (let i = 0; i < size; i++) {
    for (let j = 0; j < size; j++) {
      const at = i * size + j;
      gram[at] = (gram[at] as number) / (scales[i] as number) / (scales[j] as number);
    }
  }
}

/** The Gram matrix of inputs whose channels are turned: H·G·H, by rows, transposed, by rows. */
function rotateGram(gram: Float32Array, size: number): void {
  const block = rotationBlock(size);
  for (let pass = 0; pass < 2; pass++) {
    rotateRows(gram, block);
    for (let i = 0; i < size; i++) {
      for (let j = 0; j < i; j++) {
        const other = gram[j * size + i] as number;
        gram[j * size + i] = gram[i * size + j] as number;
        gram[i * size + j] = other;
      }
    }
  }
}
