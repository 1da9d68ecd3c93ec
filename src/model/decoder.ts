import { blocksOf, blockTokens, KvCache, type Lane, type LaneKind, noChunks } from "./kv-cache.js";
import type { Architecture } from "./manifest.js";
import { OnnxSession, type OnnxSessionOptions, type TensorValue } from "./onnx-session.js";
import { blockOrdersOf, decoderInputs, decoderOutputs } from "./tensor-names.js";

/** Of which of a row's tokens logits are wanted. */
export type WantedLogits = "none" | "last" | "all";

/** Top-down values of a row's T tokens, where an adapter left them among those of others; read during the step only. */
export interface RowTopDown {
  /** float32 [L,N,kv] */
  readonly values: Float32Array;
  /** N */
  readonly total: number;
  /** The row's first token among the N. */
  readonly from: number;
}

interface RowOf<Kind extends LaneKind> {
  readonly lane: Lane<Kind>;
  /** The T tokens that follow the lane's computed ones. */
  readonly tokenIds: readonly number[];
  readonly logits: WantedLogits;
  /**
   * The first token is known, those behind it are guesses: each is computed as if it came alone, once those before it
   * are cached. All have to lie in one block (KvCache.roomForGuesses). Absent: tokens of a prompt, or one.
   */
  readonly guesses?: boolean;
  /** Whether the outputs of all layers are wanted; each is copied. */
  readonly layerOutputs?: boolean;
}

/** One lane's share of a forward. A steered row cannot be written down without saying what steers it. */
export type DecoderRow =
  | (RowOf<"bottomUp"> & { readonly topDown?: never; readonly addition?: never })
  | (RowOf<"steered"> & {
      /** Null: no adapter. */
      readonly topDown: RowTopDown | null;
      /**
       * float32 [L,D] that each of the row's tokens gets added behind the layers, in the channels in which the residual
       * stream is kept (see VectorStack). Null: no control vectors.
       */
      readonly addition: Float32Array | null;
    });

/** Views into arrays made by the step that returned them; nothing overwrites them later. */
export interface RowResult {
  /** float32 [T,D], before the final norm */
  readonly hiddenStates: Float32Array;
  /** float32 [N,V] of the tokens whose logits were wanted: N is 0, 1 or T. */
  readonly logits: Float32Array;
  /** Of each layer float32 [T,D], in the channels in which the residual stream is kept; empty when not wanted. */
  readonly layerOutputs: readonly Float32Array[];
}

/** The frozen backbone: runs any mix of rows of either pass in one forward, and keeps their caches. */
export class Decoder {
  readonly architecture: Architecture;
  readonly cache: KvCache;
  readonly #session: OnnxSession;
  /** Used again by every forward: fresh arrays of this size cost more than what is written into them. */
  #topDownValues = new Float32Array(0);
  #additions = new Float32Array(0);
  /** float32 [L,D], never written to. */
  readonly #noAddition: Float32Array;
  readonly #outputs: readonly string[];
  readonly #layerOutputs: readonly string[];
  readonly #takesGuesses: boolean;
  readonly #resumesChunks: boolean;

