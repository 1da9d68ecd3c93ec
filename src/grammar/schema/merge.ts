import { type Json, JsonNumber } from "../../json-tree.js";
import { compareDecimals, decimalOf } from "./decimal.js";
import { identity } from "./json-equality.js";
import { isAnything, normalized } from "./normalize.js";
import { annotations, fail, isSchema, type Schema, unsupported } from "./schema.js";

/** Branches of two `anyOf`s that hold together, at most: they multiply. */
const maxProduct = 1_000;

/**
 * Both at once, in one schema of normalized keywords. Neither refers elsewhere, or has an `allOf`; schemas within them
 * may.
 * @throws ToastError `invalid_request` for what cannot be said in one schema
 */
export function mergeSchemas(one: Json, other: Json, path: string): Json {
  if (isAnything(one)) return other;
  if (isAnything(other)) return one;
  if (one === false || other === false) return false;
  if (!isSchema(one) || !isSchema(other)) fail(path, "combines what is no schema");
  const [left, right] = [normalized(one), normalized(other)];
  const merged = new Map(left);
  for (const [keyword, value] of right) {
    const present = merged.get(keyword);
    if (special.has(keyword)) continue;
    if (present === undefined || annotations.has(keyword) || identity(present) === identity(value))
      merged.set(keyword, value);
    else merged.set(keyword, mergeKeyword(keyword, present, value, path));
  }
  for (const merge of new Set(special.values())) merge(left, right, merged, path);
  return merged;
}

/**
 * An `allOf` of two, which is written out where it is visited: merging may never come to an end in schemas that refer
 * to themselves.
 */
function bothOf(one: Json | undefined, other: Json | undefined): Json {
  if (one === undefined || isAnything(one)) return other ?? true;
  if (other === undefined || isAnything(other)) return one;
  if (one === false || other === false) return false;
  if (one === other || identity(one) === identity(other)) return one;
  return new Map([["allOf", [one, other]]]);
}

function mergeKeyword(keyword: string, one: Json, other: Json, path: string): Json {
  switch (keyword) {
    case "minimum":
    case "exclusiveMinimum":
    case "minLength":
    case "minItems":
    case "minProperties":
      return tighter(one, other, 1, keyword, path);
    case "maximum":
    case "exclusiveMaximum":
    case "maxLength":
    case "maxItems":
    case "maxProperties":
      return tighter(one, other, -1, keyword, path);
    case "patterns":
    case "formats":
    case "multiples":
    case "required":
      if (Array.isArray(one) && Array.isArray(other)) return unique([...one, ...other] as Json[]);
      break;
    case "type":
      return commonTypes([one].flat() as Json[], [other].flat() as Json[]);
    case "uniqueItems":
      return one === true || other === true;
    case "propertyNames":
    case "unevaluatedProperties":
    case "unevaluatedItems":
      return bothOf(one, other);
    case "anyOf":
    case "oneOf":
      if (Array.isArray(one) && Array.isArray(other)) {
        if (one.length * other.length > maxProduct)
          unsupported(path, `has combinations of more than ${maxProduct} alternatives`);
        return one.flatMap((left: Json) => (other as Json[]).map((right) => bothOf(left, right)));
      }
      break;
  }
  return unsupported(path, `combines two schemas that both have '${keyword}', which is not supported`);
}

type Merge = (left: Schema, right: Schema, merged: Map<string, Json>, path: string) => void;

/** Keywords that are read together. */
const special: ReadonlyMap<string, Merge> = new Map([
  ["properties", mergeObjects],
  ["additionalProperties", mergeObjects],
  ["patternProperties", mergeObjects],
  ["prefixItems", mergeItems],
  ["items", mergeItems],
  ["enum", mergeConstants],
  ["const", mergeConstants],
]);

