import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ToastError } from "../../../src/errors.js";
import { isTextOf } from "../../../src/grammar/automaton/is-text-of.js";
import { textsMatching, textsWithMatch } from "../../../src/grammar/regex/parse-regex.js";

const texts = fc.sample(fc.string({ unit: fc.constantFrom(..."ab.^1-é😀\n \u2028".split(/(?:)/u)), maxLength: 6 }), {
  numRuns: 60,
  seed: 1,
});

describe("a regular expression", () => {
  it.each([
    "a",
    "^a",
    "b$",
    "^a|b$",
    "^$|^a+$",
    "(?:^a|b)c?$",
    "a.b",
    "[^a-z]{2}",
    "\\s\\S",
    "^\\w+$",
    "\\D",
    "^(?=.*b)[ab]+$",
    "^(?!ab)a",
    "(?:a(?=b)|\\.)",
    "^\\u{1F600}?.$",
    "^[\\u00e9-\\u00ff]",
    "^(?<first>a|b){2,3}$",
    "\\p{Script=Greek}",
    "^(?:)*$",
    "a*?b+?",
  ])("has the same matches as JavaScript's own: %s", (pattern) => {
    const [somewhere, whole] = [textsWithMatch(pattern), textsMatching(pattern)];
    const [judge, wholeJudge] = [new RegExp(pattern, "u"), new RegExp(`^(?:${pattern})$`, "u")];
    for (const text of texts) {
      expect(isTextOf(somewhere, text), JSON.stringify(text)).toBe(judge.test(text));
      expect(isTextOf(whole, text), JSON.stringify(text)).toBe(wholeJudge.test(text));
    }
  });

  it.each([
    ["needless backslashes", "^\\-\\@\\_\\ $", "-@_ ", "-@_"],
    ["a brace that opens nothing", "^a{b$", "a{b", "ab"],
    ["Python's anchors and names", "\\A(?P<x>a)\\Z", "a", "ab"],
  ])("is taken as it is meant with %s", (_, pattern, good, bad) => {
    const expression = textsWithMatch(pattern);
    expect([isTextOf(expression, good), isTextOf(expression, bad)]).toEqual([true, false]);
  });

  it.each([
    ["(?<=a)b", "lookbehind"],
    ["\\bword\\b", "word boundaries"],
    ["(a)\\1", "back references ('\\1')"],
    ["(?i:a)", "inline flags"],
    ["(?:^a)+", "within what repeats"],
    ["a{2,1}", "numbers out of order"],
    ["(a", "unterminated group (at"],
    ["[b-a]", "range out of order"],
    ["\\K", "'\\K' is not supported"],
    ["(".repeat(500), "more than 200 deep"],
    ["a{1000000}", "more than 100000 times"],
  ])("is refused by name where it is not regular: %s", (pattern, words) => {
    expect(() => textsWithMatch(pattern)).toThrow(ToastError);
    expect(() => textsWithMatch(pattern)).toThrow(words);
  });
});
