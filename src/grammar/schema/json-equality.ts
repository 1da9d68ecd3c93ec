import { type Json, JsonNumber } from "../../json-tree.js";
import { decimalOf } from "./decimal.js";

/**
 * A text that equal values share, and no others: numbers by their value, objects whatever the order of their members.
 */
export function identity(value: Json): string {
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  if (value instanceof JsonNumber) {
    const decimal = decimalOf(value.text);
    return decimal === null ? value.text : `${decimal.digits}e-${decimal.decimals}`;
  }
  if (value instanceof Map) {
    const members = [...value].map(([key, member]) => `${JSON.stringify(key)}:${identity(member)}`);
    return `{${members.toSorted((a, b) => (a < b ? -1 : 1)).join()}}`;
  }
  return `[${(value as readonly Json[]).map(identity).join()}]`;
}
