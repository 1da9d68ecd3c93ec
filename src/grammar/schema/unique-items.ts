import type { Json } from "../../json-tree.js";
import { choice, type Expression, literal } from "../expression.js";
import { anyConstant, fittingConstants } from "./constants.js";
import type { SchemaContext } from "./context.js";
import { anyCharacters, quoted } from "./json-characters.js";
import { identity } from "./json-equality.js";
import { blankRun, parted } from "./json-text.js";
import { anyInteger, anyNumber, boundedNumber } from "./numbers.js";
import { isSchema, type JsonType, type Schema, typesOf } from "./schema.js";
import { stringContent } from "./strings.js";

/**
 * The items of an array without doubles.
 * @returns null where they are no scalars: texts of equal objects may differ in more ways than a grammar can follow.
 */
export function uniqueItems(
  item: Json,
  { min, max }: { readonly min: number; readonly max: number | null },
  path: string,
  context: SchemaContext,
): Expression | null {
  const scalar = scalarValue(context.flat(item, path), path, context);
  if (scalar === null) return null;
  const { expression, values } = scalar;
  const most = values === null ? max : Math.min(values, max ?? values);
  if (most !== null && most < min) return choice();
  return { kind: "distinct", item: expression, separator: parted(blankRun, ","), min, max: most };
}

interface Scalar {
  readonly expression: Expression;
  /** How many there are; null where nobody counts them. */
  readonly values: number | null;
}

function scalarValue(schema: Schema | boolean, path: string, context: SchemaContext): Scalar | null {
  if (!isSchema(schema) || schema.has("anyOf") || schema.has("oneOf")) return null;
  const constants = fittingConstants(schema, path);
  if (constants !== null) {
    if (constants.some((value) => isSchema(value) || Array.isArray(value))) return null;
    return { expression: anyConstant(constants), values: new Set(constants.map(identity)).size };
  }
  const types = typesOf(schema, path);
  if (types === null) return null;
  const all = types.map((type) => ofType(type, schema, path, context));
  if (all.some((one) => one === null)) return null;
  const known = all as readonly Scalar[];
  const isCounted = known.every(({ values }) => values !== null);
  return {
    expression: choice(...known.map(({ expression }) => expression)),
    values: isCounted ? known.reduce((sum, { values }) => sum + (values ?? 0), 0) : null,
  };
}

function ofType(type: JsonType, schema: Schema, path: string, { leniency }: SchemaContext): Scalar | null {
  switch (type) {
    case "string":
      return { expression: quoted(stringContent(schema, path, leniency) ?? anyCharacters), values: null };
    case "integer":
      return { expression: boundedNumber(type, schema, path, leniency) ?? anyInteger, values: null };
    case "number":
      return { expression: boundedNumber(type, schema, path, leniency) ?? anyNumber, values: null };
    case "boolean":
      return { expression: choice(literal("true"), literal("false")), values: 2 };
    case "null":
      return { expression: literal("null"), values: 1 };
    default:
      return null;
  }
}
