import { describe, expect, it } from "vitest";
import { admitBytes, admitLength, canStart, checkTokens } from "../../../src/engine/loop/admission.js";
import { type ErrorData, ToastError } from "../../../src/errors.js";

/** What was thrown, as data; null for nothing. */
function errorOf(action: () => void): ErrorData | null {
  try {
    action();
    return null;
  } catch (error) {
    return ToastError.from(error).toData();
  }
}

describe("admitLength", () => {
  const problemOf = (promptTokens: number, maxTokens: number | null) =>
    errorOf(() => admitLength(promptTokens, maxTokens, 32));

  it("fills the context when no number is asked for", () => {
    expect(admitLength(10, null, 32)).toBe(22);
  });

  it("takes exactly what fits, and refuses one more, naming the numbers", () => {
    expect(admitLength(10, 22, 32)).toBe(22);
    expect(problemOf(10, 23)).toEqual({
      code: "context_length_exceeded",
      message: expect.stringContaining("22 tokens at most"),
      field: "prompt",
      param: null,
    });
  });

  it("lets a prompt fill the context when no tokens are asked for", () => {
    expect(admitLength(32, 0, 32)).toBe(0);
    expect(problemOf(33, 0)).toMatchObject({ code: "context_length_exceeded" });
  });

  it("refuses a prompt that leaves no room, and an empty one", () => {
    expect(problemOf(32, null)).toMatchObject({ code: "context_length_exceeded" });
    expect(problemOf(0, 5)).toMatchObject({ code: "invalid_request" });
  });
});

describe("admitBytes", () => {
  const model = { contextLength: 32, longestToken: 3 };

  it("takes what a context of longest tokens holds, and refuses a byte more with OpenAI's opening", () => {
    expect(errorOf(() => admitBytes(96, model, "all"))).toBeNull();
    expect(errorOf(() => admitBytes(97, model, "all"))).toEqual({
      code: "context_length_exceeded",
      message: expect.stringMatching(
        /^This model's maximum context length is 32 tokens\. However, your prompt has 97 bytes.*more than 96 bytes/,
      ),
      field: "prompt",
      param: null,
    });
  });
});

describe("admitBytes of a prompt that is to be cut", () => {
  it("takes more than fits, with a limit of its own", () => {
    const model = { contextLength: 32, longestToken: 3 };
    expect(errorOf(() => admitBytes(100_000, model, "end"))).toBeNull();
    expect(errorOf(() => admitBytes(100_001, model, "end"))?.message).toContain("Send its end alone");
    expect(errorOf(() => admitBytes(100_001, { ...model, longestToken: 10_000 }, "end"))).toBeNull();
  });
});

describe("checkTokens", () => {
  const options = { minTokens: 0, stopTokenIds: [], report: { logprobs: null, promptLogprobs: null } };
  const problemOf = ({ logitBias = [], ...others }: { readonly logitBias?: readonly [number, number][] }) =>
    errorOf(() => checkTokens({ ...options, ...others, sampling: { logitBias } }, 10, 64));

  it("takes what the model can do, to the limits", () => {
    expect(problemOf({})).toBeNull();
    expect(
      problemOf({
        ...{ minTokens: 10, stopTokenIds: [0, 63], report: { logprobs: 20, promptLogprobs: 0 } },
        logitBias: [
          [0, -100],
          [63, 100],
        ],
      }),
    ).toBeNull();
  });

  it.each([
    [{ logitBias: [[64, 1]] }, "sampling.logitBias", "0…63"],
    [{ logitBias: [[-1, 1]] }, "sampling.logitBias", "0…63"],
    [{ logitBias: [[1.5, 1]] }, "sampling.logitBias", "0…63"],
    [{ logitBias: [[1, 101]] }, "sampling.logitBias", "between -100 and 100"],
    [{ logitBias: [[1, Number.NaN]] }, "sampling.logitBias", "between -100 and 100"],
    [{ stopTokenIds: [3, 64] }, "stopTokenIds", "0…63"],
    [{ minTokens: 11 }, "minTokens", "10 at most"],
    [{ minTokens: -1 }, "minTokens", "from 0 to 10"],
    [{ report: { logprobs: 21, promptLogprobs: null } }, "report.logprobs", "0 to 20"],
    [{ report: { logprobs: null, promptLogprobs: -1 } }, "report.promptLogprobs", "0 to 20"],
  ])("refuses %j, naming the field and its limits", (overrides, field, words) => {
    const message = expect.stringContaining(words);
    expect(problemOf(overrides as object)).toEqual({ code: "invalid_request", message, field, param: null });
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
    guesses: 0,
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
