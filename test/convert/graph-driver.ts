import { join } from "node:path";
import * as ort from "onnxruntime-node";
import { exactProducts } from "../../src/model/exact-products.js";
import type { Architecture } from "../../src/model/manifest.js";
import {
  adapterInputs,
  adapterOutputs,
  blockOrdersOf,
  decoderInputs,
  decoderOutputs,
} from "../../src/model/tensor-names.js";

/** One row's cache: keys and values per layer, float32 [KV,capacity,Hd], of which `length` slots are computed. */
export interface RowCache {
  length: number;
  readonly keys: Float32Array[];
  readonly values: Float32Array[];
}

export interface StepOutput {
  /** [R] of [T·V]: logits of every token. */
  readonly logits: Float32Array[];
  /** [R] of [T·D] */
  readonly hidden: Float32Array[];
  /** [L] of [R·T,D] */
  readonly layers: Float32Array[];
}

const capacity = 256;

/** Runs a converted decoder by the contract of tensor-names.ts, with nothing of the engine in between. */
export class GraphDriver {
  readonly #session: ort.InferenceSession;
  readonly #architecture: Architecture;

  private constructor(session: ort.InferenceSession, architecture: Architecture) {
    this.#session = session;
    this.#architecture = architecture;
  }

  static async load(folder: string, architecture: Architecture): Promise<GraphDriver> {
    const options = { ...(await exactProducts()), intraOpNumThreads: 1, logSeverityLevel: 3 as const };
    return new GraphDriver(await ort.InferenceSession.create(join(folder, "decoder.onnx"), options), architecture);
  }

  emptyCache(): RowCache {
    const { layers, kvHeads, headDim } = this.#architecture;
    const one = () => Array.from({ length: layers }, () => new Float32Array(kvHeads * capacity * headDim));
    return { length: 0, keys: one(), values: one() };
  }

