import { describe, expect, test } from "vitest";
import { applyPenalties, drawRules, hasPenalties } from "../../src/sampling/logits-processors.js";
import { Sampler } from "../../src/sampling/sampler.js";
import type { SamplingParams } from "../../src/sampling/sampling-params.js";
import { TokenHistory } from "../../src/sampling/token-history.js";

const none = { presencePenalty: 0, frequencyPenalty: 0, repetitionPenalty: 1 };

/** Prompt 0, 1, 1; output 1, 2, 2, 2. */
function history(): TokenHistory {
  const tokens = new TokenHistory([0, 1, 1]);
  for (const id of [1, 2, 2, 2]) tokens.append(id);
  return tokens;
}

function penalized(logits: number[], penalties: Partial<typeof none>): number[] {
  const values = Float32Array.from(logits);
  applyPenalties(values, { ...none, ...penalties }, history());
  return [...values];
}

describe("penalties", () => {
  test("presence is subtracted once from tokens of the output", () => {
    expect(penalized([1, 1, 1, 1], { presencePenalty: 0.5 })).toEqual([1, 0.5, 0.5, 1]);
  });

  test("frequency is subtracted per occurrence in the output", () => {
    expect(penalized([1, 1, 1, 1], { frequencyPenalty: 0.25 })).toEqual([1, 0.75, 0.25, 1]);
  });

  test("repetition divides positive and multiplies negative logits of prompt and output, once", () => {
    expect(penalized([2, -2, 0, 2], { repetitionPenalty: 2 })).toEqual([1, -4, 0, 2]);
    expect(penalized([2, -2, 4, -2], { repetitionPenalty: 0.5 })).toEqual([4, -1, 8, -2]);
  });

  test("repetition comes first", () => {
    // Token 2: 4 / 2 − (3 · 0.5 + 1).
    expect(penalized([4, 4, 4, 4], { repetitionPenalty: 2, frequencyPenalty: 0.5, presencePenalty: 1 })).toEqual([
      2, 0.5, -0.5, 4,
    ]);
  });

  test("negative penalties reward", () => {
    expect(penalized([0, 0, 0, 0], { presencePenalty: -1, frequencyPenalty: -1 })).toEqual([0, 2, 4, 0]);
  });

  test("a masked token stays masked, and extremes stay finite", () => {
    expect(penalized([Number.NEGATIVE_INFINITY, 30, -30, 1], { repetitionPenalty: 1e-39 })).toEqual([
      Number.NEGATIVE_INFINITY,
      3.4028234663852886e38,
      expect.closeTo(0),
      1,
    ]);
    expect(penalized([1, -30, 1, 1], { repetitionPenalty: 1e39 })[1]).toBe(-3.4028234663852886e38);
  });

  test("ids beyond the logits are ignored", () => {
    const logits = new Float32Array([1]);
    applyPenalties(logits, { ...none, presencePenalty: 1, repetitionPenalty: 2 }, history());
    expect([...logits]).toEqual([0.5]);
  });

  test("are known to be off", () => {
    expect(hasPenalties(none)).toBe(false);
    for (const key of Object.keys(none)) expect(hasPenalties({ ...none, [key]: 1.5 })).toBe(true);
  });
});

describe("token history", () => {
  test("counts the output apart from the prompt", () => {
    const tokens = history();
    expect([...tokens.promptIds]).toEqual([0, 1]);
    expect([...tokens.outputCounts]).toEqual([
      [1, 1],
      [2, 3],
    ]);
  });
});

describe("draw rules", () => {
  const sampling: SamplingParams = {
    temperature: 1,
    topP: 1,
    topK: null,
    minP: 0,
    ...none,
    logitBias: [],
    seed: 0,
  };
  const masked = Number.NEGATIVE_INFINITY;

  test("hand the logits back when there is nothing to change", () => {
    const rules = drawRules({ sampling, promptIds: [0], minTokens: 0, endIds: [1] });
    const logits = new Float32Array([1, 2]);
    expect(rules.apply(logits, new Float32Array(2))).toBe(logits);
  });

  test("mask what would end the text until there are enough tokens", () => {
    const rules = drawRules({ sampling, promptIds: [], minTokens: 2, endIds: [1, 3, 9] });
    const drawable = () => [...rules.apply(new Float32Array([1, 2, 3, 4]), new Float32Array(4))];
    expect(drawable()).toEqual([1, masked, 3, masked]);
    rules.append(0);
    expect(drawable()).toEqual([1, masked, 3, masked]);
    rules.append(0);
    expect(drawable()).toEqual([1, 2, 3, 4]);
  });

  test("mask first, then add the bias, then penalize what the bias made", () => {
    const rules = drawRules({
      sampling: {
        ...sampling,
        logitBias: [
          [0, 3],
          [1, -2],
          [2, 100],
          [7, 1],
        ],
        repetitionPenalty: 2,
        presencePenalty: 1,
      },
      promptIds: [1],
      minTokens: 5,
      endIds: [2],
    });
    rules.append(0);
    const logits = new Float32Array([1, 1, 1, 1]);
    // Token 0: (1 + 3) / 2 − 1; token 1: (1 − 2) · 2.
    expect([...rules.apply(logits, new Float32Array(4))]).toEqual([1, -2, masked, 1]);
    expect([...logits]).toEqual([1, 1, 1, 1]);
  });

  test("draw a token biased by 100 always, and one biased by −100 never", () => {
    const sampler = new Sampler(50);
    const params: SamplingParams = {
      ...sampling,
      temperature: 1,
      logitBias: [
        [7, 100],
        [3, -100],
      ],
    };
    const forced = drawRules({ sampling: params, promptIds: [], minTokens: 0, endIds: [] });
    const banned = drawRules({
      sampling: { ...params, logitBias: [[3, -100]] },
      promptIds: [],
      minTokens: 0,
      endIds: [],
    });
    const logits = Float32Array.from({ length: 50 }, (_, id) => (id === 3 ? 12 : (id * 7) % 5));
    for (let position = 0; position < 200; position += 1) {
      expect(sampler.sample(logits, params, position, forced)).toBe(7);
      expect(sampler.sample(logits, params, position, banned)).not.toBe(3);
    }
  });
});
