import { blockOrderParts, decoderInputs, decoderOutputs } from "../model/tensor-names.js";
import type { DecoderWeights } from "./decoder-weights.js";
import { type GraphBuilder, microsoft, type Value } from "./graph-builder.js";
import { type LinearLayers, linearWithBias } from "./linear-layers.js";
import type { LlamaConfig } from "./llama-config.js";
import { rotaryTable } from "./rotary-table.js";

/** What attention reads in every layer; computed once per forward. */
export interface AttentionInputs {
  /** int64 [R,T] */
  readonly positions: Value;
  readonly cosines: Value;
  readonly sines: Value;
  /** int64 [3]: R, T, -1 */
  readonly rowShape: Value;
  /** int64 [4]: R, T, -1, Hd */
  readonly headShape: Value;
  /** float32 [P,1,1,S] */
  readonly pastMask: Value;
  /** The same as [P,1,1,1,S]. */
  readonly headPastMask: Value;
  readonly blocks: PastBlocks;
  readonly open: OpenBlocks;
  readonly chunk: Chunk;
  /** bool [1]: every row brings one token. */
  readonly isOneToken: Value;
  /** bool [1]: so it is, and block r is the whole past of row r. */
  readonly isAligned: Value;
}

/** Whose the blocks of the past are. */
interface PastBlocks {
  /** int64 [P] */
  readonly rows: Value;
  /** int64 [P,1]: the same, as ScatterND takes it. */
  readonly rowIndices: Value;
  /** The lists in which partial sums are added up: int64 [N] blocks, and int64 [N,1] their rows. */
  readonly parts: readonly { readonly order: Value; readonly rowIndices: Value }[];
}

/** The blocks in which rows of guessed tokens end: see `guessedTokens`. */
interface OpenBlocks {
  /** int64 [O]; O = R, or 0 where no row brings guesses. */
  readonly blocks: Value;
  /** int64 [O,T,KV,3]: row, head and slot of each new key. */
  readonly slots: Value;
  /** float32 [O,T,1,1,1,S] */
  readonly mask: Value;
  /** bool [1]: O > 0 */
  readonly isAny: Value;
}

/** What the chunks of prompts begin and end with: see `chunkKeyValues`. */
interface Chunk {
  /** float32 [1,C,KV,F,Hd] of each layer: keys, then values. */
  readonly before: readonly Value[];
  /** float32 [C,KV,B−F−T,Hd]: zeros, for the slots that nobody sees. */
  readonly after: Value;
  /** float32 [C,1,G·T,B] */
  readonly mask: Value;
}

/**
 * Declares the inputs that only attention reads.
 * @param rows int64 [1]: R
 * @param tokens int64 [1]: T
 */
export function attentionInputs(b: GraphBuilder, config: LlamaConfig, rows: Value, tokens: Value): AttentionInputs {
  const { heads, kvHeads, headDim } = config;
  const positions = b.input(decoderInputs.positionIds, "int64", ["R", "T"]);
  const pastMask = b.input(decoderInputs.pastMask, "float32", ["P", 1, 1, "S"]);
  const blockRows = b.input(decoderInputs.blockRows, "int64", ["P"]);
  const orders = Array.from({ length: blockOrderParts(heads * headDim) }, (_, part) =>
    b.input(decoderInputs.blockOrder(part), "int64", [`P${part}`]),
  );
  const rotary = (part: "cos" | "sin"): Value =>
    b.weight(`rotary.${part}`, "float32", [config.contextLength, headDim / 2], {
      kind: "float32",
      rows: { kind: "computed", compute: () => rotaryTable(config, part) },
    });
  const asColumn = (values: Value): Value => b.node("Unsqueeze", [values, b.int64([1])]);
  const joined = (parts: readonly Value[], label: string): Value =>
    b.node("Concat", parts, { attributes: { axis: { int: 0 } }, label });
  const blocks = b.node("Shape", [blockRows], { label: "block_count" });
  const isOneToken = b.node("Equal", [tokens, b.int64([1])], { label: "is_one_token" });
  const openBlocks = b.input(decoderInputs.openBlocks, "int64", ["O"]);
  const openMask = b.input(decoderInputs.openMask, "float32", ["O", "T", "S"]);
  return {
    positions,
    cosines: rotary("cos"),
    sines: rotary("sin"),
    rowShape: joined([rows, tokens, b.int64([-1])], "row_shape"),
    headShape: joined([rows, tokens, b.int64([-1, headDim])], "head_shape"),
    pastMask,
    headPastMask: b.node("Unsqueeze", [pastMask, b.int64([1])], { label: "head_past_mask" }),
    blocks: {
      rows: blockRows,
      rowIndices: asColumn(blockRows),
      parts: orders.map((order) => ({ order, rowIndices: asColumn(b.node("Gather", [blockRows, order])) })),
    },
    open: {
      blocks: openBlocks,
      slots: b.input(decoderInputs.openSlots, "int64", ["O", "T", kvHeads, 3]),
      mask: b.node("Unsqueeze", [openMask, b.int64([2, 3, 4])], { label: "open_mask" }),
      isAny: b.node("Greater", [b.node("Shape", [openBlocks]), b.int64([0])], { label: "brings_guesses" }),
    },
    chunk: chunkInputs(b, config, tokens),
    isOneToken,
    isAligned: isAligned(b, isOneToken, rows, blocks, blockRows),
  };
}