/** What only one of them names has to keep to what the other says of members that it does not name. */
function mergeObjects(left: Schema, right: Schema, merged: Map<string, Json>, path: string): void {
  const namesOf = (schema: Schema, keyword: string): Schema => {
    const members = schema.get(keyword) ?? new Map<string, Json>();
    return isSchema(members) ? members : fail(path, `has '${keyword}' that are no object`);
  };
  const [mine, theirs] = [namesOf(left, "properties"), namesOf(right, "properties")];
  const rest = (schema: Schema): Json | undefined =>
    namesOf(schema, "patternProperties").size > 0 ? undefined : schema.get("additionalProperties");
  if (mine.size + theirs.size > 0) {
    const names = [...new Set([...mine.keys(), ...theirs.keys()])];
    merged.set(
      "properties",
      new Map(
        names.map((name) => [
          name,
          bothOf(mine.has(name) ? mine.get(name) : rest(left), theirs.has(name) ? theirs.get(name) : rest(right)),
        ]),
      ),
    );
  }
  const [patterns, others] = [namesOf(left, "patternProperties"), namesOf(right, "patternProperties")];
  const [additional, further] = [left.get("additionalProperties"), right.get("additionalProperties")];
  const areMixed = (patterns.size > 0 && further !== undefined) || (others.size > 0 && additional !== undefined);
  if (areMixed && patterns.size + others.size > 0 && !isAnything(additional ?? further ?? true))
    unsupported(
      path,
      "combines 'patternProperties' with the 'additionalProperties' of another schema, which is not supported",
    );
  if (patterns.size + others.size > 0) {
    const keys = [...new Set([...patterns.keys(), ...others.keys()])];
    merged.set("patternProperties", new Map(keys.map((key) => [key, bothOf(patterns.get(key), others.get(key))])));
  }
  if (additional !== undefined || further !== undefined)
    merged.set("additionalProperties", bothOf(additional, further));
}

function mergeItems(left: Schema, right: Schema, merged: Map<string, Json>, path: string): void {
  const prefixOf = (schema: Schema): readonly Json[] => {
    const prefix = schema.get("prefixItems") ?? [];
    return Array.isArray(prefix) ? prefix : fail(path, "has 'prefixItems' that are no list");
  };
  const [mine, theirs] = [prefixOf(left), prefixOf(right)];
  const length = Math.max(mine.length, theirs.length);
  if (length > 0) {
    const item = (prefix: readonly Json[], schema: Schema, at: number) => prefix[at] ?? schema.get("items");
    merged.set(
      "prefixItems",
      Array.from({ length }, (_, at) => bothOf(item(mine, left, at), item(theirs, right, at))),
    );
  }
  if (left.has("items") || right.has("items")) merged.set("items", bothOf(left.get("items"), right.get("items")));
}

function mergeConstants(left: Schema, right: Schema, merged: Map<string, Json>): void {
  const [mine, theirs] = [constantsOf(left), constantsOf(right)];
  if (mine === null && theirs === null) return;
  const known = new Set((theirs ?? mine ?? []).map(identity));
  merged.delete("const");
  merged.set(
    "enum",
    (mine ?? theirs ?? []).filter((value) => known.has(identity(value))),
  );
}

/** The values that `enum` and `const` leave; null where there is neither. */
export function constantsOf(schema: Schema): readonly Json[] | null {
  const listed = schema.get("enum");
  const single = schema.get("const");
  if (!Array.isArray(listed)) return single === undefined ? null : [single];
  if (single === undefined) return listed;
  return (listed as readonly Json[]).filter((value) => identity(value) === identity(single));
}

function commonTypes(one: readonly Json[], other: readonly Json[]): Json {
  const common = one.flatMap((type) => {
    if (other.includes(type)) return [type];
    if (type === "integer" && other.includes("number")) return [type];
    return type === "number" && other.includes("integer") ? ["integer"] : [];
  });
  return unique(common);
}

function tighter(one: Json, other: Json, direction: 1 | -1, keyword: string, path: string): Json {
  const decimals = [one, other].map((bound) => (bound instanceof JsonNumber ? decimalOf(bound.text) : null));
  const [left, right] = decimals;
  if (left === null || left === undefined || right === null || right === undefined)
    return fail(path, `has a '${keyword}' that is no number to reckon with`);
  return compareDecimals(left, right) * direction >= 0 ? one : other;
}

function unique(values: readonly Json[]): Json {
  const byIdentity = new Map(values.map((value) => [identity(value), value]));
  return [...byIdentity.values()];
}
