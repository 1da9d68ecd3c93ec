import type { AdapterWeights } from "./adapter-graph.js";
import type { LlamaConfig } from "./llama-config.js";
import { llamaTensors } from "./llama-tensors.js";
import type { TensorRows } from "./weight-source.js";

/** Values of a chunk: small beside any weight, large enough that the loop is all that costs. */
const chunkSize = 1 << 20;
/** Standard deviation of a linear weight, as LLaMA is initialized. */
const weightSpread = 0.02;
/**
 * Standard deviation of a folded matrix, so small that adding top-down values rarely changes a bit: the steered pass
 * does all its work and nearly always chooses what the bottom-up pass would have chosen. With 1e-6 and int8 weights a
 * draft in ten was refused.
 */
const foldedSpread = 1e-8;

/**
 * A decoder's tensors drawn from a seed, a chunk in memory at a time. Norms are 1 and what is added to the residual
 * stream is scaled down by the depth, so that activations stay within what a trained model has. Every tensor has a
 * stream of its own: its values do not depend on the order of asking.
 */
export class RandomTensors implements TensorRows {
  readonly #shapes: ReadonlyMap<string, readonly number[]>;
  readonly #seed: number;
  readonly #residualSpread: number;

  /** @param seed unsigned 32-bit */
  constructor(config: LlamaConfig, seed: number) {
    this.#shapes = llamaTensors(config);
    this.#seed = seed;
    this.#residualSpread = weightSpread / Math.sqrt(2 * config.layers);
  }

  async *floatRows(name: string): AsyncGenerator<Float32Array> {
    const shape = this.#shapes.get(name);
    if (shape === undefined) throw new Error(`a decoder of this shape has no tensor ${name}`);
    const size = shape.reduce((product, length) => product * length, 1);
    const rowSize = shape.at(-1) ?? 1;
    const chunk = new Float32Array(Math.min(size, Math.ceil(chunkSize / rowSize) * rowSize));
    const spread = this.#spreadOf(name);
    let state = streamState(this.#seed, name);
    for (let done = 0; done < size; done += chunk.length) {
      const values = chunk.subarray(0, Math.min(chunk.length, size - done));
      if (spread === null) values.fill(1);
      else state = fillRandom(values, spread, state);
      yield values;
    }
  }

  #spreadOf(name: string): number | null {
    if (name.endsWith("norm.weight")) return null;
    const addsToResidual = name.endsWith("o_proj.weight") || name.endsWith("down_proj.weight");
    return addsToResidual ? this.#residualSpread : weightSpread;
  }
}

/** An adapter drawn from a seed, folded already, and too weak to change what is said. */
export function randomAdapterWeights(config: LlamaConfig, seed: number): AdapterWeights {
  const { hiddenSize, kvHeads, headDim } = config;
  const draw = (name: string, size: number, spread: number): Promise<Float32Array> => {
    const values = new Float32Array(size);
    fillRandom(values, spread, streamState(seed, name));
    return Promise.resolve(values);
  };
  return {
    taskEmbedding: () => draw("adapter.task_embedding", hiddenSize, 1),
    folded: (layer) => draw(`adapter.layers.${layer}.folded`, kvHeads * headDim * hiddenSize, foldedSpread),
  };
}

/** A state of the generator that differs with seed and name (FNV-1a over both); never 0, where it would stay. */
function streamState(seed: number, name: string): number {
  let hash = 0x811c9dc5 ^ seed;
  for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193);
  return hash === 0 ? 1 : hash;
}

/** Standard deviation of the sum of four independent bytes. */
const byteSumSpread = Math.sqrt((4 * (256 * 256 - 1)) / 12);

/**
 * Nearly normal values: the sum of the four bytes of a word, shifted to the mean 0. One word a value (xorshift32) makes
 * a billion values a matter of seconds.
 * @returns the state to go on with.
 */
function fillRandom(values: Float32Array, spread: number, state: number): number {
  const scale = spread / byteSumSpread;
  let x = state;
  for (let i = 0; i < values.length; i++) {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    values[i] = ((x & 255) + ((x >>> 8) & 255) + ((x >>> 16) & 255) + (x >>> 24) - 510) * scale;
  }
  return x;
}
