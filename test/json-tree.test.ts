import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Json, JsonNumber, measureJson, noteObjectTexts, parseJsonTree } from "../src/json-tree.js";

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

  it("is known of each object of any JSON, however it is spaced", () => {
    fc.assert(
      fc.property(fc.json(), fc.constantFrom(undefined, 1, "\t"), (json, indent) => {
        const text = JSON.stringify(JSON.parse(json), null, indent);
        const value: unknown = JSON.parse(text);
        const texts = new WeakMap<object, string>();
        noteObjectTexts(` ${text}\n`, value, texts);
        const check = (item: unknown): void => {
          if (typeof item !== "object" || item === null) return;
          if (!Array.isArray(item)) expect(JSON.parse(texts.get(item) ?? "null")).toEqual(item);
          for (const member of Object.values(item)) check(member);
        };
        check(value);
      }),
    );
  });
});

describe("the measure of JSON", () => {
  const measured = (text: string, ...names: string[]) => measureJson(text, new Set(names));

  it.each([
    ["{}", 1, 0],
    ["[1, 2, 3]", 1, 2],
    ['{"a": "b", "c": [[], {}]}', 7, 2],
    ['["\\\\", "\\"", "[{,"]', 4, 2],
    // What is no JSON has some measure, too.
    ['{"a', 2, 0],
    ["]]}}", 0, 0],
  ])("counts pieces and commas: %s", (text, pieces, numbers) => {
    expect(measured(text)).toEqual({ pieces, numbers, members: [] });
  });

  it("finds members of the outermost object alone, and counts all that is in them", () => {
    const text = '{"x": {"tools": 1}, "tools" : [1, 2, {"a": 3}] , "y": "tools", "z": [4, 5]}';
    const { pieces, numbers, members } = measured(text, "tools");
    expect(members.map(({ name, start, end }) => [name, text.slice(start, end).trim()])).toEqual([
      ["tools", '[1, 2, {"a": 3}]'],
    ]);
    expect([pieces, numbers]).toEqual([14, 4]);
  });
});
