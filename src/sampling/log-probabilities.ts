import { at } from "../at.js";
import { ToastError } from "../errors.js";

/** A token and the natural logarithm of its probability. */
export interface ScoredToken {
  readonly id: number;
  readonly logprob: number;
}

export interface LogProbabilities {
  /** Of the token in question. */
  readonly logprob: number;
  /** 1 for the likeliest token; how many are at least as likely (vLLM's). */
  readonly rank: number;
  /** The likeliest tokens, the likeliest first; of equally likely ones the lower id. */
  readonly top: readonly ScoredToken[];
}

/**
 * Natural log softmax of one row of logits: what it is at one token, and at its greatest places. Nothing is sorted as a
 * whole; sums are in float64.
 *
 * @param logits [V] float32, only read.
 * @param tokenId −∞ outside the vocabulary.
 * @param count of the likeliest tokens, a few.
 * @throws ToastError `engine_failed` for logits that are no distribution: a NaN, +∞, or −∞ everywhere.
 */
export function logProbabilities(logits: Float32Array, tokenId: number, count: number): LogProbabilities {
  const ids = count === 0 ? [] : bestIds(logits, Math.min(count, logits.length));
  let best = Number.NEGATIVE_INFINITY;
  if (count === 0) for (const logit of logits) best = logit > best ? logit : best;
  else best = at(logits, ids[0] as number);
  const own = logits[tokenId] ?? Number.NEGATIVE_INFINITY;
  let sum = 0;
  let rank = 0;
  for (const logit of logits) {
    sum += Math.exp(logit - best);
    if (logit >= own) rank += 1;
  }
  const normalizer = best + Math.log(sum);
  if (!Number.isFinite(normalizer)) {
    throw new ToastError("engine_failed", "The model's logits are not finite: there are no probabilities to report.");
  }
  const logprobOf = (id: number): number => (logits[id] ?? Number.NEGATIVE_INFINITY) - normalizer;
  return { logprob: logprobOf(tokenId), rank, top: ids.map((id) => ({ id, logprob: logprobOf(id) })) };
}

/**
 * The greatest `count` places, in order. Nearly every logit is passed over by one comparison with the least of the best
 * so far.
 */
function bestIds(logits: Float32Array, count: number): readonly number[] {
  const ids: number[] = [];
  let least = Number.NEGATIVE_INFINITY;
  for (let id = 0; id < logits.length; id += 1) {
    const logit = logits[id] as number;
    if (ids.length === count && logit <= least) continue;
    let place = ids.length;
    while (place > 0 && at(logits, ids[place - 1] as number) < logit) place -= 1;
    ids.splice(place, 0, id);
    if (ids.length > count) ids.pop();
    least = at(logits, ids.at(-1) as number);
  }
  return ids;
}
