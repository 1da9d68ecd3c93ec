import type { Json } from "../../json-tree.js";
import type { Schema } from "./schema.js";

/**
 * A schema of any draft in the words of draft 2020-12, its own keywords only: schemas within it stay as they are.
 *
 * Keywords of which several can hold together become lists: `pattern`, `format`, `multipleOf` are `patterns`,
 * `formats`, `multiples`. A keyword of null says nothing, as clients mean it that write all members of a structure.
 */
export function normalized(schema: Schema): Schema {
  const words = new Map<string, Json>();
  for (const [keyword, value] of schema) {
    if (value === null && keyword !== "const" && keyword !== "default") continue;
    const list = lists.get(keyword);
    if (list === undefined) words.set(keyword, value);
    else words.set(list, [value]);
  }
  for (const [bound, exclusive] of [
    ["minimum", "exclusiveMinimum"],
    ["maximum", "exclusiveMaximum"],
  ] as const) {
    // Draft 4: a flag that says how the bound is meant.
    const flag = words.get(exclusive);
    const value = words.get(bound);
    if (typeof flag !== "boolean") continue;
    words.delete(exclusive);
    if (!flag || value === undefined) continue;
    words.delete(bound);
    words.set(exclusive, value);
  }
  const items = words.get("items");
  const additionalItems = words.get("additionalItems") ?? null;
  words.delete("additionalItems");
  if (Array.isArray(items)) {
    words.set("prefixItems", items);
    words.delete("items");
    if (additionalItems !== null) words.set("items", additionalItems);
  }
  if (saysNothing(words)) words.delete("not");
  else if (isAnything(words.get("not"))) return new Map([["enum", []]]);
  return words.get("nullable") === true ? nullable(words) : without(words, "nullable");
}

const lists: ReadonlyMap<string, string> = new Map([
  ["pattern", "patterns"],
  ["format", "formats"],
  ["multipleOf", "multiples"],
]);

/** OpenAPI 3.0's word for "or null". */
function nullable(words: ReadonlyMap<string, Json>): Schema {
  const rest = without(words, "nullable");
  const type = rest.get("type");
  const isPlain =
    type !== undefined && !["enum", "const", "anyOf", "oneOf", "allOf", "$ref"].some((key) => rest.has(key));
  if (isPlain) return new Map([...rest, ["type", [...[type].flat(), "null"] as Json]]);
  return new Map([["anyOf", [rest, new Map([["type", "null"]])]]]);
}

function without(words: ReadonlyMap<string, Json>, keyword: string): Schema {
  return new Map([...words].filter(([key]) => key !== keyword));
}

function saysNothing(words: ReadonlyMap<string, Json>): boolean {
  return words.get("not") === false;
}

/** `true` and `{}`: any value. */
export function isAnything(schema: Json | undefined): boolean {
  return schema === true || (schema instanceof Map && schema.size === 0);
}
