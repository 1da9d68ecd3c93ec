import { ToastError } from "../../errors.js";
import { type CodePoints, codePoints, contains, difference, intersection } from "./code-points.js";
import { choice, type Expression, literal, nothing, type Rules, repeat, rule, sequence } from "./expression.js";
import { numbersBetween } from "./number-ranges.js";
import { parseRegex } from "./regex.js";

interface Schema {
  readonly [keyword: string]: unknown;
  readonly $ref?: unknown;
  readonly allOf?: unknown;
  readonly type?: unknown;
  readonly enum?: unknown;
  readonly const?: unknown;
  readonly properties?: unknown;
  readonly required?: unknown;
  readonly additionalProperties?: unknown;
  readonly unevaluatedProperties?: unknown;
  readonly propertyNames?: unknown;
  readonly prefixItems?: unknown;
  readonly items?: unknown;
  readonly pattern?: unknown;
  readonly format?: unknown;
}

type JsonType = "object" | "array" | "string" | "number" | "integer" | "boolean" | "null";

const jsonTypes: readonly JsonType[] = ["object", "array", "string", "number", "integer", "boolean", "null"];

/** Say something about a value to its reader and nothing about which values there are. */
const annotations: ReadonlySet<string> = new Set([
  "$schema",
  "$id",
  "$anchor",
  "$comment",
  "$defs",
  "definitions",
  "title",
  "description",
  "default",
  "examples",
  "deprecated",
  "readOnly",
  "writeOnly",
  "contentEncoding",
  "contentMediaType",
  "discriminator",
]);

const keywordsOf: Readonly<Record<JsonType, readonly string[]>> = {
  object: ["properties", "required", "additionalProperties", "unevaluatedProperties", "propertyNames"],
  array: ["items", "prefixItems", "minItems", "maxItems"],
  string: ["pattern", "format", "minLength", "maxLength"],
  number: ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"],
  integer: ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"],
  boolean: [],
  null: [],
};
const understood: ReadonlySet<string> = new Set([
  ...annotations,
  ...Object.values(keywordsOf).flat(),
  ..."type enum const anyOf oneOf allOf $ref".split(" "),
]);
/** Exclude values in ways that no grammar of this size can follow. */
const known: ReadonlySet<string> = new Set([
  ..."not if then else contains minContains maxContains uniqueItems multipleOf patternProperties minProperties".split(
    " ",
  ),
  ..."maxProperties dependentRequired dependentSchemas dependencies additionalItems unevaluatedItems".split(" "),
  ..."$dynamicRef $recursiveRef $dynamicAnchor $recursiveAnchor".split(" "),
]);

/** Formats that are kept to; any other one is an annotation, as the standard has it. */
const formats: Readonly<Record<string, string>> = {
  "date-time":
    "[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,6})?Z",
  date: "[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])",
  time: "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,6})?Z",
  uuid: "[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}",
  email: "[a-z0-9]{1,16}([._+-][a-z0-9]{1,16}){0,2}@[a-z0-9]{1,24}(\\.[a-z0-9]{1,12}){0,2}\\.[a-z]{2,8}",
  uri: "https?://[a-z0-9]{1,24}(\\.[a-z0-9]{1,16}){0,2}\\.[a-z]{2,8}(/[A-Za-z0-9._~-]{0,32}){0,6}",
  ipv4: "((25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])\\.){3}(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])",
};

/** What a JSON string may hold as it is: anything but quotes, backslashes and control characters. */
const plainCharacters: CodePoints = difference(
  codePoints([0x20, 0xd7ff], [0xe000, 0x10ffff]),
  codePoints([0x22, 0x22], [0x5c, 0x5c]),
);
const shortEscapes: readonly (readonly [codePoint: number, text: string])[] = [
  [0x22, '\\"'],
  [0x5c, "\\\\"],
  [0x08, "\\b"],
  [0x09, "\\t"],
  [0x0a, "\\n"],
  [0x0c, "\\f"],
  [0x0d, "\\r"],
];

