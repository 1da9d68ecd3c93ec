import { describe, expect, test } from "vitest";
import { logProbabilities } from "../../src/sampling/log-probabilities.js";
import { TestRandom } from "./chi-square.js";

/** By the definition, everything sorted. */
function reference(logits: Float32Array) {
  const sum = logits.reduce((total, logit) => total + Math.exp(logit), 0);
  return [...logits]
    .map((logit, id) => ({ id, logprob: logit - Math.log(sum) }))
    .sort((a, b) => b.logprob - a.logprob || a.id - b.id);
}

describe("log probabilities", () => {
  test("are the log softmax, and the likeliest come first, of equal ones the lower id", () => {
    const random = new TestRandom(4);
    for (let round = 0; round < 300; round += 1) {
      const size = 1 + random.below(60);
      // Rounded, so that many are equal.
      const logits = Float32Array.from({ length: size }, () => Math.round(random.gauss() * 8) / 4);
      const expected = reference(logits);
      const id = random.below(size);
      for (const count of [0, 1, 5, 20]) {
        const { logprob, top } = logProbabilities(logits, id, count);
        expect(logprob).toBeCloseTo(expected.find((other) => other.id === id)?.logprob ?? 0, 12);
        expect(top.map((other) => other.id)).toEqual(expected.slice(0, count).map((other) => other.id));
        for (const [at, other] of top.entries()) expect(other.logprob).toBeCloseTo(expected[at]?.logprob ?? 0, 12);
      }
    }
  });

  test("do not overflow, and a masked token has −∞", () => {
    const { logprob, top } = logProbabilities(new Float32Array([3e38, Number.NEGATIVE_INFINITY, -3e38]), 1, 3);
    expect(logprob).toBe(Number.NEGATIVE_INFINITY);
    expect(top.map(({ id }) => id)).toEqual([0, 2, 1]);
    expect(top[0]?.logprob).toBe(0);
    expect(logProbabilities(new Float32Array([1]), 5, 0).logprob).toBe(Number.NEGATIVE_INFINITY);
  });

  test("are refused where the logits are no distribution", () => {
    const broken = [[1, Number.NaN], [Number.NaN, 1], [1, Number.POSITIVE_INFINITY], new Array<number>(2).fill(-1 / 0)];
    for (const logits of broken) {
      for (const count of [0, 2]) {
        expect(() => logProbabilities(new Float32Array(logits), 0, count)).toThrow(
          expect.objectContaining({ code: "engine_failed" }),
        );
      }
    }
  });
});
