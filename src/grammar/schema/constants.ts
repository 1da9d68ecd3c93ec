import { type Json, JsonNumber } from "../../json-tree.js";
import { choice, type Expression, literal, sequence } from "../expression.js";
import { decimalOf } from "./decimal.js";
import { bracketed, colon, comma } from "./json-text.js";
import { constantsOf } from "./merge.js";
import { isSchema, type JsonType, type Schema, typesOf } from "./schema.js";

/** A value as it was written: digits stay as they are, members in their order. */
export function constant(value: Json): Expression {
  if (value instanceof JsonNumber) return literal(value.text);
  if (isSchema(value)) {
    const members = [...value].map(([key, member]) => sequence(literal(JSON.stringify(key)), colon, constant(member)));
    return bracketed("{", parted(members), "}");
  }
  if (Array.isArray(value)) return bracketed("[", parted((value as readonly Json[]).map(constant)), "]");
  return literal(JSON.stringify(value));
}

/** The values of `enum` and `const` that have one of the schema's types. @returns null where it has neither. */
export function fittingConstants(schema: Schema, path: string): readonly Json[] | null {
  const values = constantsOf(schema);
  if (values === null || !schema.has("type")) return values;
  const types = typesOf(schema, path) ?? [];
  return values.filter((value) => types.some((type) => isOfType(value, type)));
}

export function isOfType(value: Json, type: JsonType): boolean {
  switch (type) {
    case "object":
      return isSchema(value);
    case "array":
      return Array.isArray(value);
    case "number":
      return value instanceof JsonNumber;
    case "integer":
      return value instanceof JsonNumber && decimalOf(value.text)?.decimals === 0;
    case "null":
      return value === null;
    default:
      return typeof value === type;
  }
}

function parted(items: readonly Expression[]): Expression {
  return items.length === 0
    ? literal("")
    : sequence(...items.flatMap((item, at) => (at === 0 ? [item] : [comma, item])));
}

/** Any of some values. */
export function anyConstant(values: readonly Json[]): Expression {
  return choice(...values.map(constant));
}