  private constructor(session: OnnxSession, architecture: Architecture) {
    this.#session = session;
    this.architecture = architecture;
    this.cache = new KvCache(architecture, blockOrdersOf(session.inputNames));
    this.#takesGuesses = session.inputNames.includes(decoderInputs.openBlocks);
    this.#resumesChunks = session.inputNames.includes(decoderInputs.chunkMask);
    const { layers, hiddenSize } = architecture;
    const ofLayers = (name: (layer: number) => string) => Array.from({ length: layers }, (_, layer) => name(layer));
    this.#noAddition = new Float32Array(layers * hiddenSize);
    this.#layerOutputs = ofLayers(decoderOutputs.layerOutput);
    this.#outputs = [
      decoderOutputs.logits,
      decoderOutputs.hiddenStates,
      ...ofLayers(decoderOutputs.newKey),
      ...ofLayers(decoderOutputs.newValue),
    ];
  }

  /** @throws ToastError `engine_failed` */
  static async load(graphPath: string, architecture: Architecture, options: OnnxSessionOptions): Promise<Decoder> {
    return new Decoder(await OnnxSession.load(graphPath, options), architecture);
  }

  /** Whether rows may bring guesses: graphs that were converted before there were any cannot tell them from prompts. */
  get takesGuesses(): boolean {
    return this.#takesGuesses;
  }

  /**
   * Whether tokens of a prompt get the same bits wherever their chunk is cut in two (pieces of two tokens at least).
   * Graphs that were converted before they did add up what is cached and what is new apart.
   */
  get resumesChunks(): boolean {
    return this.#resumesChunks;
  }

  /** Milliseconds spent in the graph so far. */
  get graphMs(): number {
    return this.#session.runMs;
  }

  /**
   * One forward (several where the rows' pasts are more than the graph adds up in one). Every row brings the same
   * number T of tokens; the lanes' caches hold them afterwards.
   * @returns one result a row, in the order of `rows`.
   * @throws ToastError `engine_failed`; the lanes then have what earlier forwards of this step computed, and nothing of
   * the failed one.
   */
  async step(rows: readonly DecoderRow[]): Promise<RowResult[]> {
    const newTokens = rows[0]?.tokenIds.length ?? 0;
    if (newTokens === 0 || rows.some((row) => row.tokenIds.length !== newTokens)) {
      throw new Error("a step needs rows, of the same number of tokens, at least one");
    }
    const guesses = newTokens > 1 && rows.some((row) => row.guesses === true);
    if (guesses && !(this.takesGuesses && rows.every((row) => row.guesses === true))) {
      throw new Error("rows with guesses share a forward with their like, of a graph that takes them");
    }
    for (const row of rows) this.cache.reserve(row.lane, newTokens);
    // As their pasts lie in the cache: one block each and no hole between them is what the graph is quickest with.
    const laid = [...rows].sort((one, other) => this.cache.firstBlock(one.lane) - this.cache.firstBlock(other.lane));
    const results = new Map<DecoderRow, RowResult>();
    const chunks = newTokens > 1 && !guesses;
    for (const group of this.#groups(laid, guesses ? newTokens : 1, chunks && this.#resumesChunks)) {
      for (const [r, result] of (await this.#forward(group, newTokens, guesses)).entries()) {
        results.set(group[r] as DecoderRow, result);
      }
    }
    return rows.map((row) => results.get(row) as RowResult);
  }

  /**
   * Neighbouring rows whose blocks fit one forward.
   * @param summed tokens of a row that add up its blocks
   * @param begunAlike whether as many tokens have to lie in the rows' last blocks already.
   */
  #groups(rows: readonly DecoderRow[], summed: number, begunAlike: boolean): readonly (readonly DecoderRow[])[] {
    const groups: DecoderRow[][] = [];
    let blocks = Number.POSITIVE_INFINITY;
    let begun = 0;
    for (const row of rows) {
      const own = blocksOf(row.lane.computed);
      const ownBegun = row.lane.computed % blockTokens;
      blocks += own;
      if (blocks > this.cache.maxBlocksPerForward(summed) || (begunAlike && ownBegun !== begun)) {
        groups.push([]);
        blocks = own;
        begun = ownBegun;
      }
      groups.at(-1)?.push(row);
    }
    return groups;
  }

  async #forward(rows: readonly DecoderRow[], newTokens: number, guesses: boolean): Promise<RowResult[]> {
    const { layers, kvHeads, headDim } = this.architecture;
    const kvSize = kvHeads * headDim;
    const count = rows.length;
    const lanes = rows.map((row) => row.lane);
    const fits = lanes.reduce((sum, lane) => sum + blocksOf(lane.computed), 0) <= this.cache.maxBlocksPerForward(1);
    const inPlace = guesses || (newTokens === 1 && fits);
    const inChunks = newTokens > 1 && !guesses && this.#resumesChunks;
    const past = inPlace
      ? this.cache.pastInPlace(lanes, newTokens)
      : this.cache.pastLaidOut(lanes, inChunks ? "fullBlocks" : "all");

    const inputIds = new BigInt64Array(count * newTokens);
    const positionIds = new BigInt64Array(count * newTokens);
    const logitRows: bigint[] = [];
    for (const [r, row] of rows.entries()) {
      for (let t = 0; t < newTokens; t++) {
        inputIds[r * newTokens + t] = BigInt(row.tokenIds[t] as number);
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
      [decoderInputs.residualAdditions]: this.#residualAdditions(rows, newTokens),
      [decoderInputs.logitRows]: { type: "int64", data: BigInt64Array.from(logitRows), dims: [logitRows.length] },
    };
    if (this.takesGuesses) {
      const { blocks, slots, mask } = past.open;
      const open = blocks.length;
      feeds[decoderInputs.openBlocks] = { type: "int64", data: blocks, dims: [open] };
      feeds[decoderInputs.openSlots] = { type: "int64", data: slots, dims: [open, newTokens, kvHeads, 3] };
      feeds[decoderInputs.openMask] = { type: "float32", data: mask, dims: [open, newTokens, past.slots] };
    }
    if (this.#resumesChunks) {
      const chunk = inChunks ? this.cache.chunkPast(lanes, newTokens) : noChunks;
      feeds[decoderInputs.chunkKeyValues] = {
        type: "float32",
        data: chunk.keyValues,
        dims: [2 * layers, chunk.rows, kvHeads, chunk.tokens, headDim],
      };
      feeds[decoderInputs.chunkMask] = {
        type: "float32",
        data: chunk.mask,
        dims: [chunk.rows, newTokens, chunk.slots],
      };
    }
    for (const [part, order] of past.orders.entries()) {
      feeds[decoderInputs.blockOrder(part)] = { type: "int64", data: order, dims: [order.length] };
    }
    for (let layer = 0; layer < layers; layer++) {
      const { key, value } = past.layOut(layer);
      feeds[decoderInputs.pastKey(layer)] = { type: "float32", data: key, dims: pastDims };
      feeds[decoderInputs.pastValue(layer)] = { type: "float32", data: value, dims: pastDims };
    }

    const readsLayers = rows.some(({ layerOutputs }) => layerOutputs === true);
    const fetches = readsLayers ? [...this.#outputs, ...this.#layerOutputs] : this.#outputs;
    const outputs = await this.#session.run(feeds, fetches);
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

    const layerOutputs = readsLayers ? this.#layerOutputs.map(output) : [];
    return this.#results(rows, output(decoderOutputs.logits), output(decoderOutputs.hiddenStates), layerOutputs);
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
      const topDown = row.topDown ?? null;
      if (topDown !== null && topDown.values.length !== layers * topDown.total * kvSize) {
        const { values, total } = topDown;
        throw new Error(`top-down values have ${values.length} elements, ${layers * total * kvSize} are needed`);
      }
      for (let layer = 0; layer < layers; layer++) {
        const to = (layer * rows.length + r) * rowSize;
        if (topDown === null) {
          all.fill(0, to, to + rowSize);
          continue;
        }
        const { values, total, from } = topDown;
        const start = (layer * total + from) * kvSize;
        all.set(values.subarray(start, start + rowSize), to);
      }
    }
    return all;
  }

  /** float32 [L,A,D], zeros where nothing is added; valid until the next forward. */
  #residualAdditions(rows: readonly DecoderRow[], newTokens: number): TensorValue {
    const { layers, hiddenSize } = this.architecture;
    const [first] = rows;
    const shared = first?.addition ?? null;
    for (const { addition } of rows) {
      if (addition && addition.length !== layers * hiddenSize) {
        throw new Error(`an addition has ${addition.length} elements, ${layers * hiddenSize} are needed`);
      }
    }
    // Nearly always: one stream, a chunk of one prompt, or nobody with vectors. The graph spreads it over the tokens.
    if (rows.every(({ addition }) => (addition ?? null) === shared)) {
      return { type: "float32", data: shared ?? this.#noAddition, dims: [layers, 1, hiddenSize] };
    }
    const tokens = rows.length * newTokens;
    const size = layers * tokens * hiddenSize;
    if (this.#additions.length < size) this.#additions = new Float32Array(size);
    const all = this.#additions.subarray(0, size);
    for (const [r, row] of rows.entries()) {
      const addition = row.addition ?? this.#noAddition;
      for (let layer = 0; layer < layers; layer++) {
        const own = addition.subarray(layer * hiddenSize, (layer + 1) * hiddenSize);
        const to = (layer * tokens + r * newTokens) * hiddenSize;
        for (let t = 0; t < newTokens; t++) all.set(own, to + t * hiddenSize);
      }
    }
    return { type: "float32", data: all, dims: [layers, tokens, hiddenSize] };
  }

  /** Cuts the outputs, logits [N,V], hiddenStates [R,T,D] and of each layer [R·T,D], into what is each row's. */
  #results(
    rows: readonly DecoderRow[],
    logits: Float32Array,
    hiddenStates: Float32Array,
    layerOutputs: readonly Float32Array[],
  ): RowResult[] {
    const { hiddenSize, vocabSize } = this.architecture;
    let nextLogits = 0;
    return rows.map((row, r) => {
      const firstLogits = nextLogits;
      nextLogits += logitCount(row);
      const size = row.tokenIds.length * hiddenSize;
      return {
        hiddenStates: hiddenStates.subarray(r * size, (r + 1) * size),
        logits: logits.subarray(firstLogits * vocabSize, nextLogits * vocabSize),
        layerOutputs: row.layerOutputs ? layerOutputs.map((values) => values.subarray(r * size, (r + 1) * size)) : [],
      };
    });
  }

  async release(): Promise<void> {
    await this.#session.release();
  }
}

/** How many of a row's last tokens want logits. */
function logitCount({ logits, tokenIds }: DecoderRow): number {
  switch (logits) {
    case "none":
      return 0;
    case "last":
      return 1;
    case "all":
      return tokenIds.length;
  }
}
