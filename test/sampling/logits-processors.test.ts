import { describe, expect, test } from "vitest";
import { applyPenalties, hasPenalties } from "../../src/sampling/logits-processors.js";
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
