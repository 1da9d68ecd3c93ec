import { describe, expect, it } from "vitest";
import { areaUnderCurve, layerDirection, lengthOf } from "../../../src/vectors/making/directions.js";
import { checkLayers, makeDirections, usualLayers } from "../../../src/vectors/making/make-directions.js";
import {
  earlyVerdict,
  halving,
  holdsTogether,
  recommendedRange,
  repeatedShare,
} from "../../../src/vectors/making/sweep.js";
import { checkSides, type VectorSides } from "../../../src/vectors/making/vector-recipe.js";
import { randomNormals } from "../../convert/tiny-folder.js";

const width = 16;

/** Two sides that differ by `gap` along the first channel, in noise that both of a pair share. */
function sides(gap: number, count = 12, ownNoise = 0.1) {
  const next = randomNormals(3);
  const row = (shift: number, shared: Float32Array) =>
    shared.map((value, index) => value + ownNoise * next() + (index === 0 ? shift : 0));
  const shared = Array.from({ length: count }, () => Float32Array.from({ length: width }, next));
  return { positive: shared.map((one) => row(gap / 2, one)), negative: shared.map((one) => row(-gap / 2, one)) };
}

const cosine = (a: Float32Array, axis: number) => (a[axis] ?? 0) / lengthOf(a);

describe("a layer's direction", () => {
  it.each([
    ["mean", true],
    ["pca", true],
    ["mean", false],
    ["pca", false],
  ] as const)("points from the negative side to the positive one: %s, paired %s", (method, paired) => {
    const made = layerDirection({ ...sides(6), paired }, method);
    if (made === null) throw new Error("the sides differ");
    expect(cosine(made.direction, 0)).toBeGreaterThan(0.95);
    expect(lengthOf(made.direction)).toBeCloseTo(6, 0);
    expect(made.separation).toBe(1);
    const swapped = layerDirection({ positive: sides(6).negative, negative: sides(6).positive, paired }, method);
    expect(cosine(swapped?.direction ?? new Float32Array(width), 0)).toBeLessThan(-0.95);
  });

  it("is told apart from chance on examples that had no part in it", () => {
    const next = randomNormals(8);
    const noise = () => Array.from({ length: 40 }, () => Float32Array.from({ length: width }, next));
    const made = layerDirection({ positive: noise(), negative: noise(), paired: false }, "mean");
    // On the examples themselves it would be 0.9 or so.
    expect(made?.separation).toBeGreaterThan(0.3);
    expect(made?.separation).toBeLessThan(0.7);
  });

  it("is none where both sides are the same", () => {
    const same = sides(4).positive;
    expect(layerDirection({ positive: same, negative: same, paired: true }, "pca")).toBeNull();
  });

  it("counts ties half", () => {
    expect(areaUnderCurve([1, 2], [1, 0])).toBe(0.875);
  });
});

