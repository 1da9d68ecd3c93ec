import { expect, it } from "vitest";
import { z } from "zod";
import { list, table, tokenIds } from "../../src/openai/list-fields.js";
import { field, parseBody, refuse } from "../../src/openai/request-fields.js";

let looks = 0;
const item = z.object({ name: z.string(field("a name")) }, field("an object")).superRefine(({ name }, context) => {
  looks++;
  if (name === "picture") refuse(context, "Pictures are not supported.", ["name"]);
});
const words = { expected: "an array of things", item: "thing", max: 3 } as const;
const schema = z.object({
  things: list(item, { ...words, min: 1 }).nullish(),
  ids: tokenIds({ max: 4 }).nullish(),
  labels: table(z.string(field("a string")), "an object of strings").nullish(),
});
const many = (one: unknown, count: number) => Array.from({ length: count }, () => one);

it.each([
  [{ things: "a" }, "'things' must be an array of things."],
  [{ things: [] }, "'things' must hold at least one thing."],
  [{ things: many({ name: "a" }, 4) }, "'things' takes up to 3 things."],
  [{ things: [{ name: "a" }, { name: 1 }] }, "'things[1].name' must be a name."],
  [{ things: [{ name: "a" }, {}] }, "'things[1].name' is missing; it must be a name."],
  [{ ids: {} }, "'ids' must be an array of token ids."],
  [{ ids: [1, 2, -1] }, "'ids[2]' must be an integer of at least 0."],
  [{ ids: [1, 2.5] }, "'ids[1]' must be an integer of at least 0."],
  [{ ids: many(1, 5) }, "'ids' takes up to 4 token ids."],
  [{ labels: [] }, "'labels' must be an object of strings."],
  [{ labels: { a: "b", c: 1 } }, "'labels.c' must be a string."],
])("says what is wrong, as zod's own would: %j", (body, message) => {
  expect(() => parseBody(schema, body)).toThrow(message);
});

it("reads what is right", () => {
  const labels = JSON.parse('{"a": "b", "__proto__": "c"}') as object;
  const read = parseBody(schema, { things: many({ name: "a", more: 1 }, 3), ids: [0, 7], labels });
  expect(read.things).toEqual(many({ name: "a" }, 3));
  expect(read.ids).toEqual([0, 7]);
  expect(Object.entries(read.labels ?? {})).toEqual([
    ["a", "b"],
    ["__proto__", "c"],
  ]);
});

it("keeps what kind of refusal it was", () => {
  expect(() => parseBody(schema, { things: [{ name: "picture" }] })).toThrow(
    expect.objectContaining({ code: "unsupported_parameter", param: "things[0].name" }),
  );
});

it("looks at no item of too many, and at none behind one that is wrong", () => {
  looks = 0;
  expect(() => parseBody(schema, { things: many({ name: "a" }, 1_000) })).toThrow("up to 3");
  expect(looks).toBe(0);
  expect(() => parseBody(schema, { things: [{ name: "a" }, {}, { name: "a" }] })).toThrow("things[1]");
  expect(looks).toBe(1);
});
