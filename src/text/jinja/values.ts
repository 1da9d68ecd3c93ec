import { JsonNumber } from "../../json-tree.js";

/**
 * A value of a template as Python has it: `undefined` is Jinja's Undefined, `null` is None, an integral number an int,
 * a bigint one that a double does not hold.
 */
export type Value =
  | undefined
  | null
  | boolean
  | number
  | bigint
  | string
  | WholeFloat
  | Markup
  | Iterated
  | readonly Value[]
  | Dict
  | Namespace
  | Callable;

export type Dict = Map<Value, Value>;

/** A float without a fraction, which Python tells from an int. */
export class WholeFloat {
  readonly value: number;
  constructor(value: number) {
    this.value = value;
  }
}

export class Tuple extends Array<Value> {}

export function tuple(...items: readonly Value[]): Tuple {
  const made = new Tuple();
  for (const item of items) made.push(item);
  return made;
}

/** A text that `safe` or `escape` has been over: what is added to it is escaped. */
export class Markup {
  readonly value: string;
  constructor(value: string) {
    this.value = value;
  }
}

/** What filters such as `map` give: it can be gone through, once, and is not made before. */
export class Iterated {
  #make: (() => readonly Value[]) | null;

  constructor(make: () => readonly Value[]) {
    this.#make = make;
  }

  take(): readonly Value[] {
    const make = this.#make;
    this.#make = null;
    return make?.() ?? [];
  }
}

/** The one thing that a template may change. */
export class Namespace {
  readonly attributes = new Map<string, Value>();
}

export type Keywords = ReadonlyMap<string, Value>;

export class Callable {
  readonly name: string;
  readonly call: (args: readonly Value[], keywords: Keywords) => Value;
  readonly attributes: ReadonlyMap<string, () => Value>;

  constructor(name: string, call: Callable["call"], attributes: Callable["attributes"] = new Map()) {
    this.name = name;
    this.call = call;
    this.attributes = attributes;
  }
}

/** What goes wrong in a template, in a sentence. */
export class TemplateError extends Error {}

/** @param value JSON-like, or a tree of JSON as it was written: objects become dicts. */
export function fromJson(value: unknown): Value {
  if (Array.isArray(value)) return value.map(fromJson);
  if (value instanceof Callable) return value;
  if (value instanceof JsonNumber) return numberFromJson(value.text);
  if (value instanceof Map) return new Map([...value].map(([key, item]) => [key as string, fromJson(item)]));
  if (typeof value === "object" && value !== null) {
    return new Map(Object.entries(value).map(([key, item]) => [key, fromJson(item)]));
  }
  return value as Value;
}

function numberFromJson(written: string): Value {
  const value = Number(written);
  if (/[.eE]/.test(written)) return float(value);
  return Number.isSafeInteger(value) ? value : BigInt(written);
}

export function typeName(value: Value): string {
  if (value === undefined) return "Undefined";
  if (value === null) return "NoneType";
  if (typeof value === "boolean") return "bool";
  if (typeof value === "number") return Number.isInteger(value) ? "int" : "float";
  if (typeof value === "bigint") return "int";
  if (typeof value === "string") return "str";
  if (value instanceof WholeFloat) return "float";
  if (value instanceof Tuple) return "tuple";
  if (value instanceof Iterated) return "generator";
  if (value instanceof Markup) return "str";
  if (Array.isArray(value)) return "list";
  if (value instanceof Map) return "dict";
  return value instanceof Namespace ? "Namespace" : "function";
}

export type Numeric = number | bigint | boolean | WholeFloat;

export function isNumber(value: Value): value is Numeric {
  return ["number", "bigint", "boolean"].includes(typeof value) || value instanceof WholeFloat;
}

export function numberOf(value: Numeric): number {
  return value instanceof WholeFloat ? value.value : Number(value);
}

export function isFloat(value: Value): boolean {
  return value instanceof WholeFloat || (typeof value === "number" && !Number.isInteger(value));
}

export function float(value: number): Value {
  return Number.isInteger(value) ? new WholeFloat(value) : value;
}

/** An int for a filter or a method. @throws TemplateError */
export function intOf(value: Value, what: string): number {
  if (isNumber(value) && !isFloat(value)) return numberOf(value);
  throw new TemplateError(`${what} must be an int, not ${typeName(value)}`);
}

