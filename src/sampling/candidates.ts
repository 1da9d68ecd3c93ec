import { at } from "../at.js";
import type { SamplingParams } from "./sampling-params.js";

export type Filters = Pick<SamplingParams, "temperature" | "topP" | "topK" | "minP" | "typicalP">;

/** 2²¹: room for token ids beside 32 bits of logit in the 53 exact bits of a double. */
const maxVocabSize = 2 ** 21;
/** Scaled logits below −50 weigh nothing; the bands above are 1/64 wide, a few dozen tokens each in practice. */
const depth = 50;
const bandsPerUnit = 64;

/** Whether every token with a finite logit stays a candidate. */
export function keepsAll(filters: Filters): boolean {
  return filters.topK === null && filters.topP >= 1 && filters.minP <= 0 && (filters.typicalP ?? 1) >= 1;
}

/**
 * The tokens that min_p, top_k, top_p and typical_p leave, in this order (vLLM's, then that of transformers). Each
 * filter sees what the one before it left:
 * - min_p keeps tokens with at least `minP` times the best token's probability;
 * - top_k keeps the `topK` best;
 * - top_p keeps the shortest run of best tokens that has at least `topP` of the probability still there.
 * - typical_p keeps the tokens whose surprise, −ln p, is nearest to its mean over what is still there, the entropy: the
 *   shortest run of them that has at least `typicalP` of the probability, and all as near as its last.
 * The best token stays, but for typical_p. Equal logits rank by token id, lower first, so the set is always the same
 * (vLLM keeps all that tie with the last of top_k). Probabilities are those after temperature.
 *
 * Nothing is sorted as a whole: top_k keeps a heap of its size, top_p sorts the one narrow band of logits that its
 * boundary falls into. One selector serves one vocabulary size and is used again for every draw.
 */
export class CandidateSelector {
  /** Ids of the selection, in no particular order; as many as `select` said are valid, until its next call. */
  readonly ids: Int32Array;
  /**
   * One number per token that sorts as the token ranks: the logit's bits, made monotone, above the complement of its
   * id.
   */
  readonly #keys: Float64Array;
  /** Unnormalized probability by band of scaled logits, from the best downwards. */
  readonly #bandMass = new Float64Array(depth * bandsPerUnit + 1);

  constructor(vocabSize: number) {
    if (vocabSize > maxVocabSize) throw new RangeError(`vocabulary of ${vocabSize}, at most ${maxVocabSize} here`);
    this.ids = new Int32Array(vocabSize);
    this.#keys = new Float64Array(vocabSize);
  }

  /**
   * @param logits [V] float32 without NaN; only read.
   * @param best The greatest logit, finite.
   * @param filters `temperature` > 0.
   * @returns How many of `ids` are the selection, ≥ 1.
   */
  select(logits: Float32Array, best: number, filters: Filters): number {
    const count = this.#selectBestOnes(logits, best, filters);
    const { temperature, typicalP = 1 } = filters;
    return typicalP < 1 ? this.#selectTypical(logits, best, temperature, count, typicalP) : count;
  }