/** tokens: int64 [1], T */
function chunkInputs(b: GraphBuilder, { layers, heads, kvHeads, headDim }: LlamaConfig, tokens: Value): Chunk {
  const all = b.input(decoderInputs.chunkKeyValues, "float32", [2 * layers, "C", kvHeads, "F", headDim]);
  const mask = b.input(decoderInputs.chunkMask, "float32", ["C", "T", "B"]);
  const before = b.nodeOf(
    "Split",
    [all],
    Array.from({ length: 2 * layers }, (_, index) => `chunk_before.${index}`),
    { attributes: { axis: { int: 0 }, num_outputs: { int: 2 * layers } } },
  );
  const dim = (value: Value, at: number): Value =>
    b.node("Shape", [value], { attributes: { start: { int: at }, end: { int: at + 1 } } });
  const unseen = b.node("Sub", [b.node("Sub", [dim(mask, 2), dim(all, 3)]), tokens]);
  // Where there is no chunk, B and F are 0.
  const filler = b.node("Max", [unseen, b.int64([0])]);
  const shape = b.node("Concat", [dim(mask, 0), b.int64([kvHeads]), filler, b.int64([headDim])], {
    attributes: { axis: { int: 0 } },
  });
  const tiled = b.node("Tile", [mask, b.int64([1, heads / kvHeads, 1])]);
  return {
    before,
    after: b.node("Expand", [b.float32([0], []), shape], { label: "chunk_after" }),
    mask: b.node("Unsqueeze", [tiled, b.int64([1])], { label: "chunk_mask" }),
  };
}

/** isOneToken: bool [1]; rows: int64 [1], R; blocks: int64 [1], P; blockRows: int64 [P] → bool [1] */
function isAligned(b: GraphBuilder, isOneToken: Value, rows: Value, blocks: Value, blockRows: Value): Value {
  const elsewhere = b.node("Not", [b.node("Equal", [blockRows, countedTo(b, blocks)])]);
  const asNumbers = b.node("Cast", [elsewhere], { attributes: { to: { int: 1 } } });
  const count = b.node("ReduceSum", [asNumbers, b.int64([0])]);
  const inPlace = b.node("Equal", [count, b.float32([0])]);
  const oneEach = b.node("And", [b.node("Equal", [rows, blocks]), inPlace]);
  return b.node("And", [isOneToken, oneEach], { label: "is_aligned" });
}

/** count: int64 [1] → int64 [count]: 0, 1, 2 … */
function countedTo(b: GraphBuilder, count: Value): Value {
  const end = b.node("Squeeze", [count, b.int64([0])]);
  return b.node("Range", [b.int64([0], []), end, b.int64([1], [])]);
}

