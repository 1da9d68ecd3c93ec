import { describe, expect, it } from "vitest";
import { type Json, JsonNumber, noteObjectTexts, parseJsonTree } from "../src/json-tree.js";

describe("JSON as it was written", () => {
  it("keeps digits, and members in their order", () => {
    const tree = parseJsonTree('{"b": 9007199254740993, "1": [1e400, -0.10, true, null, "\\u00e9"]}') as ReadonlyMap<
      string,
      Json
    >;
    expect([...tree.keys()]).toEqual(["b", "1"]);
    expect(tree.get("b")).toEqual(new JsonNumber("9007199254740993"));
    expect(tree.get("1")).toEqual([new JsonNumber("1e400"), new JsonNumber("-0.10"), true, null, "é"]);
    expect(parseJsonTree('{"__proto__": 1}')).toEqual(new Map([["__proto__", new JsonNumber("1")]]));
  });

  it.each(["", "{", "[1,]", "{'a':1}", "// x\n1", "01"])("is not found in what is none: %s", (text) => {
    expect(() => parseJsonTree(text)).toThrow(SyntaxError);
  });

  it("is known of each object that JSON.parse makes", () => {
    const text = '{"a": [{"x": 1e400}], "a": {"y": {"z": 12345678901234567890}}}';
    const value = JSON.parse(text) as { a: { y: object } };
    const texts = new WeakMap<object, string>();
    noteObjectTexts(text, value, texts);
    expect(texts.get(value.a.y)).toBe('{"z": 12345678901234567890}');
    expect(texts.get(value)).toBe(text);
  });
});
