import { describe, expect, test } from "vitest";
import { DrawRules } from "../../src/sampling/draw-rules.js";
import { drawRules } from "../../src/sampling/logits-processors.js";
import { Sampler } from "../../src/sampling/sampler.js";
import type { SamplingParams } from "../../src/sampling/sampling-params.js";
import { chiSquareDeviation, TestRandom } from "./chi-square.js";

const plain: SamplingParams = {
  temperature: 1,
  topP: 1,
  topK: null,
  minP: 0,
  presencePenalty: 0,
  frequencyPenalty: 0,
  repetitionPenalty: 1,
  logitBias: [],
  seed: 1234,
};
const noRules = new DrawRules([]);

function rulesOf(sampling: SamplingParams): DrawRules {
  return drawRules({ sampling, promptIds: [], minTokens: 0, endIds: [] });
}

function randomLogits(size: number, seed: number, spread = 1.5): Float32Array {
  const random = new TestRandom(seed);
  return Float32Array.from({ length: size }, () => random.gauss() * spread);
}

function softmax(logits: ArrayLike<number>, temperature: number): number[] {
  const best = Math.max(...Array.from(logits));
  const weights = Array.from(logits, (logit) => Math.exp((logit - best) / temperature));
  const total = weights.reduce((a, b) => a + b, 0);
  return weights.map((weight) => weight / total);
}

function countDraws(logits: Float32Array, params: SamplingParams, draws: number, rules = noRules): Float64Array {
  const sampler = new Sampler(logits.length);
  const counts = new Float64Array(logits.length);
  for (let position = 0; position < draws; position += 1) {
    const id = sampler.sample(logits, params, position, rules);
    counts[id] = (counts[id] ?? 0) + 1;
  }
  return counts;
}

