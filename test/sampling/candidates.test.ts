import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { CandidateSelector, type Filters, keepsAll } from "../../src/sampling/candidates.js";
import { TestRandom } from "./chi-square.js";

const off: Filters = { temperature: 1, topP: 1, topK: null, minP: 0 };

/** The filters by their definitions: everything sorted, probabilities computed anew after each filter. */
function referenceSet(logits: Float32Array, filters: Filters): number[] {
  let ids = [...logits.keys()].filter((id) => logits[id] !== Number.NEGATIVE_INFINITY);
  const logit = (id: number) => logits[id] ?? Number.NaN;
  ids.sort((a, b) => logit(b) - logit(a) || a - b);
  const best = logit(ids[0] ?? -1);
  const weight = (id: number) => Math.exp((logit(id) - best) / filters.temperature);
  ids = ids.filter((id) => weight(id) >= filters.minP);
  if (filters.topK !== null) ids = ids.slice(0, filters.topK);
  if (filters.topP < 1) {
    const total = ids.reduce((sum, id) => sum + weight(id), 0);
    let above = 0;
    const kept: number[] = [];
    for (const id of ids) {
      if (kept.length > 0 && above >= filters.topP * total) break;
      kept.push(id);
      above += weight(id);
    }
    ids = kept;
  }
  return ids.sort((a, b) => a - b);
}

function selectedSet(selector: CandidateSelector, logits: Float32Array, filters: Filters): number[] {
  const count = selector.select(logits, Math.max(...logits), filters);
  return [...selector.ids.subarray(0, count)].sort((a, b) => a - b);
}

/** What scripts/write_typical_reference.py wrote. */
const typical = JSON.parse(readFileSync(new URL("typical.json", import.meta.url), "utf8")) as readonly {
  readonly logits: readonly number[];
  readonly temperature: number;
  readonly typicalP: number;
  readonly topK: number | null;
  readonly kept: readonly number[];
}[];

describe("candidate selection", () => {
  test.each(typical)(
    "keeps the typical tokens that transformers keeps: $typicalP at $temperature, top_k $topK",
    (row) => {
      const { logits, kept, temperature, typicalP, topK } = row;
      const filters = { ...off, temperature, typicalP, topK };
      expect(keepsAll(filters)).toBe(false);
      expect(selectedSet(new CandidateSelector(logits.length), Float32Array.from(logits), filters)).toEqual(kept);
    },
  );

  test("equals the definitions of min_p, top_k and top_p on random logits", () => {
    const random = new TestRandom(3);
    for (let round = 0; round < 600; round += 1) {
      const size = 1 + random.below(round % 10 === 0 ? 3000 : 60);
      const spread = [0.05, 1, 4, 20][random.below(4)] ?? 1;
      const logits = Float32Array.from({ length: size }, () => random.gauss() * spread);
      // Ties, a mask, and zeros of both signs.
      for (let i = 0; i < size / 4; i += 1) logits[random.below(size)] = logits[random.below(size)] ?? 0;
      if (size > 5) {
        logits[random.below(size)] = Number.NEGATIVE_INFINITY;
        logits[random.below(size)] = -0;
        logits[random.below(size)] = 0;
      }
      if (Math.max(...logits) === Number.NEGATIVE_INFINITY) continue;
      const filters: Filters = {
        temperature: [0.1, 0.8, 1, 2][random.below(4)] ?? 1,
        topP: random.below(2) === 0 ? 1 : random.next(),
        topK: random.below(2) === 0 ? null : 1 + random.below(size + 3),
        minP: random.below(2) === 0 ? 0 : random.next() * 0.3,
      };
      expect(selectedSet(new CandidateSelector(size), logits, filters)).toEqual(referenceSet(logits, filters));
    }
  });

  test("takes the lower ids among equal logits", () => {
    const logits = new Float32Array(100).fill(1.5);
    const selector = new CandidateSelector(100);
    expect(selectedSet(selector, logits, { ...off, topK: 3 })).toEqual([0, 1, 2]);
    expect(selectedSet(selector, logits, { ...off, topP: 0.045 })).toEqual([0, 1, 2, 3, 4]);
    expect(selectedSet(selector, new Float32Array([-0, 0, -0, 0]), { ...off, topK: 2 })).toEqual([0, 1]);
  });

  test("always keeps the best token", () => {
    const logits = new Float32Array([0, 3, 1]);
    const selector = new CandidateSelector(3);
    expect(selectedSet(selector, logits, { ...off, topP: 1e-9 })).toEqual([1]);
    expect(selectedSet(selector, logits, { ...off, minP: 0.999 })).toEqual([1]);
    expect(selectedSet(selector, logits, { ...off, temperature: 1e-320, topP: 0.5 })).toEqual([1]);
    expect(selectedSet(selector, logits, { ...off, temperature: 1e-320, topK: 1 })).toEqual([1]);
  });

  test("gives top_p what top_k left", () => {
    // Alone, top_p 0.7 of (0.4, 0.3, 0.2, 0.1) needs two; of the first two it needs (0.57, 0.43) both; 0.5 needs one.
    const logits = Float32Array.from([0.4, 0.3, 0.2, 0.1], Math.log);
    const selector = new CandidateSelector(4);
    expect(selectedSet(selector, logits, { ...off, topP: 0.55 })).toEqual([0, 1]);
    expect(selectedSet(selector, logits, { ...off, topP: 0.55, topK: 2 })).toEqual([0]);
  });

  test("knows when there is nothing to do", () => {
    expect(keepsAll(off)).toBe(true);
    for (const filter of [{ topK: 5 }, { topP: 0.9 }, { minP: 0.1 }])
      expect(keepsAll({ ...off, ...filter })).toBe(false);
  });

  test("reads a view in the middle of a buffer", () => {
    const whole = Float32Array.from([9, 9, 1, 2, 3, 9]);
    expect(selectedSet(new CandidateSelector(3), whole.subarray(2, 5), { ...off, topK: 2 })).toEqual([1, 2]);
  });
});