/** One layer's queries, keys and values on their way into attention, keys and queries rotated. */
interface Projected {
  /** float32 [R,T,H·Hd], divided by √Hd */
  readonly queries: Value;
  /** float32 [R,T,kv] */
  readonly keys: Value;
  /** float32 [1,M,kv], top-down values added */
  readonly values: Value;
  /** float32 [P,KV,S,Hd] */
  readonly pastKey: Value;
  /** float32 [P,KV,S,Hd] */
  readonly pastValue: Value;
}

/** mixed: float32 [M,H·Hd]; newKey and newValue: float32 [R,KV,T,Hd] */
type Attended = [mixed: Value, newKey: Value, newValue: Value];

/**
 * Causal grouped-query attention over the cached and the new tokens.
 *
 * Four ways to the same sums: chunks of prompts, where the heads of a group share one long product; rows of one
 * token, where each head has a product of its own (onnxruntime's kernels for one row read keys and values as they lie,
 * those for a few rows copy them first); rows of one token with one block of past each, the commonest, where nothing
 * has to be found or added up; and rows of a token and guesses of those behind it. The last three give the same bits
 * for a token, whatever stands beside it, and whether it was guessed.
 *
 * @param normed float32 [M,D]
 * @param topDown float32 [1,M,kv], added to the values alone: steering changes what is said, not where to look.
 * @returns float32 [M,D]
 */
export function attention(
  b: GraphBuilder,
  config: LlamaConfig,
  weights: DecoderWeights,
  linears: LinearLayers,
  inputs: AttentionInputs,
  layer: number,
  normed: Value,
  topDown: Value,
): Value {
  const { heads, kvHeads, headDim } = config;
  const querySize = heads * headDim;
  const kvSize = kvHeads * headDim;

  // One product for q, k and v: the input is quantized and read once.
  const product = linearWithBias(b, linears, linears.prepare(normed), weights.product(layer, "qkv"));
  const [qk, v] = b.nodeOf("Split", [product, b.int64([querySize + kvSize, kvSize])], ["qk", "v"], {
    attributes: { axis: { int: 1 } },
  });
  // Queries and keys turn together.
  const turned = b.node(
    "RotaryEmbedding",
    [b.node("Reshape", [qk, inputs.rowShape]), inputs.positions, inputs.cosines, inputs.sines],
    { domain: microsoft },
  );
  const [queries, keys] = b.nodeOf("Split", [turned, b.int64([querySize, kvSize])], ["q", "k"], {
    attributes: { axis: { int: 2 } },
  });
  // Scaled before the products, and out of the optimizer's sight of them, which would make it their alpha: with alpha
  // 1 onnxruntime has kernels for one row.
  const scale = b.float32([1 / Math.sqrt(headDim)], []);
  const pastDims = ["P", kvHeads, "S", headDim];
  const projected: Projected = {
    queries: b.node("Mul", [queries, scale], { label: "scaled_q" }),
    keys,
    values: b.node("Add", [v, topDown], { label: "steered_values" }),
    pastKey: b.input(decoderInputs.pastKey(layer), "float32", pastDims),
    pastValue: b.input(decoderInputs.pastValue(layer), "float32", pastDims),
  };

  const newDims = ["R", kvHeads, "T", headDim];
  const outputs = (newKey: string | { output: string }, newValue: string | { output: string }) =>
    [
      { value: "mixed", dims: ["M", querySize] },
      { value: newKey, dims: newDims },
      { value: newValue, dims: newDims },
    ] as const;
  const named = outputs({ output: decoderOutputs.newKey(layer) }, { output: decoderOutputs.newValue(layer) });
  const [mixed] = b.choose(inputs.isAligned, named, {
    whenTrue: () => oneToken(b, config, projected, inputs, alignedSums),
    whenFalse: () =>
      b.choose(inputs.isOneToken, outputs("new_key", "new_value"), {
        whenTrue: () => oneToken(b, config, projected, inputs, sumsOverBlocks),
        whenFalse: () =>
          b.choose(inputs.open.isAny, outputs("new_key", "new_value"), {
            whenTrue: () => guessedTokens(b, config, projected, inputs),
            whenFalse: () => chunkOfPrompt(b, config, projected, inputs, layer),
          }),
      }),
  });
  return linearWithBias(b, linears, linears.prepare(mixed), weights.product(layer, "o"));
}

