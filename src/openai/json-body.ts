import { ToastError } from "../errors.js";
import { measureJson, noteObjectTexts } from "../json-tree.js";

/**
 * Pieces of one body: objects, arrays, strings and names. What they are made into is looked at piece by piece in the
 * thread that answers everybody; so many take it some tens of milliseconds, whatever they are.
 */
export const mostPieces = 65_536;
/**
 * Numbers cost little, and prompts may be lists of them: 327,680 are more than the 300,000 tokens that OpenAI takes in
 * one request for embeddings.
 */
const numbersOfPiece = 5;

/** JSON Schemas of a request, in UTF-16 units. */
export const maxSchemaText = 200_000;

/** Objects within objects; schemas are walked recursively behind this check. */
export const maxSchemaDepth = 100;

/** Fields that hold JSON Schemas. */
const schemaFields: ReadonlySet<string> = new Set([
  ...(["response_format", "structured_outputs", "guided_json", "json_schema", "tools", "text", "format"] as const),
  ...(["output_config", "output_format"] as const),
]);
/** Members around a schema, in `tools[0].function.parameters` say. */
const depthAround = 6;

const texts = new WeakMap<object, string>();

/**
 * JSON.parse, after which the texts of schemas are known: JSON.parse rounds numbers of more than 15 digits, and sorts
 * members whose names are numbers.
 * @throws SyntaxError
 * @throws ToastError `body_too_large` for more than {@link mostPieces}
 */
export function parseJsonBody(text: string): unknown {
  const { pieces, numbers, members } = measureJson(text, schemaFields, mostPieces);
  if (pieces + numbers / numbersOfPiece > mostPieces) throw tooManyPieces();
  const body: unknown = JSON.parse(text);
  if (typeof body !== "object" || body === null) return body;
  for (const { name, start, end } of members) {
    const value: unknown = Reflect.get(body, name);
    if (isShallow(value, maxSchemaDepth + depthAround)) noteObjectTexts(text.slice(start, end), value, texts);
  }
  return body;
}

function tooManyPieces(): ToastError {
  const message = `The request body has more than ${mostPieces} objects, arrays, strings and names, the limit of this server (${numbersOfPiece} numbers count as one). Send it in parts.`;
  return new ToastError("body_too_large", message);
}

/** A schema that came as text within JSON, of {@link maxSchemaText} at most. @throws SyntaxError */
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
