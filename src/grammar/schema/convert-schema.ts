import { type Json, JsonNumber } from "../../json-tree.js";
import { isTextOf } from "../automaton/is-text-of.js";
import { choice, type Expression, nothing, type Rules, rule } from "../expression.js";
import { arrayValue } from "./arrays.js";
import { anyConstant, fittingConstants } from "./constants.js";
import type { SchemaContext } from "./context.js";
import { areAllDisjoint } from "./disjoint.js";
import { quoted } from "./json-characters.js";
import { anyJson } from "./json-text.js";
import { mergeSchemas } from "./merge.js";
import { normalized } from "./normalize.js";
import { boundedNumber } from "./numbers.js";
import { objectValue } from "./objects.js";
import { References } from "./references.js";
import {
  annotations,
  binds,
  fail,
  isSchema,
  type JsonType,
  keywordsOf,
  type Leniency,
  type Schema,
  strict,
  typesOf,
  unsupported,
  unsupportedKeywords,
} from "./schema.js";
import { stringContent } from "./strings.js";

/** Schemas within schemas, references followed included. */
const maxDepth = 60;
const maxRules = 20_000;
/** Schemas looked at, with all the places that refer to them: combinations of combinations multiply. */
const maxVisits = 20_000;

/** The grammar of any JSON object. */
export function jsonObjectRules(): Rules {
  return new Map([...anyJson, ["root", rule("any_object")]]);
}

/**
 * A JSON Schema as a grammar, which can write every value that the schema allows, and no other: properties in the
 * schema's order, values of `enum` and `const` as they are written there. What a schema merely does not forbid is not
 * written: properties beside those that it names, items behind a prefix, values of other types than its keywords are
 * about.
 *
 * @param leniency what becomes of a keyword that cannot be kept; refused unless said otherwise
 * @throws ToastError `invalid_request` with a sentence about the place in the schema.
 */
export function jsonSchemaRules(schema: Json, leniency: Leniency = strict): Rules {
  return new SchemaConverter(schema, leniency).rules();
}

class SchemaConverter {
  readonly #root: Json;
  readonly #leniency: Leniency;
  readonly #references: References;
  readonly #rules = new Map<string, Expression>(anyJson);
  /** Rules of schemas that were met, so that one that refers to itself comes to an end. */
  readonly #names = new Map<Schema, string>();
  #visits = 0;
  #depth = 0;

  constructor(root: Json, leniency: Leniency) {
    this.#root = root;
    this.#leniency = leniency;
    this.#references = new References(root, leniency);
  }

  rules(): Rules {
    const root = this.#value(this.#root, "#");
    this.#rules.set("root", root);
    return this.#rules;
  }