const transposedB = { domain: microsoft, attributes: { transB: { int: 1 } } };

/** What a row's query sees: its own new token, and blocks of the past. */
interface OneToken {
  /** float32 [R,KV,G,1,Hd] */
  readonly query: Value;
  /** float32 [R,KV,G,1,1]: of the new token */
  readonly newScore: Value;
  /** float32 [R,KV,1,1,Hd] */
  readonly newValue: Value;
  /** float32 [P,KV,1,S,Hd] */
  readonly pastKey: Value;
  /** float32 [P,KV,1,S,Hd] */
  readonly pastValue: Value;
}

/** float32 [R,KV,G,1,Hd]: weighted values, and [R,KV,G,1,1]: the weights, both summed over all that a row sees. */
interface Sums {
  readonly values: Value;
  readonly weights: Value;
}

const overSlots = [4];

/** Rows of one token: T = 1, M = R. */
function oneToken(
  b: GraphBuilder,
  config: LlamaConfig,
  { queries, keys, values, pastKey, pastValue }: Projected,
  inputs: AttentionInputs,
  sumsOf: (b: GraphBuilder, inputs: AttentionInputs, token: OneToken) => Sums,
): Attended {
  const { heads, kvHeads, headDim } = config;
  const shaped = (value: Value, dims: readonly number[]): Value => b.node("Reshape", [value, b.int64(dims)]);
  const newKey = shaped(keys, [-1, kvHeads, 1, headDim]);
  const newValue = shaped(values, [-1, kvHeads, 1, headDim]);
  const query = shaped(queries, [-1, kvHeads, heads / kvHeads, 1, headDim]);
  const newScore = b.node("FusedMatMul", [query, shaped(keys, [-1, kvHeads, 1, 1, headDim])], transposedB);
  const sums = sumsOf(b, inputs, {
    query,
    newScore,
    newValue: shaped(values, [-1, kvHeads, 1, 1, headDim]),
    pastKey: b.node("Unsqueeze", [pastKey, b.int64([2])]),
    pastValue: b.node("Unsqueeze", [pastValue, b.int64([2])]),
  });
  const mixed = shaped(b.node("Div", [sums.values, sums.weights]), [-1, heads * headDim]);
  return [mixed, newKey, newValue];
}

/** Block r is all the past of row r: P = R. */
function alignedSums(b: GraphBuilder, inputs: AttentionInputs, token: OneToken): Sums {
  const { query, newScore, newValue, pastKey, pastValue } = token;
  const pastScores = b.node("Add", [b.node("FusedMatMul", [query, pastKey], transposedB), inputs.headPastMask]);
  const largest = b.node("Max", [b.node("ReduceMax", [pastScores, b.int64(overSlots)]), newScore]);
  const newWeight = b.node("Exp", [b.node("Sub", [newScore, largest])]);
  const pastWeights = b.node("Exp", [b.node("Sub", [pastScores, largest])]);
  return {
    values: b.node("Add", [b.node("Mul", [newWeight, newValue]), b.node("MatMul", [pastWeights, pastValue])]),
    weights: b.node("Add", [newWeight, b.node("ReduceSum", [pastWeights, b.int64(overSlots)])]),
  };
}

/**
 * The softmax of a row in pieces: its largest score over all of them, then each piece's weights, their sum and the
 * weighted values, added up block by block in the row's order.
 */
function sumsOverBlocks(b: GraphBuilder, { blocks, headPastMask }: AttentionInputs, token: OneToken): Sums {
  const { query, newScore, newValue, pastKey, pastValue } = token;
  const blockQuery = b.node("Gather", [query, blocks.rows]);
  const pastScores = b.node("Add", [b.node("FusedMatMul", [blockQuery, pastKey], transposedB), headPastMask]);
  const largest = largestOf(b, blocks, newScore, b.node("ReduceMax", [pastScores, b.int64(overSlots)]));
  const newWeight = b.node("Exp", [b.node("Sub", [newScore, largest])]);
  const pastWeights = b.node("Exp", [b.node("Sub", [pastScores, b.node("Gather", [largest, blocks.rows])])]);
  return {
    values: addedUp(b, blocks, b.node("Mul", [newWeight, newValue]), b.node("MatMul", [pastWeights, pastValue])),
    weights: addedUp(b, blocks, newWeight, b.node("ReduceSum", [pastWeights, b.int64(overSlots)])),
  };
}

