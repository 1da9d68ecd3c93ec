import { describe, expect, it } from "vitest";
import { forkOf, runAt, verdict } from "../../src/web/steering/fork.js";

const done = (text: string) => ({ text, phase: "done" as const });
const streaming = (text: string) => ({ text, phase: "streaming" as const });

describe("where the base and the steered answer part", () => {
  it("is where they differ, complete or not", () => {
    expect(forkOf(done("The work"), streaming("The tips"))).toEqual({ at: 4, isNone: false });
    expect(forkOf(done("a"), done("b"))).toEqual({ at: 0, isNone: false });
  });

  it("is not where one has only not come as far as the other", () => {
    expect(forkOf(streaming("The"), done("The tips"))).toEqual({ at: null, isNone: false });
    expect(forkOf(done("The"), done("The tips"))).toEqual({ at: 3, isNone: false });
  });

  it("is nowhere once both are complete and the same", () => {
    expect(forkOf(done("The tips"), done("The tips"))).toEqual({ at: null, isNone: true });
    expect(forkOf(done("The tips"), streaming("The tips"))).toEqual({ at: null, isNone: false });
    expect(forkOf(null, done("The tips"))).toEqual({ at: null, isNone: false });
  });
});

describe("the verdict", () => {
  it("says where they part, or why not", () => {
    expect(verdict({ at: 0, isNone: false }, true)).toContain("from the first character");
    expect(verdict({ at: 12, isNone: false }, true)).toContain("agree for 12 characters");
    expect(verdict({ at: null, isNone: true }, false)).toContain("bit for bit");
    expect(verdict({ at: null, isNone: true }, true)).toContain("too small");
    expect(verdict({ at: null, isNone: false }, true)).toBe("");
  });
});

describe("the token at a character of the text", () => {
  const runs = [" The", " work", "ing"].map((text) => ({ text, tokens: [] }));

  it("is found though the text has lost its leading space", () => {
    expect(runAt(runs, "The working", 0)).toEqual({ index: 0, startsAt: 0 });
    expect(runAt(runs, "The working", 4)).toEqual({ index: 1, startsAt: 3 });
    expect(runAt(runs, "The working", 8)).toEqual({ index: 2, startsAt: 8 });
  });

  it("is none behind the last one", () => {
    expect(runAt(runs, "The working", 11)).toBeNull();
    expect(runAt([], "", 0)).toBeNull();
  });
});
