import { describe, expect, test } from "vitest";
import { StopMatcher } from "../../src/text/stop-matcher.js";
import { TestRandom } from "./test-random.js";

/** By the definition: the text grows character by character until a stop string ends it. */
function reference(text: string, stops: readonly string[]): { text: string; stopped: string | null } {
  for (let end = 1; end <= text.length; end += 1) {
    const matches = stops.filter((stop) => text.slice(0, end).indexOf(stop) !== -1);
    const longest = matches.sort((a, b) => b.length - a.length)[0];
    if (longest !== undefined) return { text: text.slice(0, text.indexOf(longest)), stopped: longest };
  }
  return { text, stopped: null };
}

function run(chunks: readonly string[], stops: readonly string[]): { text: string; stopped: string | null } {
  const matcher = new StopMatcher(stops);
  let text = "";
  for (const chunk of chunks) {
    const { emit, stopped } = matcher.push(chunk);
    text += emit;
    if (stopped !== null) return { text, stopped };
  }
  return { text: text + matcher.flush(), stopped: null };
}

describe("stop matcher", () => {
  test("equals a search of the whole text, however the text is cut", () => {
    const random = new TestRandom(11);
    const letters = ["a", "b", "a", "b", "c", "\n", "é", "😀"];
    const word = (length: number) => Array.from({ length }, () => letters[random.below(letters.length)] ?? "").join("");
    let stoppedTexts = 0;
    for (let round = 0; round < 4000; round += 1) {
      const stops = Array.from({ length: random.below(5) }, () => word(1 + random.below(6)));
      const text = word(random.below(40));
      const chunks: string[] = [];
      for (let rest = text; rest !== ""; ) {
        const size = random.below(7);
        chunks.push(rest.slice(0, size));
        rest = rest.slice(size);
      }
      const expected = reference(text, stops);
      expect(run(chunks, stops)).toEqual(expected);
      if (expected.stopped !== null) stoppedTexts += 1;
    }
    expect(stoppedTexts).toBeGreaterThan(1000);
  });

  test("finds a stop string that is spread over chunks, and emits nothing of it", () => {
    const matcher = new StopMatcher(["###"]);
    expect(matcher.push("text #")).toEqual({ emit: "text ", stopped: null });
    expect(matcher.push("#")).toEqual({ emit: "", stopped: null });
    expect(matcher.push("# more")).toEqual({ emit: "", stopped: "###" });
    expect(matcher.push("more")).toEqual({ emit: "", stopped: "###" });
    expect(matcher.flush()).toBe("");
  });

  test("holds back the ambiguous end alone, and lets go of it as soon as it is clear", () => {
    const matcher = new StopMatcher(["abab!"]);
    expect(matcher.push("xxabab").emit).toBe("xx");
    // "ababab": the first two letters cannot begin a match any more, the last four still can.
    expect(matcher.push("ab").emit).toBe("ab");
    expect(matcher.push("c").emit).toBe("ababc");
    expect(matcher.push("ab").emit).toBe("");
    expect(matcher.flush()).toBe("ab");
  });

  test("ends at the stop string that is complete first; of two that end together at the longer one", () => {
    expect(run(["xabcd"], ["abcd", "bc"])).toEqual({ text: "xa", stopped: "bc" });
    expect(run(["xabc"], ["c", "abc", "bc"])).toEqual({ text: "x", stopped: "abc" });
  });

  test("passes over what ends too early, and finds what begins there and ends later", () => {
    const random = new TestRandom(12);
    const word = (length: number) => Array.from({ length }, () => "ab"[random.below(2)] ?? "").join("");
    for (let round = 0; round < 3000; round += 1) {
      const stops = Array.from({ length: 1 + random.below(3) }, () => word(1 + random.below(4)));
      const [early, late] = [word(random.below(8)), word(random.below(8))];
      const text = early + late;
      // By the definition: the first end behind `early` that completes a stop string, the longest of those.
      let expected: { text: string; stopped: string | null } = { text, stopped: null };
      for (let end = early.length + 1; end <= text.length && expected.stopped === null; end += 1) {
        const matches = stops.filter((stop) => text.slice(0, end).endsWith(stop));
        const [longest] = matches.sort((a, b) => b.length - a.length);
        if (longest !== undefined) expected = { text: text.slice(0, end - longest.length), stopped: longest };
      }
      const matcher = new StopMatcher(stops);
      const passed = matcher.pass(early);
      expect(passed.stopped).toBeNull();
      const { emit, stopped } = matcher.push(late);
      expect({ text: passed.emit + emit + matcher.flush(), stopped }).toEqual(expected);
    }
  });

  test("passes text through when there is nothing to look for", () => {
    expect(new StopMatcher([]).push("ab")).toEqual({ emit: "ab", stopped: null });
    expect(new StopMatcher(["x"]).push("")).toEqual({ emit: "", stopped: null });
  });

  test("refuses an empty stop string", () => {
    expect(() => new StopMatcher(["a", ""])).toThrow(
      expect.objectContaining({ code: "invalid_request", field: "stopStrings" }),
    );
  });

  test("takes time in proportion to the text, whatever repeats in it", () => {
    const matcher = new StopMatcher([`${"a".repeat(5000)}b`]);
    const started = performance.now();
    for (let i = 0; i < 20_000; i += 1) matcher.push("a");
    // A search of the held-back text at every push would take 100 million steps.
    expect(performance.now() - started).toBeLessThan(1000);
    expect(matcher.push("b").stopped).toHaveLength(5001);
  });
});
