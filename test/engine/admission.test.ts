import { describe, expect, it } from "vitest";
import { canStart, checkLength } from "../../src/engine/admission.js";

describe("checkLength", () => {
  it("fills the context when no number is asked for", () => {
    expect(checkLength(10, null, 32)).toEqual({ kind: "fits", maxTokens: 22 });
  });

  it("takes exactly what fits, and refuses one more, naming the numbers", () => {
    expect(checkLength(10, 22, 32)).toEqual({ kind: "fits", maxTokens: 22 });
    expect(checkLength(10, 23, 32)).toMatchObject({
      kind: "refused",
      error: { code: "context_length_exceeded", message: expect.stringContaining("22 tokens at most") },
    });
  });

  it("refuses a prompt that leaves no room, and an empty one", () => {
    expect(checkLength(32, null, 32)).toMatchObject({ error: { code: "context_length_exceeded" } });
    expect(checkLength(0, 5, 32)).toMatchObject({ error: { code: "invalid_request" } });
  });
});

describe("canStart", () => {
  const limits = { maxRunning: 3, maxWaiting: 9, cacheBytes: 1000, chunkTokens: 4, schedule: "sequential" } as const;
  const laneBytes = (tokens: number): number => tokens;

  it("lets a request run alone, however large", () => {
    expect(canStart([], { lanes: 2, tokens: 9000 }, limits, laneBytes)).toBe(true);
  });

  it("counts two lanes for a steered sequence and the longest reservation for every lane", () => {
    expect(canStart([{ lanes: 1, tokens: 100 }], { lanes: 2, tokens: 333 }, limits, laneBytes)).toBe(true);
    expect(canStart([{ lanes: 1, tokens: 100 }], { lanes: 2, tokens: 334 }, limits, laneBytes)).toBe(false);
  });

  it("keeps to the number of running sequences", () => {
    const one = { lanes: 1, tokens: 1 } as const;
    expect(canStart([one, one], one, limits, laneBytes)).toBe(true);
    expect(canStart([one, one, one], one, limits, laneBytes)).toBe(false);
  });
});