const digit: Expression = { kind: "class", set: [[0x30, 0x39]] };
const leadingDigit: Expression = { kind: "class", set: [[0x31, 0x39]] };
const minus = repeat(literal("-"), 0, 1);
/** Fifteen digits pass through a double unharmed. */
const wholePart = choice(literal("0"), sequence(leadingDigit, repeat(digit, 0, 14)));

/** The rules of any JSON value. One space stands behind commas and colons, none elsewhere: no text of blanks without an end. */
const anyJson: readonly (readonly [name: string, expression: Expression])[] = [
  ["any", choice(...["object", "array", "string", "number", "boolean", "null"].map((name) => rule(`any_${name}`)))],
  ["any_object", list("{", sequence(rule("any_string"), literal(": "), rule("any")), 0, null, "}")],
  ["any_array", list("[", rule("any"), 0, null, "]")],
  ["any_string", sequence(literal('"'), repeat(rule("any_character"), 0, null), literal('"'))],
  ["any_character", jsonCharacters(codePoints([0, 0xd7ff], [0xe000, 0x10ffff]))],
  [
    "any_number",
    sequence(
      minus,
      wholePart,
      repeat(sequence(literal("."), repeat(digit, 1, 15)), 0, 1),
      repeat(sequence(choice(literal("e"), literal("E")), repeat(plusOrMinus(), 0, 1), repeat(digit, 1, 2)), 0, 1),
    ),
  ],
  ["any_integer", choice(literal("0"), sequence(minus, leadingDigit, repeat(digit, 0, 14)))],
  ["any_boolean", choice(literal("true"), literal("false"))],
  ["any_null", literal("null")],
];

/** Schemas within schemas, references followed included. */
const maxDepth = 60;
const maxRules = 3_000;
/** Schemas looked at, with all the places that refer to them: combinations of combinations multiply. */
const maxVisits = 10_000;
/** Largest bound on a count; the text is bounded by the context long before. */
const maxCount = 100_000;

/** The grammar of any JSON object. */
export function jsonObjectRules(): Rules {
  return new Map([...anyJson, ["root", rule("any_object")]]);
}

/**
 * A JSON Schema as a grammar. Every text of the grammar is valid under the schema; the reverse does not hold: properties come in the
 * schema's order, those that it does not name only where it names none, numbers with bounds in fixed decimals.
 * A keyword that could not be kept is refused, never ignored.
 *
 * @param schema parsed JSON.
 * @throws ToastError `invalid_request` with a sentence about the place in the schema.
 */
export function jsonSchemaRules(schema: unknown): Rules {
  return new SchemaConverter(schema).rules();
}

class SchemaConverter {
  readonly #root: unknown;
  readonly #rules = new Map<string, Expression>(anyJson);
  /** Rules of schemas that are referred to, by JSON pointer. */
  readonly #references = new Map<string, string>();
  #visits = 0;

  constructor(root: unknown) {
    this.#root = root;
  }

  rules(): Rules {
    this.#references.set("#", "root");
    this.#rules.set("root", this.#value(this.#root, "#", 0));
    return this.#rules;
  }

  /** @param path of the schema, for messages. */
  #value(schema: unknown, path: string, depth: number): Expression {
    this.#visit(depth, path);
    if (schema === true) return rule("any");
    if (schema === false) return choice();
    if (!isSchema(schema)) fail(path, "is no schema: an object or a boolean is needed");
    for (const keyword of Object.keys(schema)) {
      if (known.has(keyword) && !asksForNothing(keyword, schema[keyword])) {
        fail(path, `uses '${keyword}', which is not supported`);
      }
    }
    const keywords = Object.keys(schema).filter((keyword) => understood.has(keyword) && !annotations.has(keyword));
    if (typeof schema.$ref === "string") return this.#reference(schema, schema.$ref, keywords, path, depth);
    if ("$ref" in schema) fail(path, "has a '$ref' that is no string");
    for (const keyword of ["allOf", "anyOf", "oneOf"] as const) {
      if (keyword in schema) return this.#combination(schema, keyword, path, depth);
    }
    if ("const" in schema || "enum" in schema) return constants(schema, keywords, path);
    const types = typesOf(schema, keywords, path);
    if (types === null) return rule("any");
    return choice(...types.map((type) => this.#typed(type, schema, path, depth)));
  }

  #visit(depth: number, path: string): void {
    if (depth > maxDepth) fail(path, `is nested, or refers to itself, more than ${maxDepth} deep`);
    if (++this.#visits > maxVisits) fail("#", "is too large: its combinations multiply to more than 10000 schemas");
  }

  #reference(schema: Schema, pointer: string, keywords: readonly string[], path: string, depth: number): Expression {
    if (keywords.length > 1) return this.#value(this.#merged(schema, depth, path), path, depth + 1);
    const known = this.#references.get(pointer);
    if (known !== undefined) return rule(known);
    const target = this.#resolve(pointer, path);
    const name = this.#newName();
    this.#references.set(pointer, name);
    this.#rules.set(name, this.#value(target, pointer, depth + 1));
    return rule(name);
  }

