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

/**
 * Notes the text of each object that JSON.parse has made of `text`. Recursive, as {@link parseJsonTree}.
 * @param value what JSON.parse has made
 */
export function noteObjectTexts(text: string, value: unknown, texts: WeakMap<object, string>): void {
  const add = (node: Node, made: unknown): void => {
    if (typeof made !== "object" || made === null) return;
    if (!Array.isArray(made)) texts.set(made, text.slice(node.offset, node.offset + node.length));
    for (const [index, child] of (node.children ?? []).entries()) {
      if (node.type === "array") add(child, (made as readonly unknown[])[index]);
      else {
        const [key, member] = child.children ?? [];
        if (key !== undefined && member !== undefined) add(member, Reflect.get(made, key.value as string));
      }
    }
  };
  add(nodeOf(text), value);
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