/**
 * Rows of a token and guesses of those behind it, each computed as if it came alone, once those before it are cached:
 * the same products of one row, over the same blocks in the same order. For that the new keys and values are put where
 * they would lie, in a copy of the block that is open (all of a row's tokens lie in one), of which each token sees what
 * is before it. As it lies, the open block is masked: what it adds to the sums is 0.
 */
function guessedTokens(
  b: GraphBuilder,
  config: LlamaConfig,
  { queries, keys, values, pastKey, pastValue }: Projected,
  { blocks, open, headShape, headPastMask }: AttentionInputs,
): Attended {
  const { heads, kvHeads, headDim } = config;
  const single = b.int64([0, 0, kvHeads, 1, 1, headDim]);
  const overOpenSlots = [5];
  const query = b.node("Reshape", [queries, b.int64([0, 0, kvHeads, heads / kvHeads, 1, headDim])]);
  // [R,T,KV,Hd]
  const tokenKeys = b.node("Reshape", [keys, headShape]);
  const tokenValues = b.node("Reshape", [values, headShape]);
  const newScore = b.node("FusedMatMul", [query, b.node("Reshape", [keys, single])], transposedB);

  const spread = b.int64([1, 3]);
  const blockQuery = b.node("Gather", [query, blocks.rows]);
  const pastKeys = b.node("Unsqueeze", [pastKey, spread]);
  const pastMask = b.node("Unsqueeze", [headPastMask, b.int64([1])]);
  const pastScores = b.node("Add", [b.node("FusedMatMul", [blockQuery, pastKeys], transposedB), pastMask]);

  // [R,1,KV,1,S,Hd]
  const opened = (past: Value, added: Value): Value =>
    b.node("Unsqueeze", [b.node("ScatterND", [b.node("Gather", [past, open.blocks]), open.slots, added]), spread]);
  const openScores = b.node("Add", [
    b.node("FusedMatMul", [query, opened(pastKey, tokenKeys)], transposedB),
    open.mask,
  ]);

  const nearest = b.node("Max", [newScore, b.node("ReduceMax", [openScores, b.int64(overOpenSlots)])]);
  const largest = largestOf(b, blocks, nearest, b.node("ReduceMax", [pastScores, b.int64(overOpenSlots)]));
  const newWeight = b.node("Exp", [b.node("Sub", [newScore, largest])]);
  const openWeights = b.node("Exp", [b.node("Sub", [openScores, largest])]);
  const pastWeights = b.node("Exp", [b.node("Sub", [pastScores, b.node("Gather", [largest, blocks.rows])])]);
  // [R,T,KV,1,1,Hd]
  const newValue = b.node("Unsqueeze", [tokenValues, b.int64([3, 4])]);
  const pastValues = b.node("MatMul", [pastWeights, b.node("Unsqueeze", [pastValue, spread])]);
  const sums = b.node("Add", [
    addedUp(b, blocks, b.node("Mul", [newWeight, newValue]), pastValues),
    b.node("MatMul", [openWeights, opened(pastValue, tokenValues)]),
  ]);
  const totals = b.node("Add", [
    addedUp(b, blocks, newWeight, b.node("ReduceSum", [pastWeights, b.int64(overOpenSlots)])),
    b.node("ReduceSum", [openWeights, b.int64(overOpenSlots)]),
  ]);
  const mixed = b.node("Reshape", [b.node("Div", [sums, totals]), b.int64([-1, heads * headDim])]);
  const byHead = (value: Value): Value =>
    b.node("Transpose", [value], { attributes: { perm: { ints: [0, 2, 1, 3] } } });
  return [mixed, byHead(tokenKeys), byHead(tokenValues)];
}

