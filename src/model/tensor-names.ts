/**
 * Names and shapes of what goes into and comes out of the exported graphs. The converter writes them, the decoder reads
 * them; they are the whole contract between the two.
 *
 * Letters: R rows in one forward, T new tokens a row, P past blocks, O open ones, S slots a block (in whole vectors of
 * 16), C rows that bring chunks of a prompt, F tokens of a chunk that came before, B slots of a chunk, L layers, H
 * query heads, KV key/value heads, Hd head dim, D hidden, V vocabulary, N rows that asked for logits, kv = KV·Hd.
 *
 * The past is ragged: a row may own any number of blocks, in any order among those of others, none when it has no past;
 * a block that belongs to no row is passed over.
 */
export const decoderInputs = {
  /** int64 [R,T] */
  inputIds: "input_ids",
  /** int64 [R,T]: the position of each new token in its sequence (rotary). */
  positionIds: "position_ids",
  /** float32 [P,1,1,S]: 0 where a past slot holds a computed token, -Infinity elsewhere. */
  pastMask: "past_mask",
  /** int64 [P]: whose past a block is; any row for a block that belongs to none and is masked as a whole. */
  blockRows: "block_rows",
  /**
   * int64 [any]: in which order the blocks are added up, in as many lists as `blockOrderParts` says. A row's result
   * depends on the order of its own blocks, not on what stands between them. No list may hold more than
   * `maxPartBlocks` blocks where two are of one row.
   */
  blockOrder: (part: number) => `block_order.${part}`,
  /**
   * int64 [O]: among the P blocks, the one that each row's new tokens lie in; O is R where rows bring a token and
   * guesses of those behind it, to be computed as if they came one by one, and 0 in any other forward. All blocks of a
   * row are full but this one, which `past_mask` hides as a whole and `block_order` leaves out, and it has room for the
   * row's T tokens.
   */
  openBlocks: "open_blocks",
  /** int64 [O,T,KV,3]: where each new key and value of a guess belongs: row, head and slot of the open block. */
  openSlots: "open_slots",
  /** float32 [O,T,S]: 0 where a slot of the open block is before the token, -Infinity elsewhere. */
  openMask: "open_mask",
  /**
   * float32 [2·L,C,KV,F,Hd]: keys and values, layer by layer, of the tokens that each row's chunk begins with and that
   * were computed before. C is R where rows bring several tokens of a prompt, and 0 in any other forward. What came
   * before the chunk is the past: so a token's sums fall apart in the same two parts wherever its chunk was resumed.
   */
  chunkKeyValues: "chunk_key_values",
  /**
   * float32 [C,T,B]: 0 where a new token sees a slot of its chunk, -Infinity elsewhere. The F tokens come first, then
   * the T new ones, then slots that nobody sees: with as many slots in all, sums over them are added up in one order.
   */
  chunkMask: "chunk_mask",
  /** float32 [L,R,T,kv]: added to the value projection's output of every layer; zeros for a bottom-up row. */
  topDownValues: "top_down_values",
  /**
   * float32 [L,A,D]: added to the residual stream behind every layer, in the channels in which it is kept (the
   * manifest's `rotation`); zeros for a row that no control vector steers. A is 1 where all new tokens get the same, or
   * R·T.
   */
  residualAdditions: "residual_additions",
  /** int64 [N]: which of the R·T new tokens (row-major) want logits; N ≥ 1. */
  logitRows: "logit_rows",
  /** float32 [P,KV,S,Hd] */
  pastKey: (layer: number) => `past_key_values.${layer}.key`,
  /** float32 [P,KV,S,Hd] */
  pastValue: (layer: number) => `past_key_values.${layer}.value`,
} as const;

/** Blocks of past that one forward should be able to add up: 16 rows of 2,048 tokens. */
const forwardBlocks = 256;

/**
 * How many lists of blocks a forward adds up one after the other: as many as `forwardBlocks` blocks need, four at most.
 * @param rowSize H·Hd, numbers of one row
 */
export function blockOrderParts(rowSize: number): number {
  return Math.min(4, Math.ceil(forwardBlocks / maxPartBlocks(rowSize)));
}

/** How many lists of blocks a converted graph takes. */
export function blockOrdersOf(inputNames: readonly string[]): number {
  let parts = 0;
  while (inputNames.includes(decoderInputs.blockOrder(parts))) parts++;
  return parts;
}

/**
 * The longest list of blocks that is added up in its order. onnxruntime's ScatterND hands its updates to several
 * threads once their number times their size passes about 210,000, and two threads would race for a row's sum; a list
 * this long stays under it.
 * @param rowSize H·Hd, numbers of one row
 * @see onnxruntime, core/common/threadpool.cc (CostModel)
 */
export function maxPartBlocks(rowSize: number): number {
  return Math.max(1, Math.floor(200_000 / rowSize));
}

export const decoderOutputs = {
  /** float32 [N,V] */
  logits: "logits",
  /** float32 [R,T,D]: the last decoder layer's output, before the final norm. */
  hiddenStates: "hidden_states",
  /**
   * float32 [M,D], M = R·T: the residual stream behind a layer, the addition included, in the channels in which it is
   * kept. Outputs that are not asked for are not copied.
   */
  layerOutput: (layer: number) => `layer_outputs.${layer}`,
  /** float32 [R,KV,T,Hd]: only the new rows, keys already rotated. */
  newKey: (layer: number) => `new_key_values.${layer}.key`,
  /** float32 [R,KV,T,Hd]: only the new rows, top-down values already added. */
  newValue: (layer: number) => `new_key_values.${layer}.value`,
} as const;

/** float32 [D], the gain of the norm behind the last layer: a weight that is read out of the graph too (FinalNorm). */
export const finalNormGain = "model.norm.weight";

/** The adapter graph: feature selection and the folded feedback path, N tokens of one adapter at a time. */
export const adapterInputs = {
  /** float32 [N,D]: bottom-up hidden states, before the final norm. */
  hiddenStates: "hidden_states",
  /** float32 [N,L]: strength of each layer; 1 is what was trained. */
  gains: "gains",
} as const;

export const adapterOutputs = {
  /** float32 [N]: clamp(cos(hidden, task embedding), 0, 1). */
  relevance: "relevance",
  /** float32 [L,N,kv]: the decoder's top-down value input, gains applied. */
  topDownValues: "top_down_values",
} as const;