  /** @see transformers, generation/logits_process.py, TypicalLogitsWarper; https://arxiv.org/abs/2202.00666 */
  #selectTypical(logits: Float32Array, best: number, temperature: number, count: number, typicalP: number): number {
    const candidates: { id: number; scaled: number; distance: number }[] = [];
    let mass = 0;
    let expected = 0;
    for (let i = 0; i < count; i += 1) {
      const id = this.ids[i] as number;
      const scaled = (at(logits, id) - best) / temperature;
      // What weighs nothing is as far from typical as can be.
      if (scaled < -depth) continue;
      const weight = Math.exp(scaled);
      mass += weight;
      expected += weight * scaled;
      candidates.push({ id, scaled, distance: 0 });
    }
    // −ln p − entropy: the logarithm of the mass is in both.
    expected /= mass;
    for (const candidate of candidates) candidate.distance = Math.abs(candidate.scaled - expected);
    candidates.sort((a, b) => a.distance - b.distance);
    let kept = 0;
    let farthest = Number.NEGATIVE_INFINITY;
    let left = typicalP * mass;
    for (const { id, scaled, distance } of candidates) {
      if (left <= 0 && distance > farthest) break;
      this.ids[kept++] = id;
      farthest = distance;
      left -= Math.exp(scaled);
    }
    return kept;
  }

  /** What min_p, top_k and top_p leave. */
  #selectBestOnes(logits: Float32Array, best: number, filters: Filters): number {
    const { temperature, topK, topP, minP } = filters;
    // Scaled logits are (logit − best) / temperature throughout: 0 for the best token, so that exp never overflows.
    const floor = minP > 0 ? Math.log(minP) : -Number.MAX_VALUE;
    if (topK !== null) return this.#selectBest(logits, best, temperature, floor, topK, topP);
    if (topP < 1) return this.#selectLikely(logits, best, temperature, floor, topP);
    let count = 0;
    for (let id = 0; id < logits.length; id += 1) {
      if (((logits[id] as number) - best) / temperature >= floor) this.ids[count++] = id;
    }
    return count;
  }

  /**
   * top_p alone: one pass weighs the bands, a second takes the bands above the boundary and the top of its own band.
   */
  #selectLikely(logits: Float32Array, best: number, temperature: number, floor: number, topP: number): number {
    // Even a full vocabulary of tokens below e⁻⁵⁰ is lost in the rounding of the sum.
    const from = Math.max(floor, -depth);
    const bandMass = this.#bandMass.fill(0);
    let mass = 0;
    for (let id = 0; id < logits.length; id += 1) {
      const scaled = ((logits[id] as number) - best) / temperature;
      if (scaled < from) continue;
      const weight = Math.exp(scaled);
      const band = bandOf(scaled);
      bandMass[band] = (bandMass[band] as number) + weight;
      mass += weight;
    }
    let wanted = topP * mass;
    let boundary = 0;
    while (boundary < bandMass.length - 1 && (bandMass[boundary] as number) < wanted) {
      wanted -= bandMass[boundary] as number;
      boundary += 1;
    }
    const bits = bitsOf(logits);
    let count = 0;
    let inBoundary = 0;
    for (let id = 0; id < logits.length; id += 1) {
      const scaled = ((logits[id] as number) - best) / temperature;
      if (scaled < from) continue;
      const band = bandOf(scaled);
      if (band < boundary) this.ids[count++] = id;
      else if (band === boundary) this.#keys[inBoundary++] = keyOf(bits[id] as number, id);
    }
    return this.#takeRun(logits, best, temperature, count, inBoundary, wanted);
  }

  /** top_k, and top_p among what it leaves. */
  #selectBest(
    logits: Float32Array,
    best: number,
    temperature: number,
    floor: number,
    topK: number,
    topP: number,
  ): number {
    const bits = bitsOf(logits);
    const keys = this.#keys;
    // A heap whose root is the worst of the best so far.
    let size = 0;
    for (let id = 0; id < logits.length; id += 1) {
      if (!(((logits[id] as number) - best) / temperature >= floor)) continue;
      const key = keyOf(bits[id] as number, id);
      if (size < topK) {
        size += 1;
        siftUp(keys, size, key);
      } else if (key > (keys[0] as number)) {
        siftDown(keys, size, key);
      }
    }
    if (topP < 1) {
      let mass = 0;
      for (let i = 0; i < size; i += 1) {
        mass += Math.exp((at(logits, idOfKey(keys[i] as number)) - best) / temperature);
      }
      return this.#takeRun(logits, best, temperature, 0, size, topP * mass);
    }
    for (let i = 0; i < size; i += 1) this.ids[i] = idOfKey(keys[i] as number);
    return size;
  }

  /**
   * Append to `ids` the shortest run of the best of the first `size` keys that weighs `wanted`; at least one, when
   * there is one. @returns How many ids there are then.
   */
  #takeRun(
    logits: Float32Array,
    best: number,
    temperature: number,
    count: number,
    size: number,
    wanted: number,
  ): number {
    // A typed array without a comparator sorts natively.
    this.#keys.subarray(0, size).sort();
    let total = count;
    let mass = 0;
    for (let i = size - 1; i >= 0; i -= 1) {
      const id = idOfKey(this.#keys[i] as number);
      this.ids[total++] = id;
      mass += Math.exp((at(logits, id) - best) / temperature);
      if (mass >= wanted) break;
    }
    return total;
  }
}

function bandOf(scaled: number): number {
  return Math.trunc(scaled * -bandsPerUnit);
}

function bitsOf(logits: Float32Array): Int32Array {
  return new Int32Array(logits.buffer, logits.byteOffset, logits.length);
}

function keyOf(bits: number, id: number): number {
  // −0 equals 0; negative floats order backwards by their bits.
  const positive = bits === -0x80000000 ? 0 : bits;
  const rank = (positive < 0 ? ~positive : positive ^ 0x80000000) >>> 0;
  return rank * maxVocabSize + (maxVocabSize - 1 - id);
}

function idOfKey(key: number): number {
  return maxVocabSize - 1 - (key - Math.floor(key / maxVocabSize) * maxVocabSize);
}

/** Put `key` into the heap whose last, free place is `size − 1`. */
function siftUp(heap: Float64Array, size: number, key: number): void {
  let place = size - 1;
  while (place > 0) {
    const parent = (place - 1) >> 1;
    const above = heap[parent] as number;
    if (above <= key) break;
    heap[place] = above;
    place = parent;
  }
  heap[place] = key;
}

/** Put `key` into the full heap in the root's stead. */
function siftDown(heap: Float64Array, size: number, key: number): void {
  let place = 0;
  for (;;) {
    let child = 2 * place + 1;
    if (child >= size) break;
    if (child + 1 < size && (heap[child + 1] as number) < (heap[child] as number)) child += 1;
    const below = heap[child] as number;
    if (below >= key) break;
    heap[place] = below;
    place = child;
  }
  heap[place] = key;
}
