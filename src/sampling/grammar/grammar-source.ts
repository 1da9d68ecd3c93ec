import { ToastError } from "../../errors.js";
import type { OutputConstraint, TaggedJson } from "./constraint.js";
import { choice, type Expression, literal, pruned, type Rules, repeat, rule, sequence, toEbnf } from "./expression.js";
import { jsonObjectRules, jsonSchemaRules } from "./json-schema.js";
import { parseRegex } from "./regex.js";

/** What the grammar engine compiles. */
export interface GrammarSource {
  readonly kind: "ebnf" | "structuralTag";
  readonly text: string;
}

/** In UTF-16 units. Beyond these, compiling takes seconds. */
const limits = { schema: 200_000, regex: 4_000, grammar: 50_000, choices: 50_000, ebnf: 400_000 } as const;

/**
 * A constraint in the words of the grammar engine. Pure.
 * @throws ToastError `invalid_request` with the constraint's `param`: no valid schema or expression, too large, or without any text.
 */
export function grammarSource(constraint: OutputConstraint): GrammarSource {
  return named(constraint.param, () => sourceOf(constraint));
}

function sourceOf(constraint: OutputConstraint): GrammarSource {
  switch (constraint.kind) {
    case "jsonObject":
      return ebnf(jsonObjectRules());
    case "jsonSchema":
      return ebnf(schemaRules(constraint.schema));
    case "regex": {
      checkLength(constraint.pattern, limits.regex, "regular expression");
      return ebnf(new Map([["root", parseRegex(constraint.pattern).expression]]));
    }
    case "choice": {
      checkLength(constraint.options.join(""), limits.choices, "list of choices");
      return ebnf(new Map([["root", choice(...constraint.options.map(literal))]]));
    }
    case "grammar":
      checkLength(constraint.grammar, limits.grammar, "grammar");
      return { kind: "ebnf", text: constraint.grammar };
    case "tags":
      return tagsOnly(constraint);
    case "textWithTags":
      return tagsInText(constraint);
  }
}

/** A small model that may go on goes on without an end. */
const maxTags = 8;

function tagsOnly({ tags, separator, atMost }: Extract<OutputConstraint, { kind: "tags" }>): GrammarSource {
  const rules: [string, Expression][] = [];
  const pieces = tags.map((tag, index) => {
    const prefix = `tag${index}_`;
    for (const [name, expression] of tagRules(tag)) rules.push([prefix + name, prefixed(expression, prefix)]);
    return sequence(literal(tag.begin), rule(`${prefix}root`), literal(tag.end));
  });
  rules.push(["tag", choice(...pieces)]);
  const more = repeat(sequence(literal(separator), rule("tag")), 0, atMost === "one" ? 0 : maxTags - 1);
  return ebnf(new Map([...rules, ["root", sequence(rule("tag"), more)]]));
}

function tagsInText({ trigger, tags, atMost }: Extract<OutputConstraint, { kind: "textWithTags" }>): GrammarSource {
  const format = {
    type: "triggered_tags",
    triggers: [trigger],
    tags: tags.map((tag) => ({
      type: "tag",
      begin: tag.begin,
      content: { type: "grammar", grammar: named(tag.param, () => ebnf(tagRules(tag))).text },
      end: tag.end,
    })),
    at_least_one: false,
    stop_after_first: atMost === "one",
  };
  return { kind: "structuralTag", text: JSON.stringify({ type: "structural_tag", format }) };
}

function tagRules({ schema, param }: TaggedJson): Rules {
  return named(param, () => schemaRules(schema));
}

function prefixed(expression: Expression, prefix: string): Expression {
  switch (expression.kind) {
    case "rule":
      return rule(prefix + expression.name);
    case "sequence":
      return { kind: "sequence", parts: expression.parts.map((part) => prefixed(part, prefix)) };
    case "choice":
      return { kind: "choice", options: expression.options.map((option) => prefixed(option, prefix)) };
    case "repeat":
      return { ...expression, part: prefixed(expression.part, prefix) };
    default:
      return expression;
  }
}

function schemaRules(schema: string): Rules {
  checkLength(schema, limits.schema, "JSON Schema");
  return jsonSchemaRules(JSON.parse(schema));
}

function ebnf(rules: Rules): GrammarSource {
  const alive = pruned(rules);
  if (alive === null) {
    throw new ToastError(
      "invalid_request",
      "No finite text can fulfil what is asked of the output: it contradicts itself, or needs itself.",
    );
  }
  const text = toEbnf(alive);
  checkLength(text, limits.ebnf, "grammar that follows from it");
  return { kind: "ebnf", text };
}

function checkLength(text: string, limit: number, what: string): void {
  if (text.length > limit) {
    throw new ToastError("invalid_request", `The ${what} has ${text.length} characters; at most ${limit} are taken.`);
  }
}

/** Puts the field's name on what `make` refuses, unless it has one. */
function named<Result>(param: string, make: () => Result): Result {
  try {
    return make();
  } catch (cause) {
    if (!(cause instanceof ToastError) || cause.param !== null) throw cause;
    throw new ToastError(cause.code, cause.message, { param, cause });
  }
}
