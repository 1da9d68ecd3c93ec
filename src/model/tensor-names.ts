/**
 * Names and shapes of what goes into and comes out of the exported graphs. The converter writes them, the decoder reads
 * them; they are the whole contract between the two.
 *
 * Letters: R rows in one forward, T new tokens a row, S past slots a row (in whole vectors of 16), L layers, H query heads,
 * KV key/value heads, Hd head dim, D hidden, V vocabulary, N rows that asked for logits, kv = KV·Hd.
 */
export const decoderInputs = {
  /** int64 [R,T] */
  inputIds: "input_ids",
  /** int64 [R,T]: the position of each new token in its sequence (rotary). */
  positionIds: "position_ids",
  /** float32 [R,1,1,S]: 0 where a past slot holds a computed token, -Infinity elsewhere. New tokens are causal among themselves. */
  pastMask: "past_mask",
  /** float32 [L,R,T,kv]: added to the value projection's output of every layer; zeros for a bottom-up row. */
  topDownValues: "top_down_values",
  /** int64 [N]: which of the R·T new tokens (row-major) want logits; N ≥ 1. */
  logitRows: "logit_rows",
  /** float32 [R,KV,S,Hd] */
  pastKey: (layer: number) => `past_key_values.${layer}.key`,
  /** float32 [R,KV,S,Hd] */
  pastValue: (layer: number) => `past_key_values.${layer}.value`,
} as const;

export const decoderOutputs = {
  /** float32 [N,V] */
  logits: "logits",
  /** float32 [R,T,D]: the last decoder layer's output, before the final norm. */
  hiddenStates: "hidden_states",
  /** float32 [R,KV,T,Hd]: only the new rows, keys already rotated. */
  newKey: (layer: number) => `new_key_values.${layer}.key`,
  /** float32 [R,KV,T,Hd]: only the new rows, top-down values already added. */
  newValue: (layer: number) => `new_key_values.${layer}.value`,
} as const;

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
