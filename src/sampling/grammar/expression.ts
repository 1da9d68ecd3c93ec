import { ToastError } from "../../errors.js";
import { allCodePoints, type CodePoints, difference, intersection } from "./code-points.js";

/** What a rule of a grammar is made of. */
export type Expression =
  | { readonly kind: "literal"; readonly text: string }
  | { readonly kind: "class"; readonly set: CodePoints }
  | { readonly kind: "sequence"; readonly parts: readonly Expression[] }
  | { readonly kind: "choice"; readonly options: readonly Expression[] }
  | { readonly kind: "repeat"; readonly part: Expression; readonly min: number; readonly max: number | null }
  | { readonly kind: "rule"; readonly name: string };

/** Rules by name; `root` is what the whole text has to be. */
export type Rules = ReadonlyMap<string, Expression>;

export const nothing: Expression = { kind: "literal", text: "" };

export function literal(text: string): Expression {
  return { kind: "literal", text };
}

export function sequence(...parts: readonly Expression[]): Expression {
  return parts.length === 1 && parts[0] !== undefined ? parts[0] : { kind: "sequence", parts };
}

/** No option at all is a language without a text: see {@link pruned}. */
export function choice(...options: readonly Expression[]): Expression {
  return options.length === 1 && options[0] !== undefined ? options[0] : { kind: "choice", options };
}

export function repeat(part: Expression, min: number, max: number | null): Expression {
  return { kind: "repeat", part, min, max };
}

export function rule(name: string): Expression {
  return { kind: "rule", name };
}

/**
 * The same grammar without its dead ends: what no finite text goes through must not be begun either.
 * @returns null when no text is left: a rule that needs itself, a class without a character.
 */
export function pruned(rules: Rules): Rules | null {
  const alive = new Set<string>();
  const isAlive = (expression: Expression): boolean => {
    switch (expression.kind) {
      case "literal":
        return true;
      case "class":
        return expression.set.length > 0;
      case "sequence":
        return expression.parts.every(isAlive);
      case "choice":
        return expression.options.some(isAlive);
      case "repeat":
        return expression.min === 0 || isAlive(expression.part);
      case "rule":
        return alive.has(expression.name);
    }
  };
  for (let before = -1; before < alive.size; ) {
    before = alive.size;
    for (const [name, expression] of rules) if (!alive.has(name) && isAlive(expression)) alive.add(name);
  }
  if (!alive.has("root")) return null;
  const prune = (expression: Expression): Expression => {
    switch (expression.kind) {
      case "sequence":
        return sequence(...expression.parts.map(prune));
      case "choice":
        return choice(...expression.options.filter(isAlive).map(prune));
      case "repeat":
        return isAlive(expression.part) ? repeat(prune(expression.part), expression.min, expression.max) : nothing;
      default:
        return expression;
    }
  };
  return new Map([...rules].filter(([name]) => alive.has(name)).map(([name, expression]) => [name, prune(expression)]));
}

/** The grammar in XGrammar's EBNF: `root`, and the rules that it needs. */
export function toEbnf(rules: Rules): string {
  const lines: string[] = [];
  const needed = new Set(["root"]);
  // A set grows while it is walked, and the walk goes on.
  for (const name of needed) {
    const expression = rules.get(name);
    if (expression === undefined) throw new Error(`the grammar has no rule ${name}`);
    addNames(expression, needed);
    lines.push(`${name} ::= ${print(expression)}\n`);
  }
  return lines.join("");
}

function addNames(expression: Expression, names: Set<string>): void {
  switch (expression.kind) {
    case "sequence":
      for (const part of expression.parts) addNames(part, names);
      break;
    case "choice":
      for (const option of expression.options) addNames(option, names);
      break;
    case "repeat":
      addNames(expression.part, names);
      break;
    case "rule":
      names.add(expression.name);
      break;
    default:
      break;
  }
}

function print(expression: Expression): string {
  switch (expression.kind) {
    case "literal":
      return `"${[...expression.text].map(escapedInLiteral).join("")}"`;
    case "class":
      return printClass(expression.set);
    case "sequence":
      return expression.parts.length === 0 ? '""' : `(${expression.parts.map(print).join(" ")})`;
    case "choice":
      return `(${expression.options.map(print).join(" | ")})`;
    case "repeat": {
      const { min, max } = expression;
      const count = max === null ? (min === 0 ? "*" : min === 1 ? "+" : `{${min},}`) : `{${min},${max}}`;
      return max === 0 ? '""' : `(${print(expression.part)})${count}`;
    }
    case "rule":
      return expression.name;
  }
}

function escapedInLiteral(character: string): string {
  const code = character.codePointAt(0) ?? 0;
  if (character === '"' || character === "\\") return `\\${character}`;
  return code < 0x20 || code === 0x7f ? name(code) : character;
}

/** Characters beyond ASCII that a class may list one by one. */
const maxListed = 512;
const ascii: CodePoints = [[0, 0x7f]];
const beyondAscii = difference(allCodePoints, ascii);

/**
 * XGrammar's build keeps the lowest eight bits of what a class holds, unless the class is negated or a single character. So a class
 * is ASCII, or negated ASCII, or its other characters are listed as texts.
 */
function printClass(set: CodePoints): string {
  const plain = intersection(set, ascii);
  const others = intersection(set, beyondAscii);
  const classOf = (ranges: CodePoints) =>
    ranges.map(([from, to]) => (from === to ? name(from) : `${name(from)}-${name(to)}`)).join("");
  if (others.length === 0) return `[${classOf(plain)}]`;
  if (difference(beyondAscii, others).length === 0) {
    const excluded = difference(ascii, plain);
    return `[^${classOf(excluded.length === 0 ? [[0, 0]] : excluded)}]`;
  }
  const listed = others.reduce((sum, [from, to]) => sum + to - from + 1, 0);
  if (listed > maxListed) {
    throw new ToastError(
      "invalid_request",
      `A class of characters has some of those beyond ASCII, and more than ${maxListed} of them. List fewer, or take all.`,
    );
  }
  const texts = others.flatMap(([from, to]) =>
    Array.from({ length: to - from + 1 }, (_, at) => `"${String.fromCodePoint(from + at)}"`),
  );
  return `(${[...(plain.length === 0 ? [] : [`[${classOf(plain)}]`]), ...texts].join(" | ")})`;
}

/** Letters and digits as they are, everything else by number: nothing in a class then has a meaning of its own. */
function name(code: number): string {
  const character = String.fromCharCode(code);
  return /^[A-Za-z0-9]$/.test(character) ? character : `\\u${code.toString(16).toUpperCase().padStart(4, "0")}`;
}