describe("the directions of all layers", () => {
  const prompts = (from: number) => [from, from + 1].map((id) => ({ ids: [id], lastTokens: 1 }));
  /** Layer l has l + 1 along channel l for the positive side, minus that for the other. */
  const engine = {
    layerOutputs: ([ids = []]: readonly (readonly number[])[]) => {
      const sign = (ids[0] ?? 0) < 10 ? 1 : -1;
      const rows = Float32Array.from({ length: 4 * width }, (_, at) => {
        const layer = Math.floor(at / width);
        return at % width === layer ? sign * (layer + 1) : at % width === 15 ? 30 : 0;
      });
      return Promise.resolve([rows]);
    },
  };
  const make = (signal: AbortSignal, progress: number[] = []) =>
    makeDirections(
      engine,
      { hiddenSize: width },
      { positive: prompts(0), negative: prompts(10), paired: true },
      { method: "mean", layers: [1, 3], signal, onProgress: (done) => progress.push(done) },
    );

  it("are together as long as the sides are apart behind the last layer", async () => {
    const progress: number[] = [];
    const { directions, layerNormShares, layerSeparations } = await make(new AbortController().signal, progress);
    expect([...directions.keys()]).toEqual([1, 2, 3]);
    const sum = new Float32Array(width);
    for (const direction of directions.values())
      for (const [at, value] of direction.entries()) sum[at] = (sum[at] ?? 0) + value;
    expect(lengthOf(sum)).toBeCloseTo(8, 4);
    expect(layerNormShares[2]).toBeGreaterThan(layerNormShares[0] ?? 1);
    expect(layerSeparations).toEqual([1, 1, 1]);
    expect(progress).toEqual([1, 2, 3, 4]);
  });

  it("are not made of what looks the same to the model, nor once nobody waits", async () => {
    const same = makeDirections(
      engine,
      { hiddenSize: width },
      { positive: prompts(0), negative: prompts(0), paired: true },
      { method: "mean", layers: [1, 3], signal: new AbortController().signal, onProgress: () => {} },
    );
    await expect(same).rejects.toMatchObject({ code: "invalid_vector" });
    await expect(make(AbortSignal.abort(new Error("gone")))).rejects.toThrow();
  });

  it("are those of the middle of the model", () => {
    expect(usualLayers(30)).toEqual([8, 21]);
    expect(usualLayers(2)).toEqual([1, 1]);
    expect(() => checkLayers([0, 3], 8)).toThrow("must lie within 1 and 7");
    expect(() => checkLayers([1, 8], 8)).toThrow("must lie within 1 and 7");
  });
});

describe("sides that no direction can come of are refused", () => {
  const text = (content: string) => [{ role: "user", content }] as const;
  it.each<[string, VectorSides, RegExp]>([
    ["no persona", { kind: "personas", positive: " ", negative: "a clerk" }, /'positive' is empty/],
    ["a novel", { kind: "personas", positive: "x".repeat(301), negative: "a clerk" }, /301 characters/],
    ["equal personas", { kind: "personas", positive: "A clerk", negative: "a clerk " }, /are the same/],
    ["one example only", { kind: "texts", positive: ["a"], negative: ["b", "c"] }, /one example only/],
    ["no examples", { kind: "texts", positive: ["a", "b"], negative: [] }, /'negative' has no examples/],
    ["too many", { kind: "texts", positive: Array(257).fill("a"), negative: ["b", "c"] }, /up to 256/],
    ["an empty text", { kind: "texts", positive: ["a", ""], negative: ["b", "c"] }, /'positive\[1\]' is empty/],
    ["a long text", { kind: "texts", positive: ["a", "b".repeat(8001)], negative: ["b", "c"] }, /8000 at most/],
    ["equal texts", { kind: "texts", positive: ["a", "b"], negative: ["a", "b"] }, /are the same/],
    ["one pair", { kind: "chats", pairs: [{ positive: text("a"), negative: text("b") }] }, /one example only/],
    [
      "an equal pair",
      {
        kind: "chats",
        pairs: [
          { positive: text("a"), negative: text("b") },
          { positive: text("c"), negative: text("c") },
        ],
      },
      /'pairs\[1\]' are equal/,
    ],
    [
      "a pair without messages",
      {
        kind: "chats",
        pairs: [
          { positive: [], negative: text("b") },
          { positive: text("c"), negative: text("d") },
        ],
      },
      /has no messages/,
    ],
  ])("%s", (_, given, message) => {
    expect(() => checkSides(given)).toThrow(message);
  });
});

