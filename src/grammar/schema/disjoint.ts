import type { Json } from "../../json-tree.js";
import { fittingConstants, isOfType } from "./constants.js";
import { identity } from "./json-equality.js";
import { isSchema, type JsonType, keywordsOf, type Schema } from "./schema.js";

/**
 * Whether no text that is written for one alternative fits another, so that `oneOf` means the same as `anyOf`. Linear
 * for constants, and for objects that a constant property tells apart.
 * @param flat alternatives with their references written out
 */
export function areAllDisjoint(flat: readonly (Schema | boolean)[], flatten: Flatten): boolean {
  const schemas = flat.filter(isSchema);
  if (flat.filter((schema) => schema === true).length > 0)
    return flat.filter((schema) => schema !== false).length === 1;
  const constants = schemas.filter((schema) => constantsOf(schema) !== null);
  const others = schemas.filter((schema) => constantsOf(schema) === null);
  if (!areDistinct(constants.map((schema) => constantsOf(schema) ?? []))) return false;
  if (constants.some((one) => others.some((other) => mayShare(one, other, flatten)))) return false;
  if (others.length > 1 && haveTags(others, flatten)) return true;
  return others.every((one, index) => others.slice(index + 1).every((other) => !mayShare(one, other, flatten)));
}

/** Writes out the references of a schema. */
export type Flatten = (schema: Json) => Schema | boolean;

function areDistinct(lists: readonly (readonly Json[])[]): boolean {
  const seen = new Set<string>();
  for (const list of lists) {
    const values = new Set(list.map(identity));
    for (const value of values) if (seen.has(value)) return false;
    for (const value of values) seen.add(value);
  }
  return true;
}

/** Whether some property that all require is a constant of its own in each. */
function haveTags(schemas: readonly Schema[], flatten: Flatten): boolean {
  const [first] = schemas;
  return [...propertiesOf(first).keys()].some((name) => {
    const tags = schemas.map((schema) => {
      if (!isObject(schema) || !requires(schema, name)) return null;
      const property = propertiesOf(schema).get(name);
      const tag = property === undefined ? true : flatten(property);
      return isSchema(tag) ? constantsOf(tag) : null;
    });
    return tags.every((tag) => tag !== null) && areDistinct(tags);
  });
}

/** Whether a text that is written for one might fit the other. */
function mayShare(one: Schema, other: Schema, flatten: Flatten): boolean {
  const [mine, theirs] = [constantsOf(one), constantsOf(other)];
  if (mine !== null && theirs !== null) return !areDistinct([mine, theirs]);
  if (!kindsOf(one).some((kind) => kindsOf(other).includes(kind))) return false;
  if (!isObject(one) || !isObject(other)) return true;
  // A text for one that fits the other, or the reverse.
  return fits(one, other, flatten) || fits(other, one, flatten);
}

/** Whether some text that is written for `writer` could be valid under `reader`. */
function fits(writer: Schema, reader: Schema, flatten: Flatten): boolean {
  const [written, read] = [propertiesOf(writer), propertiesOf(reader)];
  const writesOthers = ["additionalProperties", "unevaluatedProperties", "patternProperties"].some(
    (keyword) => writer.has(keyword) && writer.get(keyword) !== false,
  );
  const isMissing = (name: string) => !written.has(name) && !requires(writer, name) && !writesOthers;
  if (written.size > 0 && requiredOf(reader).some(isMissing)) return false;
  const isClosed = reader.get("additionalProperties") === false && !reader.has("patternProperties");
  if (isClosed && requiredOf(writer).some((name) => !read.has(name))) return false;
  return ![...new Set([...requiredOf(writer), ...requiredOf(reader)])].some((name) => {
    const [mine, theirs] = [written.get(name), read.get(name)];
    if (mine === undefined || theirs === undefined) return false;
    const [left, right] = [flatten(mine), flatten(theirs)];
    if (left === false || right === false) return true;
    return isSchema(left) && isSchema(right) && !mayShare(left, right, flatten);
  });
}

function isObject(schema: Schema): boolean {
  const kinds = kindsOf(schema);
  return kinds.length === 1 && kinds[0] === "object";
}

/** The values that `enum` and `const` leave; null where there is neither. */
function constantsOf(schema: Schema): readonly Json[] | null {
  return fittingConstants(schema, "#");
}

/** Types of the values, integers among the numbers. */
function kindsOf(schema: Schema): readonly string[] {
  const all = ["object", "array", "string", "number", "boolean", "null"];
  const constants = constantsOf(schema);
  if (constants !== null) return all.filter((kind) => constants.some((value) => isOfType(value, kind as JsonType)));
  const written = schema.get("type");
  if (written !== undefined) return [written].flat().map((type) => (type === "integer" ? "number" : String(type)));
  const implied = all.filter((kind) => keywordsOf[kind as JsonType].some((keyword) => schema.has(keyword)));
  return implied.length === 0 ? all : implied;
}

function propertiesOf(schema: Schema | undefined): Schema {
  const properties = schema?.get("properties");
  return isSchema(properties) ? properties : new Map<string, Json>();
}

function requiredOf(schema: Schema): readonly string[] {
  const required = schema.get("required");
  return Array.isArray(required) ? required.map(String) : [];
}

function requires(schema: Schema, name: string): boolean {
  return requiredOf(schema).includes(name);
}