  #resolve(pointer: string, path: string): unknown {
    if (pointer !== "#" && !pointer.startsWith("#/"))
      fail(path, `refers to '${pointer.slice(0, 80)}', outside the schema`);
    let target = this.#root;
    for (const part of pointer.split("/").slice(1)) {
      const key = decodePointerPart(part).replaceAll("~1", "/").replaceAll("~0", "~");
      target =
        typeof target === "object" && target !== null && Object.hasOwn(target, key)
          ? Reflect.get(target, key)
          : undefined;
    }
    if (target === undefined) fail(path, `refers to '${pointer.slice(0, 80)}', which the schema does not have`);
    return target;
  }

  /** A schema with `$ref` and `allOf` written out into it. */
  #merged(schema: unknown, depth: number, path: string): unknown {
    this.#visit(depth, path);
    if (!isSchema(schema)) return schema;
    const { $ref, allOf, ...own } = schema;
    const parts: unknown[] = [own];
    if (typeof $ref === "string") parts.push(this.#merged(this.#resolve($ref, path), depth + 1, path));
    if (allOf !== undefined) {
      for (const part of branches(allOf, "allOf", path)) parts.push(this.#merged(part, depth + 1, path));
    }
    return parts.reduce((merged, part) => mergeSchemas(merged, part, path));
  }

  #combination(schema: Schema, keyword: "allOf" | "anyOf" | "oneOf", path: string, depth: number): Expression {
    if (keyword === "allOf") return this.#value(this.#merged(schema, depth, path), `${path}/allOf`, depth + 1);
    const { [keyword]: combined, ...rest } = schema;
    const options = branches(combined, keyword, path);
    const hasSiblings = Object.keys(rest).some((key) => understood.has(key) && !annotations.has(key));
    const schemas = options.map((option) =>
      hasSiblings ? mergeSchemas(rest, this.#merged(option, depth + 1, path), path) : option,
    );
    if (keyword === "oneOf") this.#checkDisjoint(schemas, path, depth);
    return choice(...schemas.map((option, index) => this.#value(option, `${path}/${keyword}/${index}`, depth + 1)));
  }

  /** `oneOf` means "and none of the others": the same as `anyOf` where no value can fit two. */
  #checkDisjoint(schemas: readonly unknown[], path: string, depth: number): void {
    const written = schemas.map((schema) => this.#merged(schema, depth + 1, path));
    for (const [index, one] of written.entries()) {
      if (written.slice(index + 1).some((other) => !areDisjoint(one, other))) {
        fail(
          path,
          "has a 'oneOf' whose alternatives could fit the same value; use 'anyOf', or give each a constant property",
        );
      }
    }
  }

  #typed(type: JsonType, schema: Schema, path: string, depth: number): Expression {
    switch (type) {
      case "object":
        return this.#object(schema, path, depth);
      case "array":
        return this.#array(schema, path, depth);
      case "string":
        return stringValue(schema, path);
      case "number":
      case "integer":
        return numberValue(type, schema, path);
      case "boolean":
      case "null":
        return rule(`any_${type}`);
    }
  }

  #object(schema: Schema, path: string, depth: number): Expression {
    const properties = schema.properties ?? {};
    if (!isSchema(properties)) fail(path, "has 'properties' that are no object");
    const required = schema.required ?? [];
    if (!Array.isArray(required) || !required.every((name) => typeof name === "string")) {
      fail(path, "has a 'required' that is no list of names");
    }
    const others = schema.additionalProperties ?? schema.unevaluatedProperties ?? true;
    const names = [...new Set([...Object.keys(properties), ...required])];
    if (names.length === 0) {
      if (others === false || ("properties" in schema && !("additionalProperties" in schema))) return literal("{}");
      const names = schema.propertyNames;
      const key = names === undefined ? rule("any_string") : this.#propertyName(names, path);
      const value = this.#value(others, `${path}/additionalProperties`, depth + 1);
      return list("{", sequence(this.#named(key), literal(": "), this.#named(value)), 0, null, "}");
    }
    if (schema.propertyNames !== undefined && !isAnyString(schema.propertyNames)) {
      fail(path, "has 'propertyNames' beside properties of its own, which is not supported");
    }
    const members = names.map((name) => {
      const isOwn = Object.hasOwn(properties, name);
      const value = isOwn ? properties[name] : others;
      const valuePath = `${path}/properties/${name}`;
      return {
        isRequired: required.includes(name),
        expression: sequence(literal(`${JSON.stringify(name)}: `), this.#value(value, valuePath, depth + 1)),
      };
    });
    // From the last to the first: what may follow a member, and what may come first.
    let rest: Expression = nothing;
    let start: Expression = nothing;
    for (const { isRequired, expression } of members.toReversed()) {
      const member = this.#named(expression);
      const first = sequence(member, rest);
      const next = sequence(literal(", "), member, rest);
      start = this.#named(isRequired ? first : choice(first, start));
      rest = this.#named(isRequired ? next : choice(next, rest));
    }
    return sequence(literal("{"), start, literal("}"));
  }

  #propertyName(schema: unknown, path: string): Expression {
    if (isAnyString(schema)) return rule("any_string");
    if (!isSchema(schema)) fail(path, "has 'propertyNames' that are no schema");
    return this.#value({ ...schema, type: "string" }, `${path}/propertyNames`, maxDepth - 2);
  }

  #array(schema: Schema, path: string, depth: number): Expression {
    const min = count(schema, "minItems", path) ?? 0;
    const max = count(schema, "maxItems", path);
    const { prefixItems = [], items = true } = schema;
    if (!Array.isArray(prefixItems)) fail(path, "has 'prefixItems' that are no list");
    if (Array.isArray(items)) fail(path, "has a list of 'items'; use 'prefixItems'");
    if (max !== null && max < min) return choice();
    const first = prefixItems.map((item, index) => this.#value(item, `${path}/prefixItems/${index}`, depth + 1));
    const item = this.#named(items === false ? choice() : this.#value(items, `${path}/items`, depth + 1));
    if (first.length === 0) return items === false ? emptyArray(min) : list("[", item, min, max, "]");
    // A prefix is written out as a whole: shorter arrays are valid too, but nobody who writes a prefix means them.
    const shown = max === null ? first : first.slice(0, max);
    if (shown.length === 0) return literal("[]");
    const [head = nothing, ...tail] = shown;
    const left = max === null ? null : max - shown.length;
    const more = sequence(literal(", "), item);
    const others =
      items === false ? (min > shown.length ? choice() : nothing) : repeat(more, Math.max(0, min - shown.length), left);
    return sequence(literal("["), head, ...tail.flatMap((next) => [literal(", "), next]), others, literal("]"));
  }

  /** A long expression that is used twice becomes a rule, so that it is written once. */
  #named(expression: Expression): Expression {
    if (expression.kind === "rule" || expression.kind === "literal") return expression;
    const name = this.#newName();
    this.#rules.set(name, expression);
    return rule(name);
  }

  #newName(): string {
    if (this.#rules.size > maxRules) fail("#", "is too large: it has more than a thousand properties and alternatives");
    const name = `r${this.#rules.size}`;
    // Takes the place, for whoever needs a name before this one has its expression.
    this.#rules.set(name, nothing);
    return name;
  }
}

function stringValue(schema: Schema, path: string): Expression {
  const min = count(schema, "minLength", path) ?? 0;
  const max = count(schema, "maxLength", path);
  const format = typeof schema.format === "string" ? formats[schema.format] : undefined;
  const { pattern } = schema;
  if (pattern === undefined && format === undefined) {
    if (max !== null && max < min) return choice();
    if (min === 0 && max === null) return rule("any_string");
    // Counted characters are those without a backslash: counting a choice of spellings costs a thousand times as much.
    const plain: Expression = { kind: "class", set: plainCharacters };
    if (max !== null) return quoted(repeat(plain, min, max));
    return quoted(sequence(repeat(plain, min, min), repeat(rule("any_character"), 0, null)));
  }
  if (min > 0 || max !== null || (pattern !== undefined && format !== undefined)) {
    fail(path, "combines 'pattern' or 'format' with each other or with a length; put the length into the pattern");
  }
  if (format !== undefined) return quoted(inJsonString(parseRegex(format).expression));
  if (typeof pattern !== "string") fail(path, "has a 'pattern' that is no string");
  if (pattern.length > 2_000) fail(path, "has a 'pattern' of more than 2000 characters");
  const { expression, anchoredAtStart, anchoredAtEnd } = parseRegex(pattern);
  const anything = repeat(rule("any_character"), 0, null);
  return quoted(
    sequence(anchoredAtStart ? nothing : anything, inJsonString(expression), anchoredAtEnd ? nothing : anything),
  );
}

function numberValue(type: "number" | "integer", schema: Schema, path: string): Expression {
  const bound = (keyword: string): number | null => {
    const value = schema[keyword];
    if (value === undefined) return null;
    if (typeof value !== "number" || Math.abs(value) > Number.MAX_SAFE_INTEGER) {
      fail(path, `has a '${keyword}' that is no number of up to 15 digits`);
    }
    return value;
  };
  const lows = [bound("minimum"), bound("exclusiveMinimum")];
  const highs = [bound("maximum"), bound("exclusiveMaximum")];
  const bounds = [...lows, ...highs].filter((value) => value !== null);
  if (bounds.length === 0) return rule(`any_${type}`);
  const decimalsNeeded = Math.max(...bounds.map(decimalsOf));
  if (decimalsNeeded > 9) fail(path, "has a bound with more than nine decimals");
  const between = (decimals: number): Expression => {
    const scaled = (value: number | null, open: number | null, towards: 1n | -1n): bigint | null => {
      const ends = [
        value === null ? null : scaledBound(value, decimals, towards, false),
        open === null ? null : scaledBound(open, decimals, towards, true),
      ].filter((end) => end !== null);
      return ends.reduce<bigint | null>(
        (best, end) => (best === null || (towards === 1n ? end > best : end < best) ? end : best),
        null,
      );
    };
    const widest = 10n ** 15n - 1n;
    const low = scaled(lows[0] ?? null, lows[1] ?? null, 1n);
    const high = scaled(highs[0] ?? null, highs[1] ?? null, -1n);
    const lowest = low ?? ((high ?? 0n) < -widest ? (high ?? 0n) * 2n : -widest);
    const highest = high ?? (lowest > widest ? lowest * 2n : widest);
    return lowest > highest ? choice() : numbersBetween(lowest, highest, decimals);
  };
  return type === "integer" ? between(0) : choice(between(0), between(Math.max(2, decimalsNeeded)));
}

/** The first (`towards` 1) or last (−1) `n` for which n / 10^decimals keeps to the bound. */
function scaledBound(value: number, decimals: number, towards: 1n | -1n, isOpen: boolean): bigint {
  const digits = Math.max(decimals, decimalsOf(value));
  const exact = BigInt(value.toFixed(digits).replace(".", ""));
  const unit = 10n ** BigInt(digits - decimals);
  const quotient = exact / unit;
  const isWhole = quotient * unit === exact;
  if (isWhole) return isOpen ? quotient + towards : quotient;
  // BigInt division cuts towards zero.
  const floor = exact < 0n ? quotient - 1n : quotient;
  return towards === 1n ? floor + 1n : floor;
}

function decimalsOf(value: number): number {
  const [mantissa = "", exponent = "0"] = String(value).split("e");
  return Math.max(0, (mantissa.split(".")[1]?.length ?? 0) - Number(exponent));
}

function constants(schema: Schema, keywords: readonly string[], path: string): Expression {
  const other = keywords.find((keyword) => !["const", "enum", "type"].includes(keyword));
  if (other !== undefined) fail(path, `has '${other}' beside 'enum' or 'const', which is not supported`);
  if ("enum" in schema && !Array.isArray(schema.enum)) fail(path, "has an 'enum' that is no list");
  const listed: readonly unknown[] = Array.isArray(schema.enum) ? schema.enum : [schema.const];
  const values = "const" in schema ? listed.filter((value) => sameJson(value, schema.const)) : listed;
  const types = "type" in schema ? typesOf(schema, ["type"], path) : null;
  const fitting = values.filter((value) => types === null || types.some((type) => isOfType(value, type)));
  return choice(...fitting.map((value) => literal(JSON.stringify(value))));
}

/** @returns null for any type. */
function typesOf(schema: Schema, keywords: readonly string[], path: string): readonly JsonType[] | null {
  if ("type" in schema) {
    const types: readonly unknown[] = Array.isArray(schema.type) ? schema.type : [schema.type];
    return types.map((type) => {
      const known = jsonTypes.find((name) => name === type);
      return known ?? fail(path, `has the type ${String(JSON.stringify(type)).slice(0, 40)}, which JSON does not have`);
    });
  }
  // Without a type, a keyword binds values of its own type only; who writes `properties` means an object all the same.
  const implied = jsonTypes.filter(
    (type) => type !== "integer" && keywordsOf[type].some((key) => keywords.includes(key)),
  );
  return implied.length === 0 ? null : implied;
}

/** Both at once. Nothing is left out: what cannot be said in one schema is refused. */
function mergeSchemas(one: unknown, other: unknown, path: string): unknown {
  if (one === true || (isSchema(one) && Object.keys(one).length === 0)) return other;
  if (other === true) return one;
  if (one === false || other === false) return false;
  if (!isSchema(one) || !isSchema(other)) fail(path, "combines what is no schema");
  const merged: { -readonly [Keyword in keyof Schema]: Schema[Keyword] } = { ...one };
  for (const [keyword, value] of Object.entries(other)) {
    const present = merged[keyword];
    if (present === undefined || annotations.has(keyword) || sameJson(present, value)) merged[keyword] = value;
    else if (keyword === "required" && Array.isArray(present) && Array.isArray(value))
      merged.required = [...new Set([...present, ...value])];
    else if (keyword === "properties" && isSchema(present) && isSchema(value)) {
      const shared = Object.keys(value).filter((name) => Object.hasOwn(present, name));
      merged.properties = {
        ...present,
        ...value,
        ...Object.fromEntries(shared.map((name) => [name, mergeSchemas(present[name], value[name], path)])),
      };
    } else fail(path, `combines two schemas that both have '${keyword}', which is not supported`);
  }
  return merged;
}

/** Whether no value fits both: their types differ, or a constant does, their own or that of a required property. */
function areDisjoint(one: unknown, other: unknown): boolean {
  if (one === false || other === false) return true;
  if (!isSchema(one) || !isSchema(other)) return false;
  const constantsOf = (schema: Schema): readonly unknown[] | null =>
    "const" in schema ? [schema.const] : Array.isArray(schema.enum) ? schema.enum : null;
  const [constantsOne, constantsOther] = [constantsOf(one), constantsOf(other)];
  if (constantsOne !== null && constantsOther !== null) {
    return !constantsOne.some((value) => constantsOther.some((candidate) => sameJson(value, candidate)));
  }
  const kinds = (schema: Schema): readonly string[] =>
    [schema.type].flat().map((type) => (type === "integer" ? "number" : String(type)));
  if ("type" in one && "type" in other && !kinds(one).some((kind) => kinds(other).includes(kind))) return true;
  const [propertiesOne, propertiesOther] = [one.properties, other.properties];
  if (!isSchema(propertiesOne) || !isSchema(propertiesOther)) return false;
  return Object.keys(propertiesOne).some((name) => {
    const required = [one.required, other.required].every((names) => Array.isArray(names) && names.includes(name));
    return required && Object.hasOwn(propertiesOther, name) && areDisjoint(propertiesOne[name], propertiesOther[name]);
  });
}

/** What a regular expression means inside of a JSON string: quotes and control characters are spelled with a backslash there. */
function inJsonString(expression: Expression): Expression {
  switch (expression.kind) {
    case "literal":
      return sequence(
        ...[...expression.text].map((character) => {
          const code = character.codePointAt(0) ?? 0;
          return jsonCharacters([[code, code]]);
        }),
      );
    case "class":
      return jsonCharacters(expression.set);
    case "sequence":
      return sequence(...expression.parts.map(inJsonString));
    case "choice":
      return choice(...expression.options.map(inJsonString));
    case "repeat":
      return repeat(inJsonString(expression.part), expression.min, expression.max);
    case "rule":
      return expression;
  }
}

/** The characters of `set` as a JSON string spells them; each has one spelling, and control characters without a short one have none. */
function jsonCharacters(set: CodePoints): Expression {
  const plain = intersection(set, plainCharacters);
  const escapes = shortEscapes.filter(([codePoint]) => contains(set, codePoint)).map(([, text]) => literal(text));
  return choice(...(plain.length > 0 ? [{ kind: "class" as const, set: plain }] : []), ...escapes);
}

function quoted(content: Expression): Expression {
  return sequence(literal('"'), content, literal('"'));
}

function list(open: string, item: Expression, min: number, max: number | null, close: string): Expression {
  if (max === 0) return min > 0 ? choice() : literal(open + close);
  const more = repeat(sequence(literal(", "), item), Math.max(0, min - 1), max === null ? null : max - 1);
  const items = sequence(item, more);
  return sequence(literal(open), min === 0 ? choice(items, nothing) : items, literal(close));
}

function emptyArray(min: number): Expression {
  return min > 0 ? choice() : literal("[]");
}

function plusOrMinus(): Expression {
  return choice(literal("+"), literal("-"));
}

function count(schema: Schema, keyword: string, path: string): number | null {
  const value = schema[keyword];
  if (value === undefined) return null;
  if (typeof value !== "number" || !Number.isInteger(value) || value < 0 || value > maxCount) {
    fail(path, `has a '${keyword}' that is no integer from 0 to ${maxCount}`);
  }
  return value;
}

function branches(value: unknown, keyword: string, path: string): readonly unknown[] {
  if (!Array.isArray(value) || value.length === 0) fail(path, `has an '${keyword}' that is no list of schemas`);
  return value;
}

/** The forms of keywords that are not supported in which they say nothing. */
function asksForNothing(keyword: string, value: unknown): boolean {
  return (
    (keyword === "uniqueItems" && value === false) ||
    (keyword === "minProperties" && value === 0) ||
    (keyword === "multipleOf" && value === 1)
  );
}

function isAnyString(schema: unknown): boolean {
  return (
    schema === true || (isSchema(schema) && Object.keys(schema).every((key) => key === "type" || annotations.has(key)))
  );
}

function isSchema(value: unknown): value is Schema {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isOfType(value: unknown, type: JsonType): boolean {
  switch (type) {
    case "object":
      return isSchema(value);
    case "array":
      return Array.isArray(value);
    case "integer":
      return Number.isInteger(value);
    case "null":
      return value === null;
    default:
      return typeof value === type;
  }
}

function sameJson(one: unknown, other: unknown): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}

function decodePointerPart(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

function fail(path: string, problem: string): never {
  throw new ToastError("invalid_request", `The JSON Schema cannot be used: ${path.slice(0, 200)} ${problem}.`);
}
