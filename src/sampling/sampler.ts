import { at } from "../at.js";
import { ToastError } from "../errors.js";
import { CandidateSelector, keepsAll } from "./candidates.js";
import type { DrawRules } from "./draw-rules.js";
import type { SamplingParams } from "./sampling-params.js";
import {
  gumbelBoundFromBits,
  gumbelFromBits,
  gumbelLimit,
  type NoiseKey,
  noiseBits,
  noiseKey,
} from "./seeded-noise.js";

/**
 * Draws tokens from logits, in vLLM's order: the sequence's rules (minimum length, bias, penalties), then temperature,
 * min_p, top_k, top_p, then the draw. (Hugging Face applies min_p after top_p.)
 *
 * The draw is the argmax of scaled logit + Gumbel noise: an exact sample of the softmax over what the filters left, and
 * for one seed and position always the same function of the logits. Two draws at one position (a draft's and the final
 * one) share their noise, so equal logits give equal tokens and near ones nearly always do.
 *
 * One sampler per vocabulary, one draw at a time; its scratch is used again, so a draw hardly allocates.
 *
 * @see vLLM, v1/sample/sampler.py for the order of operations
 */
export class Sampler {
  readonly #scratch: Float32Array;
  readonly #candidates: CandidateSelector;

  constructor(vocabSize: number) {
    this.#scratch = new Float32Array(vocabSize);
    this.#candidates = new CandidateSelector(vocabSize);
  }

  /**
   * @param logits [V] float32, a view that is only read, and not kept.
   * @param params `temperature` 0 takes the best token, of equal ones the lowest id.
   * @param position Place that the drawn token will have in its sequence: what noise it meets.
   * @param rules What is changed about the logits first; the drawn token is not appended.
   * @throws ToastError `engine_failed` for a NaN or +∞ logit, and when every token is masked (−∞): a broken model must
   * not pass for a talkative one.
   */
  sample(logits: Float32Array, params: SamplingParams, position: number, rules: DrawRules): number {
    if (logits.length !== this.#scratch.length) {
      throw new ToastError(
        "engine_failed",
        `The model gave ${logits.length} logits for a vocabulary of ${this.#scratch.length}.`,
      );
    }
    const working = rules.apply(logits, this.#scratch);
    const bestId = argmax(working);
    if (params.temperature === 0) return bestId;
    const best = at(working, bestId);
    const key = noiseKey(params.seed, position);
    if (keepsAll(params)) return drawFromAll(working, bestId, params.temperature, key);
    const count = this.#candidates.select(working, best, params);
    return drawFrom(this.#candidates.ids, count, working, best, params.temperature, key);
  }
}

/** @returns The lowest id with the greatest logit, which is finite. */
function argmax(logits: Float32Array): number {
  let bestId = -1;
  let best = Number.NEGATIVE_INFINITY;
  for (let id = passOver(logits, 0, best); id < logits.length; id = passOver(logits, id + 1, best)) {
    const logit = logits[id] as number;
    // Written so that NaN comes in here as well: it must not hide behind comparisons that are always false.
    if (!(logit <= best)) {
      if (Number.isNaN(logit))
        throw new ToastError("engine_failed", `The model's logit of token ${id} is not a number.`);
      best = logit;
      bestId = id;
    }
  }
  if (bestId === -1) throw new ToastError("engine_failed", "Every token is masked: there is nothing to draw from.");
  if (best === Number.POSITIVE_INFINITY) {
    throw new ToastError("engine_failed", `The model's logit of token ${bestId} is infinite.`);
  }
  return bestId;
}

/**
 * Skips logits that do not exceed `bound`, eight at a time: nearly all of a vocabulary, in two thirds of the time that
 * one by one takes.
 * @returns `from` or later, with no logit above `bound` and no NaN in between; the length at the end.
 */
function passOver(logits: Float32Array, from: number, bound: number): number {
  let id = from;
  for (; id + 7 < logits.length; id += 8) {
    const isUnder =
      (logits[id] as number) <= bound &&
      (logits[id + 1] as number) <= bound &&
      (logits[id + 2] as number) <= bound &&
      (logits[id + 3] as number) <= bound &&
      (logits[id + 4] as number) <= bound &&
      (logits[id + 5] as number) <= bound &&
      (logits[id + 6] as number) <= bound &&
      (logits[id + 7] as number) <= bound;
    if (!isUnder) break;
  }
  while (id < logits.length && (logits[id] as number) <= bound) id += 1;
  return id;
}

/** The draw over the whole vocabulary. */
function drawFromAll(logits: Float32Array, bestId: number, temperature: number, key: NoiseKey): number {
  const best = logits[bestId] as number;
  let winner = bestId;
  // Starting with the likeliest token makes the bounds tight at once.
  let winning = gumbelFromBits(noiseBits(key, bestId));
  let bound = hopelessLogit(best, winning, temperature);
  for (let id = passOver(logits, 0, bound); id < logits.length; id = passOver(logits, id + 1, bound)) {
    const scaled = ((logits[id] as number) - best) / temperature;
    // Nearly all tokens are passed over by a bound, before hash or logarithm.
    const bits = noiseBits(key, id);
    if (scaled + gumbelBoundFromBits(bits) < winning) continue;
    const value = scaled + gumbelFromBits(bits);
    if (value > winning) {
      winning = value;
      winner = id;
      bound = hopelessLogit(best, winning, temperature);
    }
  }
  return winner;
}

/**
 * A logit that no noise lifts to `winning`; a little lower than need be, because it is rounded otherwise than the draw.
 */
function hopelessLogit(best: number, winning: number, temperature: number): number {
  const below = (winning - gumbelLimit) * temperature;
  return best + below - 1e-9 * (1 + Math.abs(best) + Math.abs(below));
}

/** The draw over the first `count` of `ids`. */
function drawFrom(
  ids: Int32Array,
  count: number,
  logits: Float32Array,
  best: number,
  temperature: number,
  key: NoiseKey,
): number {
  let winner = -1;
  let winning = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < count; i += 1) {
    const id = ids[i] as number;
    const scaled = (at(logits, id) - best) / temperature;
    const bits = noiseBits(key, id);
    if (scaled + gumbelBoundFromBits(bits) < winning) continue;
    const value = scaled + gumbelFromBits(bits);
    // Equal values go to the lower id, whatever order the candidates come in.
    if (value > winning || (value === winning && id < winner)) {
      winning = value;
      winner = id;
    }
  }
  return winner;
}
