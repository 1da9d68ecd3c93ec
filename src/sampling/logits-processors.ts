import type { SamplingParams } from "./sampling-params.js";
import type { TokenHistory } from "./token-history.js";

export type Penalties = Pick<SamplingParams, "presencePenalty" | "frequencyPenalty" | "repetitionPenalty">;

/** Whether `applyPenalties` would change anything. */
export function hasPenalties(penalties: Penalties): boolean {
  return penalties.presencePenalty !== 0 || penalties.frequencyPenalty !== 0 || penalties.repetitionPenalty !== 1;
}

/**
 * Repetition penalty over prompt and output, then frequency and presence penalty over the output alone: vLLM's scopes
 * and order. Touches the tokens of the history only.
 *
 * @param logits [V] float32; changed in place, so pass a copy of what others read.
 * @see vLLM, v1/sample/sampler.py and model_executor/layers/utils.py (apply_penalties)
 */
export function applyPenalties(logits: Float32Array, penalties: Penalties, history: TokenHistory): void {
  const { presencePenalty, frequencyPenalty, repetitionPenalty } = penalties;
  if (repetitionPenalty !== 1) {
    for (const id of history.promptIds) penalizeRepetition(logits, id, repetitionPenalty);
    for (const id of history.outputCounts.keys()) {
      if (!history.promptIds.has(id)) penalizeRepetition(logits, id, repetitionPenalty);
    }
  }
  if (presencePenalty !== 0 || frequencyPenalty !== 0) {
    for (const [id, count] of history.outputCounts) {
      const logit = logits[id];
      if (logit !== undefined) logits[id] = logit - (frequencyPenalty * count + presencePenalty);
    }
  }
}

const maxFloat32 = 3.4028234663852886e38;

function penalizeRepetition(logits: Float32Array, id: number, penalty: number): void {
  const logit = logits[id];
  if (logit === undefined || logit === Number.NEGATIVE_INFINITY) return;
  const penalized = logit > 0 ? logit / penalty : logit * penalty;
  // An extreme penalty must not overflow into the infinities, which mean "broken" and "masked".
  logits[id] = Math.max(-maxFloat32, Math.min(maxFloat32, penalized));
}
