import type { CodePoints } from "./code-points.js";

/** What a rule of a grammar is made of: a language of texts, written in Unicode scalar values. */
export type Expression =
  | { readonly kind: "literal"; readonly text: string }
  | { readonly kind: "class"; readonly set: CodePoints }
  | { readonly kind: "sequence"; readonly parts: readonly Expression[] }
  | { readonly kind: "choice"; readonly options: readonly Expression[] }
  | { readonly kind: "repeat"; readonly part: Expression; readonly min: number; readonly max: number | null }
  /** Texts that all parts have. No part refers to a rule. */
  | { readonly kind: "intersection"; readonly parts: readonly Expression[] }
  /** Texts that `part` does not have, of any bytes: of use within an intersection only. It refers to no rule. */
  | { readonly kind: "complement"; readonly part: Expression }
  /**
   * Decimal numbers without sign and exponent that are multiples of `unit` / 10^`decimals`; what a number looks like
   * another part says.
   */
  | { readonly kind: "multiple"; readonly unit: number; readonly decimals: number }
  /**
   * Items parted by `separator`, no two of which have the same value. `item` is of JSON scalars, and refers to no rule.
   */
  | {
      readonly kind: "distinct";
      readonly item: Expression;
      readonly separator: Expression;
      readonly min: number;
      readonly max: number | null;
    }
  | { readonly kind: "rule"; readonly name: string };

/** Rules by name; `root` is what the whole text has to be. */
export type Rules = ReadonlyMap<string, Expression>;

export const nothing: Expression = { kind: "literal", text: "" };

export function literal(text: string): Expression {
  return { kind: "literal", text };
}

export function characters(set: CodePoints): Expression {
  return { kind: "class", set };
}

export function sequence(...parts: readonly Expression[]): Expression {
  return parts.length === 1 && parts[0] !== undefined ? parts[0] : { kind: "sequence", parts };
}

/** No option at all is a language without a text. */
export function choice(...options: readonly Expression[]): Expression {
  return options.length === 1 && options[0] !== undefined ? options[0] : { kind: "choice", options };
}

export function repeat(part: Expression, min: number, max: number | null): Expression {
  return { kind: "repeat", part, min, max };
}

export function optional(part: Expression): Expression {
  return repeat(part, 0, 1);
}

export function intersection(...parts: readonly Expression[]): Expression {
  return parts.length === 1 && parts[0] !== undefined ? parts[0] : { kind: "intersection", parts };
}

export function complement(part: Expression): Expression {
  return { kind: "complement", part };
}

export function rule(name: string): Expression {
  return { kind: "rule", name };
}

/** The expressions that an expression is made of. */
export function partsOf(expression: Expression): readonly Expression[] {
  switch (expression.kind) {
    case "sequence":
    case "intersection":
      return expression.parts;
    case "choice":
      return expression.options;
    case "repeat":
    case "complement":
      return [expression.part];
    case "distinct":
      return [expression.item, expression.separator];
    default:
      return [];
  }
}

/** The same expression of other parts. @param change of each part, not of the parts' parts. */
export function withParts(expression: Expression, change: (part: Expression) => Expression): Expression {
  switch (expression.kind) {
    case "sequence":
      return sequence(...expression.parts.map(change));
    case "intersection":
      return intersection(...expression.parts.map(change));
    case "choice":
      return choice(...expression.options.map(change));
    case "repeat":
      return repeat(change(expression.part), expression.min, expression.max);
    case "complement":
      return complement(change(expression.part));
    case "distinct":
      return { ...expression, item: change(expression.item), separator: change(expression.separator) };
    default:
      return expression;
  }
}
