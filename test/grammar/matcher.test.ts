import { beforeAll, describe, expect, it } from "vitest";
import type { Matcher } from "../../src/grammar/matcher.js";
import { packVocabulary } from "../../src/grammar/vocabulary.js";
import { DrawRules } from "../../src/sampling/draw-rules.js";
import { byteVocabulary, eosId, randomText, TestGrammars, tinyVocabulary } from "./grammar-text.js";

let grammars: TestGrammars;
let bytes: TestGrammars;
beforeAll(async () => {
  grammars = new TestGrammars(await tinyVocabulary());
  bytes = new TestGrammars(byteVocabulary());
});

const utf8 = (text: string) => [...new TextEncoder().encode(text)];
const startsWith = (whole: readonly number[], start: readonly number[]) =>
  start.every((byte, at) => whole[at] === byte);

describe("a matcher", () => {
  it("allows exactly the tokens that lead to a text of the grammar, counted out over the whole vocabulary", () => {
    const options = ["the", "then", "there is", "théâtre", "thé 😀", "other", "\n\tx"];
    const texts = options.map(utf8);
    const matcherOf = grammars.compile({ kind: "choice", options, param: "guided_choice" });
    let compared = 0;
    const visit = (path: readonly number[], written: readonly number[]): void => {
      const matcher = matcherOf();
      for (const id of path) matcher.append(id);
      const expected = Array.from(grammars.vocabulary.ends.keys()).filter((id) => {
        const token = [...grammars.bytesOf(id)];
        if (id === eosId) return texts.some((text) => text.length === written.length && startsWith(text, written));
        return token.length > 0 && texts.some((text) => startsWith(text, [...written, ...token]));
      });
      expect(grammars.allowed(matcher)).toEqual(expected);
      compared++;
      // Not every path, but some of each length.
      for (const id of expected.filter((id) => id !== eosId).slice(0, 3)) {
        const next = [...written, ...grammars.bytesOf(id)];
        if (path.length < 5 && !(texts.filter((text) => startsWith(text, next)).length === 1 && next.length > 6))
          visit([...path, id], next);
      }
      matcher.dispose();
    };
    visit([], []);
    expect(compared).toBeGreaterThan(20);
  });

  it("keeps to a regular expression, byte by byte, in the company of characters of all lengths", () => {
    const pattern = "[^b-y\\d]{1,3}(é|[αβγ]|😀)+\\.?";
    const matcherOf = bytes.compile({ kind: "regex", pattern, param: "guided_regex" });
    const whole = new RegExp(`^(?:${pattern})$`, "u");
    const takes = (text: string): boolean => {
      const matcher = matcherOf();
      for (const byte of utf8(text)) {
        if (!bytes.allowed(matcher).includes(byte)) return false;
        matcher.append(byte);
      }
      return matcher.isComplete || bytes.allowed(matcher).includes(256);
    };
    for (const text of [
      "aé",
      "aaaα😀",
      "zz😀.",
      "b😀",
      "aaaaaaé",
      "a",
      "",
      "€γ",
      "5é",
      "  é",
      "éé",
      "\u{10FFFF}é",
      "aé..",
      '"é',
    ]) {
      expect(takes(text), text).toBe(whole.test(text));
    }
    for (let seed = 0; seed < 20; seed++) {
      const text = randomText(bytes, matcherOf(), seed);
      if (text !== null) expect(text).toMatch(whole);
    }
  });

  it("lets no bytes through that are not UTF-8: no surrogates, no overlong spellings", () => {
    const matcherOf = bytes.compile({ kind: "regex", pattern: "[^a]+", param: "guided_regex" });
    const next = (...path: number[]) => {
      const matcher = matcherOf();
      for (const byte of path) matcher.append(byte);
      return bytes.allowed(matcher);
    };
    expect(next()).not.toContain(0xc1);
    expect(next()).not.toContain(0xf5);
    expect(next(0xed).at(-1)).toBe(0x9f);
    expect(next(0xe0)[0]).toBe(0xa0);
    expect(next(0xf0)[0]).toBe(0x90);
    expect(next(0xf4).at(-1)).toBe(0x8f);
    expect(next(0xe2)).toHaveLength(64);
  });

  it("computes the mask of a place once, whoever asks, and the next one behind the next token", () => {
    const matcher = grammars.compile({ kind: "choice", options: ["ab", "ac"], param: "x" })();
    const rules = new DrawRules([matcher]);
    const logits = new Float32Array(grammars.vocabulary.ends.length).fill(1);
    const scratch = new Float32Array(logits.length);
    const open = (masked: Float32Array) => [...masked.keys()].filter((id) => masked[id] === 1);
    const draft = open(rules.apply(logits, scratch));
    expect(open(rules.apply(logits, scratch))).toEqual(draft);
    expect(logits.every((logit) => logit === 1)).toBe(true);
    rules.append(draft[0] ?? 0);
    expect(open(rules.apply(logits, scratch))).not.toEqual(draft);
  });

  it("is complete where nothing more may come, and not where something may", () => {
    const end = (matcher: Matcher, text: string) => {
      for (const byte of utf8(text)) matcher.append(byte);
      return matcher.isComplete;
    };
    const number = bytes.compile({ kind: "regex", pattern: "\\d{1,3}", param: "x" });
    expect(end(number(), "12")).toBe(false);
    expect(end(number(), "123")).toBe(true);
    const matcher = number();
    matcher.append(0x31);
    matcher.append(256);
    expect(matcher.isComplete).toBe(true);
  });

  it("says that no token of the model goes on where the vocabulary lacks the characters, with the field at fault", () => {
    const letters = packVocabulary(3, (id) => (id < 2 ? Uint8Array.of(0x61 + id) : undefined), [2]);
    const matcher = new TestGrammars(letters).compile({ kind: "choice", options: ["aé"], param: "guided_choice" })();
    matcher.append(0);
    expect(() => matcher.mask()).toThrow(
      expect.objectContaining({ code: "invalid_request", param: "guided_choice" }) as Error,
    );
  });
});
