import { JsonNumber, parseJsonTree } from "../../json-tree.js";
import { type Expression, literal } from "../expression.js";
import { decimalOf } from "./decimal.js";
import { inJsonString, quoted } from "./json-characters.js";
import { spellingsOf } from "./numbers.js";

/** All texts with the same value. @param text a JSON scalar */
export function spellingsOfScalar(text: string): Expression {
  const value = parseJsonTree(text);
  if (typeof value === "string") return quoted(inJsonString(literal(value)));
  const decimal = value instanceof JsonNumber ? decimalOf(value.text) : null;
  return decimal === null ? literal(text) : spellingsOf(decimal);
}
