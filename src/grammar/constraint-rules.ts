import { ToastError } from "../errors.js";
import { parseJsonTree } from "../json-tree.js";
import { allCodePoints } from "./code-points.js";
import type { OutputConstraint, TaggedJson } from "./constraint.js";
import {
  characters,
  choice,
  complement,
  type Expression,
  intersection,
  literal,
  optional,
  type Rules,
  repeat,
  rule,
  sequence,
  withParts,
} from "./expression.js";
import { parseGbnf } from "./gbnf/parse-gbnf.js";
import { textsMatching } from "./regex/parse-regex.js";
import { jsonObjectRules, jsonSchemaRules } from "./schema/convert-schema.js";
import { lenient, UnsupportedSchema } from "./schema/schema.js";

/** In UTF-16 units. */
const limits = { schema: 200_000, regex: 10_000, grammar: 100_000, choices: 200_000 } as const;

/**
 * A constraint as the rules of a grammar. Pure.
 * @throws ToastError `invalid_request` with the constraint's `param`: no valid schema, expression or grammar, or too
 *   large
 */
export function constraintRules(constraint: OutputConstraint): Rules {
  return named(constraint.param, () => rulesOf(constraint));
}

function rulesOf(constraint: OutputConstraint): Rules {
  switch (constraint.kind) {
    case "jsonObject":
      return jsonObjectRules();
    case "jsonSchema":
      checkLength(constraint.schema, limits.schema, "JSON Schema");
      return jsonSchemaRules(parseJsonTree(constraint.schema));
    case "regex":
      checkLength(constraint.pattern, limits.regex, "regular expression");
      return new Map([["root", textsMatching(constraint.pattern)]]);
    case "choice":
      checkLength(constraint.options.join(""), limits.choices, "list of choices");
      return new Map([["root", choice(...constraint.options.map(literal))]]);
    case "grammar":
      checkLength(constraint.grammar, limits.grammar, "grammar");
      return parseGbnf(constraint.grammar);
    case "tags":
      return tagsOnly(constraint);
    case "textWithTags":
      return tagsInText(constraint);
    case "tagsOr":
      return either(tagsOnly(constraint.tags), constraintRules(constraint.other));
  }
}

/** A small model that may go on goes on without an end. */
const maxTags = 8;

function tagsOnly({ tags, separator, atMost }: Extract<OutputConstraint, { kind: "tags" }>): Rules {
  const more = repeat(sequence(literal(separator), rule("tag")), 0, atMost === "one" ? 0 : maxTags - 1);
  return new Map([...taggedRules(tags), ["root", sequence(rule("tag"), more)]]);
}

function tagsInText({ trigger, tags, atMost }: Extract<OutputConstraint, { kind: "textWithTags" }>): Rules {
  const anyText = repeat(characters(allCodePoints), 0, null);
  const text = intersection(anyText, complement(sequence(anyText, literal(trigger), anyText)));
  const parts = sequence(rule("tag"), atMost === "one" ? literal("") : rule("text"));
  return new Map([...taggedRules(tags), ["text", sequence(text, optional(parts))], ["root", rule("text")]]);
}

/** A rule `tag`, and those that it needs. */
function taggedRules(tags: readonly TaggedJson[]): readonly (readonly [string, Expression])[] {
  const rules: (readonly [string, Expression])[] = [];
  const pieces = tags.map((tag, index) => {
    const prefix = `tag${index}_`;
    rules.push(...prefixed(tagRules(tag), prefix));
    return sequence(literal(tag.begin), rule(`${prefix}root`), literal(tag.end));
  });
  return [...rules, ["tag", choice(...pieces)]];
}

/**
 * What is asked for strictly, or not: a tool of someone else's with an odd schema must not keep the others from being
 * called.
 */
function tagRules({ schema, isStrict, param }: TaggedJson): Rules {
  return named(param, () => {
    checkLength(schema, limits.schema, "JSON Schema");
    const tree = parseJsonTree(schema);
    if (isStrict) return jsonSchemaRules(tree);
    try {
      return jsonSchemaRules(tree, lenient);
    } catch (cause) {
      if (!(cause instanceof UnsupportedSchema)) throw cause;
      return jsonObjectRules();
    }
  });
}

function either(one: Rules, other: Rules): Rules {
  return new Map([...prefixed(one, "a_"), ...prefixed(other, "b_"), ["root", choice(rule("a_root"), rule("b_root"))]]);
}

function prefixed(rules: Rules, prefix: string): readonly (readonly [string, Expression])[] {
  // Parts that occur more than once stay the same object.
  const known = new Map<Expression, Expression>();
  const renamed = (expression: Expression): Expression => {
    const made =
      known.get(expression) ??
      (expression.kind === "rule" ? rule(prefix + expression.name) : withParts(expression, renamed));
    known.set(expression, made);
    return made;
  };
  return [...rules].map(([name, expression]) => [prefix + name, renamed(expression)]);
}

function checkLength(text: string, limit: number, what: string): void {
  if (text.length > limit) {
    throw new ToastError("invalid_request", `The ${what} has ${text.length} characters; at most ${limit} are taken.`);
  }
}

/**
 * Puts the field's name on what `make` refuses, unless it has one. Rules are walked recursively: those that leave no
 * room on the thread's stack are refused as well.
 */
export function named<Result>(param: string, make: () => Result): Result {
  try {
    return make();
  } catch (cause) {
    if (cause instanceof RangeError) {
      const message =
        "The grammar of the output is too long, or nested too deep, to be followed. Ask for less at once.";
      throw new ToastError("invalid_request", message, { param, cause });
    }
    if (!(cause instanceof ToastError) || cause.param !== null) throw cause;
    throw new ToastError(cause.code, cause.message, { param, cause });
  }
}
