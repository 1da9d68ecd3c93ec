import { noteObjectTexts } from "../json-tree.js";

/** Objects within objects; schemas are walked recursively behind this check. */
export const maxSchemaDepth = 100;

/** Fields that hold JSON Schemas. */
const schemaFields = [
  ...(["response_format", "structured_outputs", "guided_json", "json_schema", "tools", "text", "format"] as const),
  ...(["output_config", "output_format"] as const),
];
/** Members around a schema, in `tools[0].function.parameters` say. */
const depthAround = 6;

const texts = new WeakMap<object, string>();

/**
 * JSON.parse, after which the texts of schemas are known: JSON.parse rounds numbers of more than 15 digits, and sorts
 * members whose names are numbers.
 * @throws SyntaxError
 */
export function parseJsonBody(text: string): unknown {
  const body: unknown = JSON.parse(text);
  if (typeof body !== "object" || body === null) return body;
  const hasSchemas = schemaFields.some((field) => typeof Reflect.get(body, field) === "object");
  if (hasSchemas && isShallow(body, maxSchemaDepth + depthAround)) noteObjectTexts(text, body, texts);
  return body;
}

/** A schema that came as text within JSON. @throws SyntaxError */
export function parseSchemaText(text: string): unknown {
  const schema: unknown = JSON.parse(text);
  if (isShallow(schema, maxSchemaDepth)) noteObjectTexts(text, schema, texts);
  return schema;
}

/** JSON as it was sent; written anew where that is not known. @param value shallow */
export function jsonTextOf(value: unknown): string {
  const known = typeof value === "object" && value !== null ? texts.get(value) : undefined;
  return known ?? JSON.stringify(value);
}

/** Whether JSON is nested no deeper than `depth`. Without recursion: a client may send megabytes of `[[[[`. */
export function isShallow(value: unknown, depth: number): boolean {
  let level: readonly unknown[] = [value];
  for (let at = 0; level.length > 0; at++) {
    if (at > depth) return false;
    level = level.flatMap((item) => (typeof item === "object" && item !== null ? Object.values(item) : []));
  }
  return true;
}