/** newScores: float32 [R,…,1]; pastScores: float32 [P,…,1] → float32 [R,…,1] */
function largestOf(b: GraphBuilder, { rowIndices }: PastBlocks, newScores: Value, pastScores: Value): Value {
  return b.node("ScatterND", [newScores, rowIndices, pastScores], {
    attributes: { reduction: { string: "max" } },
    label: "largest",
  });
}

/** rows: float32 [R,…]; pieces: float32 [P,…] → float32 [R,…]: each row with the pieces of its blocks, in order. */
function addedUp(b: GraphBuilder, { parts }: PastBlocks, rows: Value, pieces: Value): Value {
  return parts.reduce(
    (sums, { order, rowIndices }) =>
      b.node("ScatterND", [sums, rowIndices, b.node("Gather", [pieces, order])], {
        attributes: { reduction: { string: "add" } },
      }),
    rows,
  );
}

/**
 * Rows of several tokens of a prompt: the heads of a group are folded into the token axis, and keys serve them all at
 * once. A token gets the same bits in whatever piece of its chunk it comes.
 */
function chunkOfPrompt(
  b: GraphBuilder,
  config: LlamaConfig,
  { queries, keys, values, pastKey, pastValue }: Projected,
  { blocks, chunk, headShape, pastMask }: AttentionInputs,
  layer: number,
): Attended {
  const { heads, kvHeads, headDim } = config;
  // [R,T,H,Hd] ↔ [R,H,T,Hd]
  const swapped = (value: Value): Value =>
    b.node("Transpose", [value], { attributes: { perm: { ints: [0, 2, 1, 3] } } });
  const byHead = (value: Value): Value => swapped(b.node("Reshape", [value, headShape]));
  const newKey = byHead(keys);
  const newValue = byHead(values);
  // [R,KV,B,Hd]
  const whole = (index: number, added: Value): Value => {
    const before = b.node("Squeeze", [chunk.before[index] as Value, b.int64([0])]);
    return b.node("Concat", [before, added, chunk.after], { attributes: { axis: { int: 2 } }, label: "chunk" });
  };
  const query = b.node("Reshape", [byHead(queries), b.int64([0, kvHeads, -1, headDim])], { label: "query" });
  const overKeys = b.int64([3]);
  // Scores against a row's own chunk, [R,KV,G·T,B], and against each block of past tokens, [P,KV,G·T,S].
  const chunkScores = b.node("Add", [
    b.node("FusedMatMul", [query, whole(2 * layer, newKey)], transposedB),
    chunk.mask,
  ]);
  const blockQuery = b.node("Gather", [query, blocks.rows]);
  const pastScores = b.node("Add", [b.node("FusedMatMul", [blockQuery, pastKey], transposedB), pastMask]);
  const chunkLargest = b.node("ReduceMax", [chunkScores, overKeys]);
  const largest = largestOf(b, blocks, chunkLargest, b.node("ReduceMax", [pastScores, overKeys]));
  const chunkWeights = b.node("Exp", [b.node("Sub", [chunkScores, largest])]);
  const pastWeights = b.node("Exp", [b.node("Sub", [pastScores, b.node("Gather", [largest, blocks.rows])])]);
  const chunkValues = b.node("MatMul", [chunkWeights, whole(2 * layer + 1, newValue)]);
  const sums = addedUp(b, blocks, chunkValues, b.node("MatMul", [pastWeights, pastValue]));
  const totals = addedUp(
    b,
    blocks,
    b.node("ReduceSum", [chunkWeights, overKeys]),
    b.node("ReduceSum", [pastWeights, overKeys]),
  );
  // [R,KV,G·T,Hd] → [R,H,T,Hd] → [R,T,H,Hd] → [M,H·Hd]
  const unfolded = b.node("Reshape", [b.node("Div", [sums, totals]), b.int64([0, heads, -1, headDim])]);
  const mixed = b.node("Reshape", [swapped(unfolded), b.int64([-1, heads * headDim])]);
  return [mixed, newKey, newValue];
}
