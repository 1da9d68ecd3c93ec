import type { Json } from "../../json-tree.js";
import { isTextOf } from "../automaton/is-text-of.js";
import { choice, complement, type Expression, intersection, literal, nothing, sequence } from "../expression.js";
import { textsWithMatch } from "../regex/parse-regex.js";
import type { SchemaContext } from "./context.js";
import { anyCharacters, inJsonString, quoted } from "./json-characters.js";
import { bracketed, colon, comma, items } from "./json-text.js";
import { constantsOf, mergeSchemas } from "./merge.js";
import { count, fail, isSchema, type Schema, unsupported } from "./schema.js";
import { patternContent, stringContent } from "./strings.js";

interface Member {
  readonly isRequired: boolean;
  readonly expression: Expression;
}

/**
 * The objects that a schema allows: its properties in their order, then others. Where it names properties, others are
 * written only if it says which (`additionalProperties` and its like): that they are not forbidden is not that they are
 * meant.
 */
export function objectValue(schema: Schema, path: string, context: SchemaContext): Expression {
  const properties = membersOf(schema, "properties", path);
  const patterns = membersOf(schema, "patternProperties", path);
  const required = namesOf(schema, path);
  const written = schema.get("additionalProperties") ?? schema.get("unevaluatedProperties");
  const names = [...new Set([...properties.keys(), ...required])];
  const fitting = names.filter((name) => mayBeNamed(name, schema, path, context));
  if (required.some((name) => !fitting.includes(name))) return choice();
  const members = fitting.map((name): Member => {
    const value = schemaOfMember(name, { properties, patterns, others: written ?? true });
    const key = literal(JSON.stringify(name));
    const expression = sequence(key, colon, context.value(value, `${path}/properties/${name}`));
    return { isRequired: required.includes(name), expression: context.named(expression) };
  });
  const others = written ?? (names.length === 0 && !schema.has("properties"));
  const extra = context.named(otherMembers(schema, { names, patterns, others }, path, context));
  const min = count(schema, "minProperties", path) ?? 0;
  const max = count(schema, "maxProperties", path);
  const mayRepeat = others !== false || patterns.size > 0;
  if (mayRepeat && min > required.length + 1) {
    // Nothing keeps one of the other names from being written twice.
    context.leniency.unsupported(
      path,
      "uses 'minProperties' with properties that it does not name, which is not supported",
    );
  }
  return bracketed("{", memberList(members, mayRepeat ? extra : null, { min, max }, context), "}");
}

/** @param extra any other member; null where there is none. */
function memberList(
  members: readonly Member[],
  extra: Expression | null,
  { min, max }: { readonly min: number; readonly max: number | null },
  context: SchemaContext,
): Expression {
  /** Members that are counted: all beyond are alike. */
  const most = Math.max(1, Math.min(min, members.length), Math.min(max ?? 0, members.length) + 1);
  const others = (used: number): Expression => {
    const [least, left] = [Math.max(0, min - used), max === null ? null : max - used];
    if (left !== null && left < 0) return choice();
    if (extra === null || left === 0) return least === 0 ? nothing : choice();
    const some = items(extra, used === 0 ? least : Math.max(1, least), left);
    return used === 0 ? some : least > 0 ? sequence(comma, some) : choice(nothing, sequence(comma, some));
  };
  // From the last to the first, for each count of members in front.
  let following = Array.from({ length: most + 1 }, (_, used) => context.named(others(used)));
  for (const { isRequired, expression } of members.toReversed()) {
    following = following.map((without, used) => {
      const next = following[Math.min(most, used + 1)] as Expression;
      const here = sequence(used === 0 ? nothing : comma, expression, next);
      return context.named(isRequired ? here : choice(here, without));
    });
  }
  return following[0] as Expression;
}

interface MemberSchemas {
  readonly properties: Schema;
  readonly patterns: Schema;
  readonly others: Json;
}

/** What the value of a named member has to be. */
function schemaOfMember(name: string, { properties, patterns, others }: MemberSchemas): Json {
  const own = properties.get(name);
  const matching = [...patterns].filter(([pattern]) => isTextOf(textsWithMatch(pattern), name));
  const all = [...(own === undefined ? [] : [own]), ...matching.map(([, schema]) => schema)];
  if (all.length === 0) return others;
  return all.length === 1 ? (all[0] as Json) : new Map([["allOf", all]]);
}

/** Members of other names than the schema's own: for each combination of patterns that a name may match. */
function otherMembers(
  schema: Schema,
  { names, patterns, others }: { readonly names: readonly string[]; readonly patterns: Schema; readonly others: Json },
  path: string,
  context: SchemaContext,
): Expression {
  const own = names.map((name) => inJsonString(literal(name)));
  const allowed = keyContent(schema, path, context) ?? anyCharacters;
  const unnamed = own.length === 0 ? [] : [complement(choice(...own))];
  const keys = [...patterns].flatMap(([pattern, value]) => {
    const content = patternContent(pattern, path, context.leniency);
    return content.map((texts) => ({ texts, value }));
  });
  if (keys.length > maxPatterns) unsupported(path, `has more than ${maxPatterns} 'patternProperties'`);
  const options = Array.from({ length: 2 ** keys.length }, (_, combination) => {
    const parts = keys.map(({ texts }, at) => ((combination >> at) & 1 ? texts : complement(texts)));
    const values = keys.filter((_, at) => (combination >> at) & 1).map(({ value }) => value);
    const value =
      values.length === 0 ? others : values.length === 1 ? (values[0] as Json) : new Map([["allOf", values]]);
    if (value === false) return choice();
    const key = quoted(intersection(allowed, ...unnamed, ...parts));
    return sequence(key, colon, context.value(value, `${path}/additionalProperties`));
  });
  return choice(...options);
}

const maxPatterns = 4;

/** What `propertyNames` allows between the quotes of a key. @returns null where that is anything. */
function keyContent(schema: Schema, path: string, context: SchemaContext): Expression | null {
  const names = schema.get("propertyNames");
  if (names === undefined) return null;
  const flat = context.flat(names, `${path}/propertyNames`);
  if (flat === true) return null;
  if (flat === false) return choice();
  const words = mergeSchemas(flat, new Map([["type", "string"]]), path) as Schema;
  const constants = constantsOf(words);
  if (constants !== null) {
    return choice(...constants.flatMap((value) => (typeof value === "string" ? [inJsonString(literal(value))] : [])));
  }
  for (const keyword of ["anyOf", "oneOf"]) {
    if (flat.has(keyword))
      context.leniency.unsupported(path, `has 'propertyNames' with '${keyword}', which is not supported`);
  }
  return stringContent(flat, path, context.leniency);
}

function mayBeNamed(name: string, schema: Schema, path: string, context: SchemaContext): boolean {
  const content = keyContent(schema, path, context);
  return content === null || isTextOf(quoted(content), JSON.stringify(name));
}

function membersOf(schema: Schema, keyword: string, path: string): Schema {
  const members = schema.get(keyword) ?? new Map<string, Json>();
  return isSchema(members) ? members : fail(path, `has '${keyword}' that are no object`);
}

function namesOf(schema: Schema, path: string): readonly string[] {
  const required = schema.get("required") ?? [];
  if (!Array.isArray(required) || !required.every((name: Json) => typeof name === "string"))
    return fail(path, "has a 'required' that is no list of names");
  return required as readonly string[];
}