describe("the recommended range", () => {
  const step = (strength: number, coherent: boolean) => ({ strength, coherent, perplexity: 1, repetition: 0 });
  it("ends before the first strength at which the text comes apart", () => {
    const steps = [step(-1, true), step(-0.5, false), step(0, true), step(0.5, true), step(1, true), step(2, false)];
    expect(recommendedRange(steps)).toEqual([0, 1]);
    expect(recommendedRange([step(-0.5, false), step(0, true), step(0.5, false)])).toBeNull();
  });

  it("is found by three questions a side, wherever it ends", () => {
    const distances = [0.25, 0.5, 0.75, 1, 1.25, 1.5, 2];
    for (const end of [0, ...distances]) {
      const search = halving(distances);
      const steps = [step(0, true)];
      for (let question = 0; question < 3; question++) {
        const strength = search.next();
        steps.push(step(strength, strength <= end));
        search.narrow(strength <= end);
      }
      expect(recommendedRange(steps)).toEqual(end === 0 ? null : [0, end]);
    }
  });

  /** A text of four tokens that the base finds so likely, on the mean. */
  const text = (logprob: number, answer = [1, 2, 3, 4]) => ({ answer, logprobs: answer.map(() => logprob) });
  it("counts as apart what is unlikely, and, of a small sample, what may be", () => {
    const base = [text(-1), text(-2), text(-3), text(-1)];
    const less = (by: readonly number[]) => base.map(({ logprobs }, at) => text((logprobs[0] ?? 0) - (by[at] ?? 0)));
    // Perplexities of 1.49 and 1.51 times the base's, prompt by prompt.
    expect(holdsTogether(less([0.4, 0.4, 0.4, 0.4]), base)).toBe(true);
    expect(holdsTogether(less([0.41, 0.41, 0.41, 0.41]), base)).toBe(false);
    // 1.28 times on the mean, but by one text only.
    expect(holdsTogether(less([1, 0, 0, 0]), base)).toBe(false);
    expect(holdsTogether(less([0.3, 0.2, 0.2, 0.3]), base)).toBe(true);
    // An empty text tells nothing, and neither does none at all.
    expect(holdsTogether([text(-1), text(0, []), text(-3), text(-1)], base)).toBe(true);
    expect(holdsTogether([text(0, [])], [text(0, [])])).toBe(true);
  });

  it("says early what is clear, and only that", () => {
    const base = [text(-1), text(-2), text(-3), text(-1), text(-2), text(-1)];
    const less = (by: readonly number[]) => base.map(({ logprobs }, at) => text((logprobs[0] ?? 0) - (by[at] ?? 0)));
    expect(earlyVerdict(less([0.1, 0.1, 0.2, 0, 0.1, 0.1]), base)).toBe(true);
    expect(earlyVerdict(less([0.9, 0.8, 0.7, 0.9, 1, 0.8]), base)).toBe(false);
    // Alike, but too near to the limit of ln 1.5 = 0.405 for six.
    expect(earlyVerdict(less([0.3, 0.3, 0.3, 0.3, 0.3, 0.3]), base)).toBe(null);
    expect(earlyVerdict(less([0.42, 0.42, 0.42, 0.42, 0.42, 0.42]), base)).toBe(null);
    expect(earlyVerdict(less([1.5, 0, 0.1, 0, 0.2, 0]), base)).toBe(null);
    // All in circles; one of six.
    const circling = text(-1, [1, 2, 1, 2, 1, 2, 1, 2, 1, 2]);
    const straight = base.map(() => text(-1));
    const circles = (count: number) => straight.map((other, at) => (at < count ? circling : other));
    expect(earlyVerdict(circles(6), straight)).toBe(false);
    expect(earlyVerdict(circles(2), straight)).toBe(null);
    expect(earlyVerdict(circles(1), straight)).toBe(true);
  });

  it("counts as apart what goes in circles, unless the base does", () => {
    const circling = text(-1, [1, 2, 1, 2, 1, 2, 1, 2, 1, 2]);
    expect(holdsTogether([circling], [text(-1)])).toBe(false);
    expect(holdsTogether([circling], [circling])).toBe(true);
  });

  it("knows a text that goes in circles", () => {
    expect(repeatedShare([1, 2, 3, 4, 5, 6])).toBe(0);
    expect(repeatedShare([1, 2, 1, 2, 1, 2, 1, 2, 1, 2])).toBeGreaterThan(0.6);
    expect(repeatedShare([1])).toBe(0);
  });
});
