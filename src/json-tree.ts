import { type Node, type ParseError, parse, parseTree } from "jsonc-parser";

/** JSON as it was written: numbers keep their digits, and members their order, which JSON.parse loses. */
export type Json = null | boolean | string | JsonNumber | readonly Json[] | JsonObject;
export type JsonObject = ReadonlyMap<string, Json>;

/** A number by its text, whatever its size. */
export class JsonNumber {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

/** @throws SyntaxError for what is no JSON. Recursive: what strangers sent has to be known to be shallow. */
export function parseJsonTree(text: string): Json {
  return jsonOf(nodeOf(text), text);
}

/** Without blanks. */
export function writeJson(value: Json): string {
  if (value instanceof JsonNumber) return value.text;
  if (Array.isArray(value)) return `[${(value as readonly Json[]).map(writeJson).join(",")}]`;
  if (!(value instanceof Map)) return JSON.stringify(value);
  const members = [...(value as JsonObject)].map(([name, member]) => `${JSON.stringify(name)}:${writeJson(member)}`);
  return `{${members.join(",")}}`;
}

/** What a text says that may be the beginning of some JSON only, as JSON.parse would have it; undefined: nothing. */
export function parseBeginning(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return parse(text);
  }
}

/** How much there is in a JSON text, and where. */
export interface JsonMeasure {
  /** Objects, arrays, strings and names of members; in the members that were looked for, commas as well. */
  readonly pieces: number;
  /** Numbers, and whatever else a comma parts, elsewhere. */
  readonly numbers: number;
  /** Members of the outermost object that were looked for, in their order; `end` is behind the value. */
  readonly members: readonly { readonly name: string; readonly start: number; readonly end: number }[];
}

/**
 * Counts what JSON.parse would make, without making it: 4 MB take a few milliseconds, as long strings are jumped over.
 * What is no JSON gets some measure; JSON.parse says what is wrong with it.
 * @param names of members of the outermost object.
 * @param mostPieces beyond which it counts no further.
 */
export function measureJson(
  text: string,
  names: ReadonlySet<string>,
  mostPieces = Number.POSITIVE_INFINITY,
): JsonMeasure {
  const members: { name: string; start: number; end: number }[] = [];
  let [pieces, numbers, depth] = [0, 0, 0];
  let name: string | null = null;
  let open: { readonly name: string; readonly start: number } | null = null;
  const endMember = (end: number): void => {
    if (open !== null) members.push({ ...open, end });
    open = null;
  };
  for (let at = 0; at < text.length && pieces <= mostPieces; at++) {
    switch (text.charCodeAt(at)) {
      case quote: {
        const end = endOfString(text, at);
        pieces++;
        // Behind a colon it is a value.
        if (depth === 1 && open === null) name = text.slice(at + 1, end);
        at = end;
        break;
      }
      case braceOpen:
      case bracketOpen:
        pieces++;
        depth++;
        break;
      case braceClose:
      case bracketClose:
        if (depth === 1) endMember(at);
        depth--;
        break;
      case comma:
        if (depth === 1) endMember(at);
        if (open === null) numbers++;
        else pieces++;
        break;
      case colon:
        if (depth === 1 && name !== null && names.has(name)) open = { name, start: at + 1 };
        break;
    }
  }
  return { pieces, numbers, members };
}

const [quote, backslash, comma, colon, braceOpen, braceClose, bracketOpen, bracketClose] = [...'"\\,:{}[]'].map(
  (sign) => sign.charCodeAt(0),
) as [number, number, number, number, number, number, number, number];

/** @param start of its quotation mark. @returns the place of the last one. */
function endOfString(text: string, start: number): number {
  for (let end = text.indexOf('"', start + 1); end !== -1; end = text.indexOf('"', end + 1)) {
    let escapes = 0;
    while (text.charCodeAt(end - 1 - escapes) === backslash) escapes++;
    if (escapes % 2 === 0) return end;
  }
  return text.length;
}

/**
 * Notes the text of each object that JSON.parse has made of `text`. Recursive, as {@link parseJsonTree}. Not by its
 * tree, which takes ten times as long, and this is done for each request with a schema before anything else.
 * @param text is known to be JSON.
 * @param value what JSON.parse has made
 */
export function noteObjectTexts(text: string, value: unknown, texts: WeakMap<object, string>): void {
  let at = 0;
  const skipBlanks = (): void => {
    while (text.charCodeAt(at) <= space) at++;
  };
  /** @param sign that stands here or not. */
  const passes = (sign: number): boolean => {
    skipBlanks();
    if (text.charCodeAt(at) !== sign) return false;
    at++;
    return true;
  };
  const readString = (): string => {
    const start = at;
    at = endOfString(text, at) + 1;
    return text.slice(start, at);
  };
  const read = (made: unknown): void => {
    skipBlanks();
    if (at >= text.length) throw new SyntaxError("this is no JSON");
    const start = at;
    const first = text.charCodeAt(at);
    if (first === bracketOpen) {
      at++;
      for (let index = 0; !passes(bracketClose); index++) {
        read((made as readonly unknown[] | undefined)?.[index]);
        passes(comma);
      }
    } else if (first === braceOpen) {
      at++;
      while (!passes(braceClose)) {
        skipBlanks();
        const key: unknown = JSON.parse(readString());
        passes(colon);
        read(typeof made === "object" && made !== null ? Reflect.get(made, key as string) : undefined);
        passes(comma);
      }
      if (typeof made === "object" && made !== null && !Array.isArray(made)) texts.set(made, text.slice(start, at));
    } else if (first === quote) readString();
    else while (at < text.length && !endsScalar(text.charCodeAt(at))) at++;
  };
  read(value);
}

const space = 32;

function endsScalar(code: number): boolean {
  return code <= space || code === comma || code === braceClose || code === bracketClose;
}

function nodeOf(text: string): Node {
  const errors: ParseError[] = [];
  const node = parseTree(text, errors, { disallowComments: true });
  if (node === undefined || errors.length > 0) throw new SyntaxError("this is no JSON");
  return node;
}

function jsonOf(node: Node, text: string): Json {
  switch (node.type) {
    case "object":
      return new Map(
        (node.children ?? []).map(({ children: [key, member] = [] }) => {
          if (key === undefined || member === undefined) throw new SyntaxError("a member has no value");
          return [key.value as string, jsonOf(member, text)];
        }),
      );
    case "array":
      return (node.children ?? []).map((child) => jsonOf(child, text));
    case "number":
      return new JsonNumber(text.slice(node.offset, node.offset + node.length));
    default:
      return node.value as null | boolean | string;
  }
}