export function truthy(value: Value): boolean {
  if (value === undefined || value === null || value === false || value === 0 || value === "") return false;
  if (value instanceof WholeFloat) return value.value !== 0;
  if (value instanceof Markup) return value.value !== "";
  if (Array.isArray(value)) return value.length > 0;
  return value instanceof Map ? value.size > 0 : true;
}

export function equal(left: Value, right: Value): boolean {
  if (typeof left === "bigint" && typeof right === "bigint") return left === right;
  if (isNumber(left) && isNumber(right)) return numberOf(left) === numberOf(right);
  if (left instanceof Markup || right instanceof Markup) return plain(left) === plain(right);
  if (Array.isArray(left) && Array.isArray(right)) {
    if (left instanceof Tuple !== right instanceof Tuple) return false;
    return left.length === right.length && left.every((item: Value, at) => equal(item, right[at] as Value));
  }
  if (left instanceof Map && right instanceof Map) {
    if (left.size !== right.size) return false;
    return [...left].every(([key, item]) => hasKey(right, key) && equal(item, entry(right, key)));
  }
  return left === right;
}

/** @returns −1, 0 or 1. @throws TemplateError for what has no order. */
export function compare(left: Value, right: Value): number {
  if (isNumber(left) && isNumber(right)) return Math.sign(numberOf(left) - numberOf(right));
  if (typeof left === "string" && typeof right === "string") return compareText(left, right);
  if (Array.isArray(left) && Array.isArray(right)) {
    for (const [at, item] of (left as readonly Value[]).entries()) {
      if (at >= right.length) return 1;
      const order = compare(item, right[at] as Value);
      if (order !== 0) return order;
    }
    return left.length === right.length ? 0 : -1;
  }
  throw new TemplateError(`'<' not supported between instances of '${typeName(left)}' and '${typeName(right)}'`);
}

/** By code points. */
function compareText(left: string, right: string): number {
  const [a, b] = [[...left], [...right]];
  for (let at = 0; at < a.length && at < b.length; at++) {
    const order = Math.sign((a[at]?.codePointAt(0) ?? 0) - (b[at]?.codePointAt(0) ?? 0));
    if (order !== 0) return order;
  }
  return Math.sign(a.length - b.length);
}

/** Keys are compared as Python compares them: 1, 1.0 and True are one. */
function sameKey(dict: Dict, key: Value): Value {
  if (dict.has(key) || !(isNumber(key) || Array.isArray(key))) return key;
  return [...dict.keys()].find((known) => equal(known, key)) ?? key;
}

export function hasKey(dict: Dict, key: Value): boolean {
  return dict.has(sameKey(dict, key));
}

export function entry(dict: Dict, key: Value): Value {
  return dict.get(sameKey(dict, key));
}

export function contains(container: Value, item: Value): boolean {
  if (container === undefined) return false;
  if (typeof container === "string") {
    if (typeof item === "string") return container.includes(item);
    throw new TemplateError(`'in <string>' requires string as left operand, not ${typeName(item)}`);
  }
  if (container instanceof Map) return hasKey(container, item);
  return itemsOf(container).some((one) => equal(one, item));
}

/** What a loop goes through. @throws TemplateError */
export function itemsOf(value: Value): readonly Value[] {
  if (value === undefined) return [];
  if (typeof value === "string") return [...value];
  if (Array.isArray(value)) return value;
  if (value instanceof Iterated) return value.take();
  if (value instanceof Map) return [...value.keys()];
  throw new TemplateError(`'${typeName(value)}' object is not iterable`);
}

/** @throws TemplateError */
export function lengthOf(value: Value): number {
  if (value === undefined) return 0;
  if (typeof value === "string") return [...value].length;
  if (value instanceof Map) return value.size;
  if (value instanceof Markup) return [...value.value].length;
  if (Array.isArray(value)) return value.length;
  throw new TemplateError(`object of type '${typeName(value)}' has no len()`);
}

const html: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", "'": "&#39;", '"': "&#34;" };