  /**
   * One forward; the caches grow by T.
   * @param ids [R][T]
   * @param topDown float32 [L,T,kv] of each row; null: a bottom-up row.
   * @param additions float32 [L,D] of each row; null: nothing is added to it.
   * @param pad past slots fed beyond those needed, in vectors of 16.
   */
  async step(
    ids: readonly (readonly number[])[],
    caches: readonly RowCache[],
    topDown: readonly (Float32Array | null)[] = caches.map(() => null),
    pad = 0,
    additions: readonly (Float32Array | null)[] = caches.map(() => null),
    blockRows: readonly number[] = caches.map((_, row) => row),
  ): Promise<StepOutput> {
    const { layers, kvHeads, headDim, hiddenSize, vocabSize } = this.#architecture;
    const rows = ids.length;
    const tokens = ids[0]?.length ?? 0;
    const kvSize = kvHeads * headDim;
    const slots = (Math.ceil(Math.max(...caches.map((cache) => cache.length)) / 16) + pad) * 16;
    const mask = new Float32Array(rows * slots).fill(Number.NEGATIVE_INFINITY);
    const positions: number[] = [];
    // One block a row, as long as the longest past.
    const laid = blockRows.map((row) => caches[row] as RowCache);
    for (const [block, cache] of laid.entries()) mask.fill(0, block * slots, block * slots + cache.length);
    for (const cache of caches) for (let t = 0; t < tokens; t++) positions.push(cache.length + t);
    const top = new Float32Array(layers * rows * tokens * kvSize);
    for (const [row, values] of topDown.entries()) {
      if (values === null) continue;
      const size = tokens * kvSize;
      for (let layer = 0; layer < layers; layer++) {
        top.set(values.subarray(layer * size, (layer + 1) * size), (layer * rows + row) * size);
      }
    }
    // One share for all tokens where the rows' are alike, as the engine feeds it, else one for each.
    const shares = additions.every((one) => one === additions[0]) ? 1 : rows * tokens;
    const added = new Float32Array(layers * shares * hiddenSize);
    for (let at = 0; at < layers * shares; at++) {
      const layer = Math.floor(at / shares);
      const own = additions[Math.floor((at % shares) / tokens)];
      if (own) added.set(own.subarray(layer * hiddenSize, (layer + 1) * hiddenSize), at * hiddenSize);
    }
    const int64 = (values: readonly number[], dims: readonly number[]): ort.Tensor =>
      new ort.Tensor("int64", BigInt64Array.from(values, BigInt), dims);
    const feeds: Record<string, ort.Tensor> = {
      [decoderInputs.inputIds]: int64(ids.flat(), [rows, tokens]),
      [decoderInputs.positionIds]: int64(positions, [rows, tokens]),
      [decoderInputs.pastMask]: new ort.Tensor("float32", mask, [rows, 1, 1, slots]),
      [decoderInputs.topDownValues]: new ort.Tensor("float32", top, [layers, rows, tokens, kvSize]),
      [decoderInputs.residualAdditions]: new ort.Tensor("float32", added, [layers, shares, hiddenSize]),
      [decoderInputs.logitRows]: int64([...positions.keys()], [rows * tokens]),
    };
    const pastOf = (arrays: readonly Float32Array[]): ort.Tensor => {
      const past = new Float32Array(rows * kvHeads * slots * headDim);
      for (const [block, array] of arrays.entries()) {
        for (let head = 0; head < kvHeads; head++) {
          const from = head * capacity * headDim;
          past.set(array.subarray(from, from + slots * headDim), (block * kvHeads + head) * slots * headDim);
        }
      }
      return new ort.Tensor("float32", past, [rows, kvHeads, slots, headDim]);
    };
    feeds[decoderInputs.blockRows] = int64(blockRows, [rows]);
    // No row brings guesses.
    feeds[decoderInputs.openBlocks] = int64([], [0]);
    feeds[decoderInputs.openSlots] = int64([], [0, tokens, kvHeads, 3]);
    feeds[decoderInputs.openMask] = new ort.Tensor("float32", new Float32Array(), [0, tokens, slots]);
    // Nor is a chunk resumed: what came before is all past.
    const chunks = tokens > 1 ? rows : 0;
    const causal = Array.from({ length: chunks * tokens * tokens }, (_, at) =>
      at % tokens > Math.floor(at / tokens) % tokens ? Number.NEGATIVE_INFINITY : 0,
    );
    feeds[decoderInputs.chunkKeyValues] = new ort.Tensor("float32", new Float32Array(), [
      2 * layers,
      chunks,
      kvHeads,
      0,
      headDim,
    ]);
    feeds[decoderInputs.chunkMask] = new ort.Tensor("float32", Float32Array.from(causal), [chunks, tokens, tokens]);
    for (let part = 0; part < blockOrdersOf(this.#session.inputNames); part++) {
      const order = part === 0 ? [...blockRows.keys()] : [];
      feeds[decoderInputs.blockOrder(part)] = int64(order, [order.length]);
    }
    for (let layer = 0; layer < layers; layer++) {
      feeds[decoderInputs.pastKey(layer)] = pastOf(laid.map((cache) => cache.keys[layer] ?? new Float32Array()));
      feeds[decoderInputs.pastValue(layer)] = pastOf(laid.map((cache) => cache.values[layer] ?? new Float32Array()));
    }
    const outputs = await this.#session.run(feeds);
    const data = (name: string): Float32Array => outputs[name]?.data as Float32Array;
    for (const [row, cache] of caches.entries()) {
      for (let layer = 0; layer < layers; layer++) {
        for (const [output, array] of [
          [data(decoderOutputs.newKey(layer)), cache.keys[layer]],
          [data(decoderOutputs.newValue(layer)), cache.values[layer]],
        ] as const) {
          for (let head = 0; head < kvHeads; head++) {
            const from = (row * kvHeads + head) * tokens * headDim;
            array?.set(output.subarray(from, from + tokens * headDim), (head * capacity + cache.length) * headDim);
          }
        }
      }
      cache.length += tokens;
    }
    const cut = (values: Float32Array, size: number): Float32Array[] =>
      caches.map((_, row) => values.subarray(row * size, (row + 1) * size));
    return {
      logits: cut(data(decoderOutputs.logits), tokens * vocabSize),
      hidden: cut(data(decoderOutputs.hiddenStates), tokens * hiddenSize),
      layers: Array.from({ length: layers }, (_, layer) => data(decoderOutputs.layerOutput(layer))),
    };
  }
}

/** Runs a converted adapter. */
export class AdapterDriver {
  readonly #session: ort.InferenceSession;

  private constructor(session: ort.InferenceSession) {
    this.#session = session;
  }

  static async load(folder: string): Promise<AdapterDriver> {
    const options = { ...(await exactProducts()), intraOpNumThreads: 1, logSeverityLevel: 3 as const };
    return new AdapterDriver(await ort.InferenceSession.create(join(folder, "adapter.onnx"), options));
  }

  /** hidden float32 [N,D], gains float32 [N,L] → relevance [N], topDownValues [L,N,kv] */
  async run(
    hidden: Float32Array,
    gains: Float32Array,
    tokens: number,
  ): Promise<{ relevance: Float32Array; topDownValues: Float32Array }> {
    const outputs = await this.#session.run({
      [adapterInputs.hiddenStates]: new ort.Tensor("float32", hidden, [tokens, hidden.length / tokens]),
      [adapterInputs.gains]: new ort.Tensor("float32", gains, [tokens, gains.length / tokens]),
    });
    return {
      relevance: outputs[adapterOutputs.relevance]?.data as Float32Array,
      topDownValues: outputs[adapterOutputs.topDownValues]?.data as Float32Array,
    };
  }
}
