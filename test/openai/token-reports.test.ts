import { describe, expect, it } from "vitest";
import type { TokenReport } from "../../src/engine/token-report.js";
import { LegacyLogprobs } from "../../src/openai/legacy-logprobs.js";
import { chatLogprobs } from "../../src/openai/token-reports.js";

const nothing = new Uint8Array();
const report: TokenReport = {
  id: 5,
  bytes: new TextEncoder().encode("Hi"),
  logprob: -0.5,
  top: [
    { id: 2, bytes: nothing, special: "</s>", logprob: -1 },
    { id: 1, bytes: nothing, special: "<s>", logprob: -2 },
  ],
  steering: null,
  vectors: [],
  draft: "none",
};
const beginning: TokenReport = { ...report, id: 1, bytes: nothing, special: "<s>", logprob: null, top: [] };

describe("special tokens among log probabilities", () => {
  it("are called by their names and have no bytes", () => {
    expect(chatLogprobs([report]).content[0]?.top_logprobs).toEqual([
      { token: "</s>", logprob: -1, bytes: [] },
      { token: "<s>", logprob: -2, bytes: [] },
    ]);
  });

  it("do not hide each other in the legacy shape, whose tokens joined are still the text", () => {
    const shape = new LegacyLogprobs().of([beginning, report]);
    expect(shape.tokens.join("")).toBe("Hi");
    expect(shape.top_logprobs).toEqual([null, { "</s>": -1, "<s>": -2, Hi: -0.5 }]);
  });
});
