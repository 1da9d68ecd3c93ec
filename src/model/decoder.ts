import { blocksOf, KvCache, type Lane } from "./kv-cache.js";
import type { Architecture } from "./manifest.js";
import { OnnxSession, type OnnxSessionOptions, type TensorValue } from "./onnx-session.js";
import { decoderInputs, decoderOutputs } from "./tensor-names.js";

/** What a row wants back: hidden states of all its tokens, logits of its last one or of each, or only its cache filled. */
export type RowOutput =
  | "hiddenStates"
  | "logits"
  | "hiddenStatesAndLogits"
  | "allLogits"
  | "hiddenStatesAndAllLogits"
  | "nothing";

interface RowBase {
  readonly lane: Lane;
  /** The T tokens that follow the lane's computed ones. */
  readonly tokenIds: readonly number[];
  readonly output: RowOutput;
}

/** Top-down values of a row's T tokens, where an adapter left them among those of others; read during the step only. */
export interface RowTopDown {
  /** float32 [L,N,kv] */
  readonly values: Float32Array;
  /** N */
  readonly total: number;
  /** The row's first token among the N. */
  readonly from: number;
}

/** One lane's share of a forward. A steered row cannot be written down without its top-down values. */
export type DecoderRow =
  | (RowBase & { readonly pass: "bottomUp" })
  | (RowBase & { readonly pass: "steered"; readonly topDown: RowTopDown });

/** Views into arrays made by the step that returned them; nothing overwrites them later. */
export type RowResult =
  /** float32 [T,D], before the final norm */
  | { readonly output: "hiddenStates"; readonly hiddenStates: Float32Array }
  /** float32 [V], of the row's last token */
  | { readonly output: "logits"; readonly logits: Float32Array }
  | { readonly output: "hiddenStatesAndLogits"; readonly hiddenStates: Float32Array; readonly logits: Float32Array }
  /** float32 [T,V] */
  | { readonly output: "allLogits"; readonly logits: Float32Array }
  | { readonly output: "hiddenStatesAndAllLogits"; readonly hiddenStates: Float32Array; readonly logits: Float32Array }
  | { readonly output: "nothing" };

/** The frozen backbone: runs any mix of rows of either pass in one forward, and keeps their caches. */
export class Decoder {
  readonly architecture: Architecture;
  readonly cache: KvCache;
  readonly #session: OnnxSession;
  /** Used again by every forward: fresh arrays of this size cost more than what is written into them. */
  #topDownValues = new Float32Array(0);

  private constructor(session: OnnxSession, architecture: Architecture) {
    this.#session = session;
    this.architecture = architecture;
    this.cache = new KvCache(architecture);
  }

  /** @throws ToastError `engine_failed` */
  static async load(graphPath: string, architecture: Architecture, options: OnnxSessionOptions): Promise<Decoder> {
    return new Decoder(await OnnxSession.load(graphPath, options), architecture);
  }

  /** Milliseconds spent in the graph so far. */
  get graphMs(): number {
    return this.#session.runMs;
  }

  /**
   * One forward (several where the rows' pasts are more than the graph adds up in one). Every row brings the same number T of tokens;
   * the lanes' caches hold them afterwards.
   * @returns one result a row, in the order of `rows`.
   * @throws ToastError `engine_failed`; the lanes then have what earlier forwards of this step computed, and nothing of the failed one.
   */
  async step(rows: readonly DecoderRow[]): Promise<RowResult[]> {
    const newTokens = rows[0]?.tokenIds.length ?? 0;
    if (newTokens === 0 || rows.some((row) => row.tokenIds.length !== newTokens)) {
      throw new Error("a step needs rows, of the same number of tokens, at least one");
    }
    for (const row of rows) this.cache.reserve(row.lane, newTokens);
    const results: RowResult[] = [];
    for (const group of this.#groups(rows)) results.push(...(await this.#forward(group, newTokens)));
    return results;
  }

  /** Neighbouring rows whose blocks fit one forward. */
  #groups(rows: readonly DecoderRow[]): readonly (readonly DecoderRow[])[] {
    const groups: DecoderRow[][] = [];
    let blocks = Number.POSITIVE_INFINITY;
    for (const row of rows) {
      const own = blocksOf(row.lane.computed);
      blocks += own;
      if (blocks > this.cache.maxBlocksPerForward) {
        groups.push([]);
        blocks = own;
      }
      groups.at(-1)?.push(row);
    }
    return groups;
  }

  async #forward(rows: readonly DecoderRow[], newTokens: number): Promise<RowResult[]> {
    const { layers, kvHeads, headDim } = this.architecture;
    const kvSize = kvHeads * headDim;
    const count = rows.length;
    const lanes = rows.map((row) => row.lane);
    const fits = lanes.reduce((sum, lane) => sum + blocksOf(lane.computed), 0) <= this.cache.maxBlocksPerForward;
    const past = newTokens === 1 && fits ? this.cache.pastInPlace(lanes) : this.cache.pastLaidOut(lanes);

    const inputIds = new BigInt64Array(count * newTokens);
    const positionIds = new BigInt64Array(count * newTokens);
    const logitRows: bigint[] = [];
    for (const [r, row] of rows.entries()) {
      for (let t = 0; t < newTokens; t++) {
        inputIds[r * newTokens + t] = BigInt(row.tokenIds[t] ?? 0);
        positionIds[r * newTokens + t] = BigInt(row.lane.computed + t);
      }
      for (let t = newTokens - logitCount(row); t < newTokens; t++) logitRows.push(BigInt(r * newTokens + t));
    }
    // The graph wants at least one row for its head; nobody reads this one.
    if (logitRows.length === 0) logitRows.push(0n);

