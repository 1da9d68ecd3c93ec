import { describe, expect, it } from "vitest";
import {
  countDrafts,
  largestGains,
  largestProjections,
  meanGains,
  noGains,
  overallGain,
  partsOf,
  scaleTo,
  shadedValue,
} from "../../src/web/steering/shading.js";
import { tokenRuns } from "../../src/web/steering/token-runs.js";
import type { ExplainedToken } from "../../src/web/wire/answer.js";

const encoder = new TextEncoder();

function token(bytes: readonly number[], more: Partial<ExplainedToken> = {}): ExplainedToken {
  return { id: 1, text: "", bytes, relevance: 0, gains: [], vectors: [], draft: "none", ...more };
}

const spelled = (text: string) => [...encoder.encode(text)];

describe("shades", () => {
  it("are linear from nothing to the scale's end", () => {
    const scale = scaleTo(0.4);
    expect([0, 0.1, 0.2, 0.4].map((value) => scale.shade(value))).toEqual([0, 0.25, 0.5, 1]);
    expect(scale.shade(null)).toBe(0);
    expect(scale.shade(9)).toBe(1);
  });

  it("stay empty when there is nothing to shade", () => {
    expect(scaleTo(0).shade(0)).toBe(0);
  });
});

describe("shades on both sides of 0", () => {
  it("along a vector are drawn up to what its largest strength will make of them, outliers apart", () => {
    const along = (before: number, after: number) =>
      token([97], { vectors: [{ name: "happy", before: [before, 0], after: [after, 0] }] });
    const tokens = [along(0, 4000), ...Array.from({ length: 40 }, () => along(-2, 1))];
    // 2 before, and 3 that is added at half of the largest strength.
    const sizes = largestProjections(tokens, "happy", 2, noGains);
    expect(sizes).toEqual({ layer: 8, token: 4 });
    expect(largestProjections([along(0, 1)], "happy", 1, sizes)).toEqual(sizes);
    expect(largestProjections(tokens, "nobody", 2, noGains)).toEqual(noGains);
    expect(scaleTo(sizes.token).shade(-2)).toBe(0.5);
    expect(scaleTo(sizes.token).shade(4000)).toBe(1);
  });

  it("are of the side and the vector that were chosen, as a mean of its layers", () => {
    const vectors = [
      { name: "happy", before: [-3, -1], after: [0, 1] },
      { name: "formal", before: [7], after: [9] },
    ];
    const run = { text: "a", tokens: [token([97], { vectors }), token([97], { vectors: [] })] };
    expect(shadedValue(run, "before:happy")).toBe(-2);
    expect(shadedValue(run, "after:happy")).toBe(0.5);
    expect(shadedValue(run, "after:formal")).toBe(9);
    expect(shadedValue(run, "after:nobody")).toBeNull();
    expect(partsOf("before:v1.before")).toEqual({ side: "before", name: "v1.before" });
  });
});

describe("gains", () => {
  it("are averaged layer by layer over the tokens that have some", () => {
    expect(meanGains([{ gains: [1, 2] }, { gains: [] }, { gains: [3, 6] }])).toEqual([2, 4]);
    expect(meanGains([{ gains: [] }])).toEqual([]);
    expect(meanGains([])).toEqual([]);
  });

  it("of all layers are their root mean square", () => {
    expect(overallGain([3, 4])).toBeCloseTo(Math.sqrt(12.5), 12);
    expect(overallGain([])).toBeNull();
  });
});

describe("the largest gains", () => {
  it("are those of strength 1, whatever the strength, and never less than those known", () => {
    const weak = largestGains([{ gains: [1, 1] }, { gains: [] }], 0.5, noGains);
    expect(weak).toEqual({ layer: 2, token: 2 });
    expect(largestGains([{ gains: [2, 2] }], 1, noGains)).toEqual(weak);
    expect(largestGains([{ gains: [6, 0] }], 2, weak)).toEqual({ layer: 3, token: Math.sqrt(18) / 2 });
    expect(largestGains([{ gains: [9] }], 0, weak)).toBe(weak);
  });
});

describe("drafts", () => {
  it("are counted among those that were proposed", () => {
    const tokens = (["accepted", "refused", "none", "accepted"] as const).map((draft) => ({ draft }));
    expect(countDrafts(tokens)).toEqual({ accepted: 2, proposed: 3 });
  });
});

describe("tokens as text", () => {
  it("stand alone when they are whole characters", () => {
    const runs = tokenRuns([token(spelled(" he")), token(spelled("llo")), token(spelled(" é"))]);
    expect(runs.map(({ text }) => text)).toEqual([" he", "llo", " é"]);
  });

  it("are joined where a character spans them, and none is lost", () => {
    const [a = 0, b = 0, c = 0, d = 0] = spelled("😀");
    const runs = tokenRuns([token(spelled("x")), token([a, b]), token([c]), token([d]), token(spelled("y"))]);
    expect(runs.map(({ text, tokens }) => [text, tokens.length])).toEqual([
      ["x", 1],
      ["😀", 3],
      ["y", 1],
    ]);
  });

  it("show a character that never came to its end as one replacement", () => {
    const [a = 0, b = 0] = spelled("€");
    expect(tokenRuns([token([a, b])]).map(({ text }) => text)).toEqual(["�"]);
  });

  it("keep tokens without bytes as their own", () => {
    const runs = tokenRuns([token(spelled("a")), token([], { id: 2 })]);
    expect(runs.map(({ text }) => text)).toEqual(["a", ""]);
  });
});
