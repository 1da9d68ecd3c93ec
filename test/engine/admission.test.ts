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
  const limits = {
    maxRunning: 3,
    maxWaiting: 9,
    cacheBytes: 1000,
    prefixBytes: 0,
    chunkTokens: 4,
    schedule: "sequential",
  } as const;

  it("lets a request run alone, however large", () => {
    expect(canStart({ running: 0, claimedBytes: 0 }, 9000, limits)).toBe(true);
  });

  it("counts what the sequence needs now beside what the others hold", () => {
    expect(canStart({ running: 1, claimedBytes: 400 }, 600, limits)).toBe(true);
    expect(canStart({ running: 1, claimedBytes: 400 }, 601, limits)).toBe(false);
  });

  it("keeps to the number of running sequences", () => {
    expect(canStart({ running: 2, claimedBytes: 0 }, 1, limits)).toBe(true);
    expect(canStart({ running: 3, claimedBytes: 0 }, 1, limits)).toBe(false);
  });
});