/** A value as it stands in HTML; what is markup already stays. */
export function escaped(value: Value): string {
  if (value instanceof Markup) return value.value;
  return text(value).replace(/[&<>'"]/g, (character) => html[character] ?? character);
}

/** Markup as the text that it is. */
export function plain(value: Value): Value {
  return value instanceof Markup ? value.value : value;
}

/** Python's `str`. */
export function text(value: Value): string {
  if (value === undefined) return "";
  if (value instanceof Markup) return value.value;
  return typeof value === "string" ? value : repr(value);
}

/** Python's `repr`. */
export function repr(value: Value): string {
  if (value === undefined) return "Undefined";
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (typeof value === "number") return numberText(value);
  if (typeof value === "bigint") return String(value);
  if (typeof value === "string") return quoted(value);
  if (value instanceof WholeFloat) return floatText(value.value);
  if (value instanceof Iterated) return "<generator object>";
  if (value instanceof Markup) return `Markup(${quoted(value.value)})`;
  if (value instanceof Tuple) return `(${value.map(repr).join(", ")}${value.length === 1 ? "," : ""})`;
  if (Array.isArray(value)) return `[${(value as readonly Value[]).map(repr).join(", ")}]`;
  if (value instanceof Map) return `{${[...value].map(([key, item]) => `${repr(key)}: ${repr(item)}`).join(", ")}}`;
  if (value instanceof Namespace) return `<Namespace ${repr(new Map(value.attributes))}>`;
  return `<function ${(value as Callable).name}>`;
}

function numberText(value: number): string {
  if (!Number.isInteger(value)) return floatText(value);
  return Number.isSafeInteger(value) ? String(value) : BigInt(value).toString();
}

export function floatText(value: number): string {
  if (Number.isNaN(value)) return "nan";
  if (!Number.isFinite(value)) return value < 0 ? "-inf" : "inf";
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-4 || size >= 1e16)) {
    return value.toExponential().replace(/e([+-])(\d)$/, "e$10$2");
  }
  if (Object.is(value, -0)) return "-0.0";
  return Number.isInteger(value) ? value.toFixed(1) : String(value);
}

const escapes: Readonly<Record<string, string>> = { "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t" };

function quoted(value: string): string {
  const quote = value.includes("'") && !value.includes('"') ? '"' : "'";
  const inside = value.replace(/[\\\n\r\t'\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\p{Co}\p{Cn}]|(?! )\p{Zs}/gu, (character) => {
    const known = escapes[character];
    if (known !== undefined) return known;
    if (character === "'") return quote === "'" ? "\\'" : "'";
    const code = character.codePointAt(0) ?? 0;
    if (code < 0x100) return `\\x${code.toString(16).padStart(2, "0")}`;
    return code < 0x10000 ? `\\u${code.toString(16).padStart(4, "0")}` : `\\U${code.toString(16).padStart(8, "0")}`;
  });
  return `${quote}${inside}${quote}`;
}

interface JsonOptions {
  readonly indent: number | null;
  readonly ensureAscii: boolean;
  /** Between items, and behind keys. */
  readonly separators: readonly [string, string];
  readonly sortKeys: boolean;
}

/** Python's `json.dumps`. @throws TemplateError for what is no JSON. */
export function toJson(value: Value, options: JsonOptions, depth = 0): string {
  const { indent, separators, sortKeys } = options;
  const group = (open: string, items: readonly string[], close: string): string => {
    if (items.length === 0) return open + close;
    if (indent === null) return open + items.join(separators[0]) + close;
    const line = `\n${" ".repeat(indent * (depth + 1))}`;
    return `${open}${line}${items.join(separators[0] + line)}\n${" ".repeat(indent * depth)}${close}`;
  };
  if (value === null || typeof value === "boolean") return String(value);
  if (typeof value === "string") return jsonString(value, options.ensureAscii);
  if (isNumber(value)) return repr(value);
  if (value instanceof Map) {
    const entries = [...value].map(([key, item]) => [keyText(key), item] as const);
    if (sortKeys) entries.sort(([a], [b]) => compareText(a, b));
    const items = entries.map(
      ([key, item]) => jsonString(key, options.ensureAscii) + separators[1] + toJson(item, options, depth + 1),
    );
    return group("{", items, "}");
  }
  if (value instanceof Markup) return jsonString(value.value, options.ensureAscii);
  if (Array.isArray(value)) {
    return group(
      "[",
      (value as readonly Value[]).map((item) => toJson(item, options, depth + 1)),
      "]",
    );
  }
  throw new TemplateError(`Object of type ${typeName(value)} is not JSON serializable`);
}

function keyText(key: Value): string {
  if (typeof key === "string") return key;
  return key === null || typeof key === "boolean" ? String(key) : repr(key);
}

function jsonString(value: string, ensureAscii: boolean): string {
  // Python leaves U+2028 as it is, and so does JSON.stringify; DEL is plain to both.
  const json = JSON.stringify(value);
  if (!ensureAscii) return json;
  return json.replace(/[\u0080-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
}
