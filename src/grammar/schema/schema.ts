import { ToastError } from "../../errors.js";
import { type Json, JsonNumber, type JsonObject } from "../../json-tree.js";

/** A JSON Schema that is no boolean: its keywords in the order in which they were written. */
export type Schema = JsonObject;

export type JsonType = "object" | "array" | "string" | "number" | "integer" | "boolean" | "null";

export const jsonTypes: readonly JsonType[] = ["object", "array", "string", "number", "integer", "boolean", "null"];

/** Say something about a value to its reader and nothing about which values there are. */
export const annotations: ReadonlySet<string> = new Set([
  ..."$schema $id $anchor $comment $defs $vocabulary definitions title description default examples example".split(" "),
  ..."deprecated readOnly writeOnly contentEncoding contentMediaType contentSchema discriminator".split(" "),
]);

/** Keywords that bind the values of one type; `patterns` and its like are ours: see normalize.ts. */
export const keywordsOf: Readonly<Record<JsonType, readonly string[]>> = {
  object: [
    ..."properties required additionalProperties unevaluatedProperties propertyNames".split(" "),
    ..."patternProperties minProperties maxProperties".split(" "),
  ],
  array: ["items", "prefixItems", "unevaluatedItems", "minItems", "maxItems", "uniqueItems"],
  string: ["patterns", "formats", "minLength", "maxLength"],
  number: ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multiples"],
  integer: ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multiples"],
  boolean: [],
  null: [],
};

const binding: ReadonlySet<string> = new Set([
  ...Object.values(keywordsOf).flat(),
  ..."type enum const anyOf oneOf allOf $ref".split(" "),
]);

/** Whether a keyword says which values there are. */
export function binds(keyword: string): boolean {
  return binding.has(keyword);
}

/** Exclude values in ways that no grammar of this size can follow. */
export const unsupportedKeywords: ReadonlySet<string> = new Set([
  ..."not if then else contains minContains maxContains dependentRequired dependentSchemas dependencies".split(" "),
  ..."$dynamicRef $recursiveRef $dynamicAnchor $recursiveAnchor".split(" "),
]);

export function isSchema(value: unknown): value is Schema {
  return value instanceof Map;
}

/** What a converter does with a keyword that it cannot keep. */
export interface Leniency {
  /** Throws where every text has to be valid; passes it over where nobody asked for that. */
  unsupported(path: string, problem: string): void;
}

export const strict: Leniency = { unsupported };
export const lenient: Leniency = { unsupported: () => {} };

/** A schema that is one, and cannot be kept. */
export class UnsupportedSchema extends ToastError {}

/** @throws UnsupportedSchema `invalid_request` @param path of the schema @param problem a part of a sentence */
export function unsupported(path: string, problem: string): never {
  throw new UnsupportedSchema("invalid_request", sentence(path, problem));
}

/**
 * For what is no schema.
 * @throws ToastError `invalid_request`
 * @param path of the schema, a JSON pointer
 * @param problem a part of a sentence
 */
export function fail(path: string, problem: string): never {
  throw new ToastError("invalid_request", sentence(path, problem));
}

function sentence(path: string, problem: string): string {
  return `The JSON Schema cannot be used: ${path.slice(0, 200)} ${problem}.`;
}

/** @returns null for any type. */
export function typesOf(schema: Schema, path: string): readonly JsonType[] | null {
  const written = schema.get("type");
  if (written === undefined) {
    // Without a type, a keyword binds values of its own type only; who writes `properties` means an object all the
    // same.
    const implied = jsonTypes.filter((type) => type !== "integer" && keywordsOf[type].some((key) => schema.has(key)));
    return implied.length === 0 ? null : implied;
  }
  const types = Array.isArray(written) ? (written as readonly Json[]) : [written];
  return types.map((type) => {
    const known = jsonTypes.find((name) => name === type);
    return known ?? fail(path, `has the type ${shown(type)}, which JSON does not have`);
  });
}

/** A bound on a count. @returns null where there is none. */
export function count(schema: Schema, keyword: string, path: string): number | null {
  const value = schema.get(keyword);
  if (value === undefined) return null;
  const number = value instanceof JsonNumber ? Number(value.text) : Number.NaN;
  if (!Number.isInteger(number) || number < 0) fail(path, `has a '${keyword}' that is no integer of at least 0`);
  // Texts of such a length do not occur; the smaller number is exact.
  return Math.min(number, 2 ** 31);
}

/** @returns `value` as JSON, for a message. */
export function shown(value: Json): string {
  if (typeof value === "string") return JSON.stringify(value.slice(0, 40));
  if (value instanceof JsonNumber) return value.text.slice(0, 40);
  return value === null || typeof value === "boolean" ? String(value) : "that is no word";
}
