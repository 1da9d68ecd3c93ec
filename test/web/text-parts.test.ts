import { describe, expect, it } from "vitest";
import { firstDifference } from "../../src/web/parts/first-difference.js";
import { milliseconds, percent, short } from "../../src/web/parts/format.js";
import { newSentences } from "../../src/web/parts/sentences.js";

describe("where two texts first differ", () => {
  it("finds the first character, and tells equal texts and beginnings apart", () => {
    expect(firstDifference("The work", "The tips")).toEqual({ at: 4, kind: "differ" });
    expect(firstDifference("same", "same")).toEqual({ at: 4, kind: "same" });
    expect(firstDifference("The", "The tips")).toEqual({ at: 3, kind: "prefix" });
    expect(firstDifference("", "")).toEqual({ at: 0, kind: "same" });
    expect(firstDifference("a", "b")).toEqual({ at: 0, kind: "differ" });
  });

  it("never points into a character", () => {
    // 😀 and 😁 share the first half of their surrogate pairs.
    expect(firstDifference("a😀", "a😁")).toEqual({ at: 1, kind: "differ" });
  });
});

describe("sentences for a screen reader", () => {
  /** Tells a text that grows to each of `stages`. */
  function tell(...stages: string[]): string[] {
    const heard: string[] = [];
    let told = 0;
    for (const [at, stage] of stages.entries()) {
      const next = newSentences(stage, told, at === stages.length - 1);
      heard.push(...next.sentences);
      told = next.told;
    }
    return heard;
  }

  it("tells each sentence once, when it is complete, and the rest at the end", () => {
    expect(
      tell("Drink wa", "Drink water. Sle", "Drink water. Sleep well! An", "Drink water. Sleep well! And walk"),
    ).toEqual(["Drink water.", "Sleep well!", "And walk"]);
  });

  it("takes a line for a sentence and a list's number for none", () => {
    expect(tell("1. Eat\n2. Sleep\n", "1. Eat\n2. Sleep\n")).toEqual(["1. Eat", "2. Sleep"]);
  });

  it("says nothing of an empty end", () => {
    expect(tell("Done. ", "Done. ")).toEqual(["Done."]);
  });
});

describe("numbers", () => {
  it("are short and keep their meaning", () => {
    expect([0, 0.0123, 1, 12.34, 123.4, 12345.6].map(short)).toEqual(["0", "0.012", "1", "12.3", "123.4", "12350"]);
    expect(percent(0.666)).toBe("67 %");
    expect([12.4, 1234].map(milliseconds)).toEqual(["12 ms", "1.2 s"]);
  });
});