  /** @param path of the schema, for messages. */
  #value(schema: Json, path: string): Expression {
    if (schema === true) return rule("any");
    if (schema === false) return choice();
    if (!isSchema(schema)) fail(path, "is no schema: an object or a boolean is needed");
    const known = this.#names.get(schema);
    if (known !== undefined) return rule(known);
    const name = this.#newName();
    this.#names.set(schema, name);
    this.#depth++;
    this.#rules.set(name, this.#written(schema, path));
    this.#depth--;
    return rule(name);
  }

  #written(schema: Schema, path: string): Expression {
    this.#visit(path);
    const alias = this.#alias(schema, path);
    if (alias !== null) return this.#value(alias.schema, alias.path);
    const flat = this.#flat(schema, path);
    if (flat === true) return rule("any");
    if (flat === false) return choice();
    this.#checkKeywords(flat, path);
    for (const keyword of ["anyOf", "oneOf"] as const) {
      if (flat.has(keyword)) return this.#combination(flat, keyword, path);
    }
    const constants = fittingConstants(flat, path);
    if (constants !== null) {
      return anyConstant(constants.filter((value) => this.#allows(flat, value, path)));
    }
    const types = typesOf(flat, path);
    if (types === null) return rule("any");
    const isIntegerToo = types.includes("number");
    const distinct = types.filter((type) => type !== "integer" || !isIntegerToo);
    return choice(...distinct.map((type) => this.#typed(type, flat, path)));
  }

  /** Whether a constant keeps to what stands beside it. */
  #allows(schema: Schema, value: Json, path: string): boolean {
    const type = kindOf(value);
    if (!hasKeywords(schema, type)) return true;
    if (type === "string") {
      const content = stringContent(schema, path, this.#leniency);
      return content === null || isTextOf(quoted(content), JSON.stringify(value));
    }
    if (value instanceof JsonNumber) {
      const numbers = boundedNumber("number", schema, path, this.#leniency);
      return numbers === null || isTextOf(numbers, value.text);
    }
    this.#leniency.unsupported(
      path,
      `has '${keywordsOf[type].find((key) => schema.has(key))}' beside 'enum' or 'const', which is not supported`,
    );
    return true;
  }

  /** A schema that says nothing but what another one says. */
  #alias(schema: Schema, path: string): { readonly schema: Json; readonly path: string } | null {
    const keywords = [...schema.keys()].filter((keyword) => !annotations.has(keyword) && schema.get(keyword) !== null);
    const [only, second] = keywords;
    if (second !== undefined) return null;
    const value = only === undefined ? undefined : schema.get(only);
    if (only === "$ref") {
      if (typeof value !== "string") fail(path, "has a '$ref' that is no string");
      return { schema: this.#resolved(schema, value, path), path: value };
    }
    if (only !== "allOf" || !Array.isArray(value) || value.length !== 1) return null;
    return { schema: (value as readonly Json[])[0] as Json, path: `${path}/allOf/0` };
  }

  #resolved(schema: Schema, reference: string, path: string): Json {
    return this.#references.resolve(reference, schema, path);
  }

  #visit(path: string): void {
    if (this.#depth > maxDepth) unsupported(path, `is nested, or refers to itself, more than ${maxDepth} deep`);
    if (++this.#visits > maxVisits)
      unsupported("#", `is too large: its combinations multiply to more than ${maxVisits} schemas`);
  }

  #checkKeywords(schema: Schema, path: string): void {
    for (const [keyword, value] of schema) {
      if (unsupportedKeywords.has(keyword) && !(isSchema(value) && value.size === 0 && keyword !== "contains"))
        this.#leniency.unsupported(path, `uses '${keyword}', which is not supported`);
    }
  }

  /** A schema with `$ref` and `allOf` written out into it. */
  #flat(schema: Json, path: string): Schema | boolean {
    if (typeof schema === "boolean") return schema;
    if (!isSchema(schema)) fail(path, "is no schema: an object or a boolean is needed");
    this.#visit(path);
    this.#depth++;
    const words = normalized(schema);
    const parts: Json[] = [new Map([...words].filter(([keyword]) => keyword !== "$ref" && keyword !== "allOf"))];
    const reference = words.get("$ref");
    if (reference !== undefined) {
      if (typeof reference !== "string") fail(path, "has a '$ref' that is no string");
      parts.push(this.#flat(this.#resolved(schema, reference, path), path));
    }
    if (words.has("allOf")) for (const part of branches(words, "allOf", path)) parts.push(this.#flat(part, path));
    this.#depth--;
    return parts.reduce((merged, part) => mergeSchemas(merged, part, path)) as Schema | boolean;
  }

  #combination(schema: Schema, keyword: "anyOf" | "oneOf", path: string): Expression {
    const rest = new Map([...schema].filter(([key]) => key !== keyword));
    const hasSiblings = [...rest.keys()].some(binds);
    const options = branches(schema, keyword, path).map((option) =>
      hasSiblings ? mergeSchemas(rest, this.#flat(option, path), path) : option,
    );
    if (keyword === "oneOf") this.#checkDisjoint(options, path);
    // Thousands of constants are one list.
    const constants = options.map((option) => this.#onlyConstants(option, path));
    const others = [...options.entries()].filter(([index]) => constants[index] === null);
    return choice(
      anyConstant(constants.flatMap((values) => values ?? [])),
      ...others.map(([index, option]) => this.#value(option, `${path}/${keyword}/${index}`)),
    );
  }

  /** @returns null for a schema that says more, or less, than which values there are. */
  #onlyConstants(schema: Json, path: string): readonly Json[] | null {
    if (!isSchema(schema) || schema.has("$ref") || schema.has("allOf")) return null;
    const words = normalized(schema);
    const isAll = [...words.keys()].every((word) => ["const", "enum", "type"].includes(word) || annotations.has(word));
    return isAll ? fittingConstants(words, path) : null;
  }

  #checkDisjoint(options: readonly Json[], path: string): void {
    const flatten = (schema: Json) => this.#flat(schema, path);
    if (areAllDisjoint(options.map(flatten), flatten)) return;
    this.#leniency.unsupported(
      path,
      "has a 'oneOf' whose alternatives could fit the same value; use 'anyOf', or give each a constant property",
    );
  }

  #typed(type: JsonType, schema: Schema, path: string): Expression {
    switch (type) {
      case "object":
        return hasKeywords(schema, type) ? objectValue(schema, path, this.#context) : rule("any_object");
      case "array":
        return hasKeywords(schema, type) ? arrayValue(schema, path, this.#context) : rule("any_array");
      case "string": {
        const content = stringContent(schema, path, this.#leniency);
        return content === null ? rule("any_string") : quoted(content);
      }
      case "number":
      case "integer":
        return boundedNumber(type, schema, path, this.#leniency) ?? rule(`any_${type}`);
      case "boolean":
      case "null":
        return rule(`any_${type}`);
    }
  }

  readonly #context: SchemaContext = {
    leniency: { unsupported: (path, problem) => this.#leniency.unsupported(path, problem) },
    value: (schema, path) => this.#value(schema, path),
    flat: (schema, path) => this.#flat(schema, path),
    named: (expression) => this.#named(expression),
  };

  /** An expression that is used twice becomes a rule, so that it is walked once. */
  #named(expression: Expression): Expression {
    if (expression.kind === "rule" || expression.kind === "literal") return expression;
    const name = this.#newName();
    this.#rules.set(name, expression);
    return rule(name);
  }

  #newName(): string {
    if (this.#rules.size > maxRules)
      unsupported("#", "is too large: it has more than some thousand properties and alternatives");
    const name = `r${this.#rules.size}`;
    // Takes the place, for whoever needs a name before this one has its expression.
    this.#rules.set(name, nothing);
    return name;
  }
}

function hasKeywords(schema: Schema, type: JsonType): boolean {
  return keywordsOf[type].some((keyword) => schema.has(keyword));
}

function kindOf(value: Json): JsonType {
  if (value === null) return "null";
  if (Array.isArray(value)) return "array";
  if (isSchema(value)) return "object";
  return typeof value === "string" ? "string" : typeof value === "boolean" ? "boolean" : "number";
}

function branches(schema: Schema, keyword: string, path: string): readonly Json[] {
  const value = schema.get(keyword);
  if (!Array.isArray(value) || value.length === 0) return fail(path, `has an '${keyword}' that is no list of schemas`);
  return value as readonly Json[];
}