    const pastDims = [past.blocks, kvHeads, past.slots, headDim];
    const feeds: Record<string, TensorValue> = {
      [decoderInputs.inputIds]: { type: "int64", data: inputIds, dims: [count, newTokens] },
      [decoderInputs.positionIds]: { type: "int64", data: positionIds, dims: [count, newTokens] },
      [decoderInputs.pastMask]: { type: "float32", data: past.mask, dims: [past.blocks, 1, 1, past.slots] },
      [decoderInputs.blockRows]: { type: "int64", data: past.blockRows, dims: [past.blocks] },
      [decoderInputs.topDownValues]: {
        type: "float32",
        data: this.#topDown(rows, newTokens),
        dims: [layers, count, newTokens, kvSize],
      },
      [decoderInputs.logitRows]: { type: "int64", data: BigInt64Array.from(logitRows), dims: [logitRows.length] },
    };
    for (const [part, order] of past.orders.entries()) {
      feeds[decoderInputs.blockOrder(part)] = { type: "int64", data: order, dims: [order.length] };
    }
    for (let layer = 0; layer < layers; layer++) {
      const { key, value } = past.layer(layer);
      feeds[decoderInputs.pastKey(layer)] = { type: "float32", data: key, dims: pastDims };
      feeds[decoderInputs.pastValue(layer)] = { type: "float32", data: value, dims: pastDims };
    }

    const outputs = await this.#session.run(feeds);
    const output = (name: string): Float32Array => {
      const data = outputs[name];
      if (data === undefined) throw new Error(`the decoder graph has no output ${name}`);
      return data;
    };

    for (let layer = 0; layer < layers; layer++) {
      this.cache.write(
        lanes,
        layer,
        newTokens,
        output(decoderOutputs.newKey(layer)),
        output(decoderOutputs.newValue(layer)),
      );
    }
    for (const lane of lanes) this.cache.advance(lane, newTokens);

    return this.#results(rows, output(decoderOutputs.logits), output(decoderOutputs.hiddenStates));
  }

  /** @returns float32 [L,R,T,kv], zeros for bottom-up rows; valid until the next forward. */
  #topDown(rows: readonly DecoderRow[], newTokens: number): Float32Array {
    const { layers, kvHeads, headDim } = this.architecture;
    const kvSize = kvHeads * headDim;
    const rowSize = newTokens * kvSize;
    const size = layers * rows.length * rowSize;
    if (this.#topDownValues.length < size) this.#topDownValues = new Float32Array(size);
    const all = this.#topDownValues.subarray(0, size);
    for (const [r, row] of rows.entries()) {
      if (row.pass === "steered" && row.topDown.values.length !== layers * row.topDown.total * kvSize) {
        const { values, total } = row.topDown;
        throw new Error(`top-down values have ${values.length} elements, ${layers * total * kvSize} are needed`);
      }
      for (let layer = 0; layer < layers; layer++) {
        const to = (layer * rows.length + r) * rowSize;
        if (row.pass === "bottomUp") {
          all.fill(0, to, to + rowSize);
          continue;
        }
        const { values, total, from } = row.topDown;
        const start = (layer * total + from) * kvSize;
        all.set(values.subarray(start, start + rowSize), to);
      }
    }
    return all;
  }

  /** Cuts the outputs, logits [N,V] and hiddenStates [R,T,D], into what each row asked for. */
  #results(rows: readonly DecoderRow[], logits: Float32Array, hiddenStates: Float32Array): RowResult[] {
    const { hiddenSize, vocabSize } = this.architecture;
    const results: RowResult[] = [];
    let nextLogits = 0;
    for (const [r, row] of rows.entries()) {
      const logitsFrom = nextLogits * vocabSize;
      nextLogits += logitCount(row);
      const ownLogits = logits.subarray(logitsFrom, nextLogits * vocabSize);
      const size = row.tokenIds.length * hiddenSize;
      const hiddenFrom = r * size;
      const ownHiddenStates = hiddenStates.subarray(hiddenFrom, hiddenFrom + size);
      switch (row.output) {
        case "logits":
        case "allLogits":
          results.push({ output: row.output, logits: ownLogits });
          break;
        case "hiddenStates":
          results.push({ output: row.output, hiddenStates: ownHiddenStates });
          break;
        case "hiddenStatesAndLogits":
        case "hiddenStatesAndAllLogits":
          results.push({ output: row.output, hiddenStates: ownHiddenStates, logits: ownLogits });
          break;
        case "nothing":
          results.push({ output: row.output });
          break;
      }
    }
    return results;
  }

  async release(): Promise<void> {
    await this.#session.release();
  }
}

/** How many of a row's last tokens want logits. */
function logitCount({ output, tokenIds }: DecoderRow): number {
  switch (output) {
    case "logits":
    case "hiddenStatesAndLogits":
      return 1;
    case "allLogits":
    case "hiddenStatesAndAllLogits":
      return tokenIds.length;
    case "hiddenStates":
    case "nothing":
      return 0;
  }
}
