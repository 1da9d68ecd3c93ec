import { describe, expect, it } from "vitest";
import { byteVocabulary, TestGrammars } from "./grammar-text.js";

const bytes = new TestGrammars(byteVocabulary());
const matcherOf = bytes.compile({
  kind: "jsonSchema",
  schema: '{"type":"object","additionalProperties":true}',
  param: "x",
});

/** What is subtracted from the logit of each byte behind a text; null where it may not come. */
function penalties(text: string, makes = matcherOf): (sign: string) => number | null {
  const matcher = makes();
  for (const byte of new TextEncoder().encode(text)) matcher.append(byte);
  const logits = new Float32Array(257);
  matcher.apply(logits);
  return (sign) => {
    const logit = logits[sign.charCodeAt(0)] ?? 0;
    return logit === Number.NEGATIVE_INFINITY ? null : 0 - logit;
  };
}

describe("blanks", () => {
  it("cost nothing once behind a comma or colon, and more and more elsewhere", () => {
    expect(penalties('{"a":')(" ")).toBe(0);
    expect(penalties('{"a":')("\n")).toBe(10);
    expect(penalties('{"a": ')(" ")).toBe(13);
    expect(penalties('{"a": 1')(" ")).toBe(10);
    expect(penalties('{"a": 1   ')(" ")).toBe(19);
    expect(penalties('{"a": 1   ')("}")).toBe(0);
  });

  it("are a string's own", () => {
    expect(penalties('{"a": "     ')(" ")).toBe(0);
    expect(penalties('{"a     ')(" ")).toBe(0);
  });

  it("are never forbidden", () => {
    expect(penalties(`{"a":${" ".repeat(300)}`)(" ")).toBeGreaterThan(500);
    expect(penalties(`{"a":${" ".repeat(300)}`)("1")).toBe(0);
  });
});

describe("digits", () => {
  it("cost nothing as long as an id has so many, and little more each", () => {
    expect(penalties('{"a": 2512292042121000001')("1")).toBe(0);
    expect(penalties(`{"a": ${"1".repeat(20)}`)("1")).toBe(0.25);
    expect(penalties(`{"a": ${"1".repeat(30)}`)("1")).toBe(2.75);
  });

  it("behind a point are measures", () => {
    expect(penalties('{"a": 3.14159')("2")).toBe(0);
    expect(penalties('{"a": 3.141592')("6")).toBe(0.5);
  });

  it("are a string's own", () => {
    expect(penalties(`{"a": "${"1".repeat(60)}`)("1")).toBe(0);
  });
});

it("texts that are no JSON are drawn as they come", () => {
  const regex = bytes.compile({ kind: "regex", pattern: "\\s*\\d*", param: "x" });
  expect(penalties(" ".repeat(40), regex)(" ")).toBe(0);
  expect(penalties("1".repeat(60), regex)("1")).toBe(0);
});
