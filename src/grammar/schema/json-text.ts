import { codePoints } from "../code-points.js";
import { characters, choice, type Expression, literal, nothing, repeat, rule, sequence } from "../expression.js";
import { anyCharacters, quoted } from "./json-characters.js";
import { anyInteger, anyNumber } from "./numbers.js";

/** What may stand between the signs of a JSON text. */
export const blanks = rule("blanks");
/** The same, written out. */
export const blankRun = repeat(characters(codePoints([0x09, 0x0a], [0x0d, 0x0d], [0x20, 0x20])), 0, null);
export const comma = parted(blanks, ",");
export const colon = parted(blanks, ":");

/** The rules of any JSON value. */
export const anyJson: readonly (readonly [name: string, expression: Expression])[] = [
  ["blanks", blankRun],
  ["any", choice(...["object", "array", "string", "number", "boolean", "null"].map((name) => rule(`any_${name}`)))],
  ["any_object", list("{", sequence(rule("any_string"), colon, rule("any")), 0, null, "}")],
  ["any_array", list("[", rule("any"), 0, null, "]")],
  ["any_string", quoted(anyCharacters)],
  ["any_number", anyNumber],
  ["any_integer", anyInteger],
  ["any_boolean", choice(literal("true"), literal("false"))],
  ["any_null", literal("null")],
];

/** Items parted by commas, in brackets. */
export function list(open: string, item: Expression, min: number, max: number | null, close: string): Expression {
  return bracketed(open, items(item, min, max), close);
}

/** What stands in brackets, or nothing where `content` may be empty. */
export function bracketed(open: string, content: Expression, close: string): Expression {
  return sequence(literal(open), blanks, content, blanks, literal(close));
}

/** Items parted by commas. */
export function items(item: Expression, min: number, max: number | null): Expression {
  if (max !== null && max < min) return choice();
  if (max === 0) return nothing;
  const some = sequence(item, repeat(sequence(comma, item), Math.max(0, min - 1), max === null ? null : max - 1));
  return min === 0 ? choice(nothing, some) : some;
}

/** A sign with blanks around it. */
export function parted(blank: Expression, sign: string): Expression {
  return sequence(blank, literal(sign), blank);
}