describe("sampling", () => {
  const draws = 60_000;

  test("follows the softmax at any temperature", () => {
    const logits = randomLogits(40, 1);
    for (const temperature of [0.5, 1, 2]) {
      const probabilities = softmax(logits, temperature);
      const counts = countDraws(logits, { ...plain, temperature }, draws);
      // Cells that expect under five draws are joined: chi-square is no measure for them.
      const common = probabilities.map((p, id) => ({ p, count: counts[id] ?? 0 })).filter(({ p }) => p * draws >= 5);
      const observed = [...common.map(({ count }) => count), draws - common.reduce((sum, { count }) => sum + count, 0)];
      const expected = [...common.map(({ p }) => p * draws), draws * (1 - common.reduce((sum, { p }) => sum + p, 0))];
      if ((expected.at(-1) ?? 0) < 5) {
        observed.pop();
        expected.pop();
      }
      expect(Math.abs(chiSquareDeviation(observed, (cell) => expected[cell] ?? 0))).toBeLessThan(4);
    }
  });

  test("follows the softmax of what the filters left", () => {
    const logits = Float32Array.from([0.3, 0.25, 0.2, 0.15, 0.06, 0.04], Math.log);
    const cases: [Partial<SamplingParams>, number[]][] = [
      [{ topK: 3 }, [0.4, 0.25 / 0.75, 0.2 / 0.75, 0, 0, 0]],
      [{ topP: 0.8 }, [0.3 / 0.9, 0.25 / 0.9, 0.2 / 0.9, 0.15 / 0.9, 0, 0]],
      [{ minP: 0.6 }, [0.4, 0.25 / 0.75, 0.2 / 0.75, 0, 0, 0]],
    ];
    for (const [filters, probabilities] of cases) {
      const counts = countDraws(logits, { ...plain, ...filters }, draws);
      probabilities.forEach((p, id) => {
        if (p === 0) expect(counts[id]).toBe(0);
        // 5 standard deviations of a share near a half.
        else expect(Math.abs((counts[id] ?? 0) / draws - p)).toBeLessThan(2.5 / Math.sqrt(draws));
      });
    }
  });

  test("draws the same from a filter that removes nothing as from none", () => {
    const logits = randomLogits(500, 2);
    const sampler = new Sampler(500);
    for (let position = 0; position < 500; position += 1) {
      const bare = sampler.sample(logits, plain, position, noRules);
      expect(sampler.sample(logits, { ...plain, topK: 500 }, position, noRules)).toBe(bare);
      expect(sampler.sample(logits, { ...plain, minP: 1e-30 }, position, noRules)).toBe(bare);
      expect(sampler.sample(logits, { ...plain, topP: 1 - 1e-12 }, position, noRules)).toBe(bare);
    }
  });

  test("repeats with the seed, and only with it", () => {
    const logits = randomLogits(200, 3);
    const text = (seed: number) => {
      const sampler = new Sampler(200);
      return Array.from({ length: 60 }, (_, position) => sampler.sample(logits, { ...plain, seed }, position, noRules));
    };
    expect(text(5)).toEqual(text(5));
    expect(text(5)).not.toEqual(text(6));
  });

  test("couples two draws at one position: equal logits agree always, near ones nearly always", () => {
    const random = new TestRandom(8);
    const [draft, final] = [new Sampler(300), new Sampler(300)];
    let near = 0;
    let uncoupled = 0;
    for (let position = 0; position < 400; position += 1) {
      const logits = randomLogits(300, 100 + position, 2);
      const params = { ...plain, temperature: 0.9, topP: 0.9 };
      const drawn = draft.sample(logits, params, position, noRules);
      expect(final.sample(Float32Array.from(logits), params, position, noRules)).toBe(drawn);
      const moved = logits.map((logit) => logit + random.gauss() * 0.05);
      if (final.sample(moved, params, position, noRules) === drawn) near += 1;
      if (final.sample(logits, params, position + 1, noRules) === drawn) uncoupled += 1;
    }
    expect(near).toBeGreaterThan(360);
    expect(uncoupled).toBeLessThan(100);
  });

  test("is greedy at temperature 0, the lowest id of equal ones", () => {
    const sampler = new Sampler(4);
    const greedy = { ...plain, temperature: 0, topK: 1, topP: 0.1 };
    expect(sampler.sample(new Float32Array([1, 3, 3, 2]), greedy, 0, noRules)).toBe(1);
    expect(sampler.sample(new Float32Array([-5, -7, -4, -4]), greedy, 9, noRules)).toBe(2);
  });

  test("applies penalties to greedy draws too, and leaves the caller's logits alone", () => {
    const logits = new Float32Array([1, 1.5, 0]);
    const greedy = { ...plain, temperature: 0 };
    const rules = rulesOf({ ...greedy, presencePenalty: 1 });
    rules.append(1);
    const sampler = new Sampler(3);
    expect(sampler.sample(logits, greedy, 0, rules)).toBe(0);
    expect(sampler.sample(logits, greedy, 0, noRules)).toBe(1);
    expect([...logits]).toEqual([1, 1.5, 0]);
  });

  test("never draws a masked token", () => {
    const logits = randomLogits(50, 4);
    for (let id = 0; id < 50; id += 2) logits[id] = Number.NEGATIVE_INFINITY;
    for (const filters of [{}, { topK: 40 }, { topP: 0.999 }, { minP: 1e-9 }]) {
      const counts = countDraws(logits, { ...plain, temperature: 2, ...filters }, 2000);
      expect(counts.filter((count, id) => id % 2 === 0 && count > 0)).toHaveLength(0);
    }
  });

  test("throws on logits that mean a broken model", () => {
    const sampler = new Sampler(3);
    const failing = { code: "engine_failed" };
    for (const params of [
      plain,
      { ...plain, temperature: 0 },
      { ...plain, topK: 2 },
      { ...plain, presencePenalty: 1 },
    ]) {
      const draw = (logits: number[]) => () => sampler.sample(new Float32Array(logits), params, 0, rulesOf(params));
      expect(draw([1, Number.NaN, 2])).toThrow(expect.objectContaining(failing));
      expect(draw([Number.NaN, 1, 2])).toThrow(expect.objectContaining(failing));
      expect(draw([1, 2, Number.NaN])).toThrow(expect.objectContaining(failing));
      expect(draw([1, Number.POSITIVE_INFINITY, 2])).toThrow(expect.objectContaining(failing));
      expect(draw(new Array<number>(3).fill(Number.NEGATIVE_INFINITY))).toThrow(expect.objectContaining(failing));
      expect(draw([1, 2])).toThrow(expect.objectContaining(failing));
    }
  });
});
