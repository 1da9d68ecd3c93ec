import { ToastError } from "../../errors.js";
import { choice, type Expression, nothing, partsOf, type Rules, repeat, sequence } from "../expression.js";

/** An alternative of a rule: what it begins with, and the rest. */
interface Alternative {
  readonly head: Expression;
  readonly rest: readonly Expression[];
}

/** Alternatives of one rule: they multiply where rules that begin with each other are written out. */
const maxAlternatives = 2_000;

/**
 * The same texts by rules none of which begins with itself, which a reader from left to right would follow without an
 * end: `sum ::= sum "+" n | n` becomes `sum ::= n ("+" n)*`.
 * @throws ToastError `invalid_request` where a rule comes back to itself behind a part that may be empty
 * @see M. C. Paull's algorithm: Aho, Lam, Sethi, Ullman, Compilers, algorithm 4.19
 */
export function withoutLeftRecursion(rules: Rules): Rules {
  const starts = startsOf(rules);
  const recursive = [...rules.keys()].filter((name) => reaches(name, name, starts));
  if (recursive.length === 0) return rules;
  const written = new Map(rules);
  const done: string[] = [];
  for (const name of recursive) {
    const own = rules.get(name) as Expression;
    let alternatives = alternativesOf(own);
    for (const earlier of done) {
      alternatives = alternatives.flatMap((alternative) =>
        beginsWith(alternative, earlier)
          ? alternativesOf(written.get(earlier) as Expression).map(({ head, rest }) => ({
              head,
              rest: [...rest, ...alternative.rest],
            }))
          : [alternative],
      );
      if (alternatives.length > maxAlternatives) throw tooEntangled(name);
    }
    // What is nothing but the rule itself adds no text.
    const again = alternatives.filter((one) => beginsWith(one, name) && one.rest.length > 0);
    const others = alternatives.filter((one) => !beginsWith(one, name));
    const tails = again.map(({ rest }) => sequence(...rest));
    const bases = others.map(({ head, rest }) => sequence(head, ...rest));
    written.set(name, sequence(choice(...bases), repeat(choice(...tails), 0, tails.length === 0 ? 0 : null)));
    done.push(name);
  }
  const left = startsOf(written);
  const stuck = [...written.keys()].find((name) => reaches(name, name, left));
  if (stuck !== undefined) throw tooEntangled(stuck);
  return written;
}

function alternativesOf(expression: Expression): readonly Alternative[] {
  if (expression.kind === "choice") return expression.options.flatMap(alternativesOf);
  if (expression.kind !== "sequence") return [{ head: expression, rest: [] }];
  const [first, ...rest] = expression.parts;
  if (first === undefined) return [{ head: nothing, rest: [] }];
  return alternativesOf(first).map((inner) => ({ head: inner.head, rest: [...inner.rest, ...rest] }));
}

function beginsWith({ head }: Alternative, name: string): boolean {
  return head.kind === "rule" && head.name === name;
}

/** The rules that each rule may begin with. */
function startsOf(rules: Rules): ReadonlyMap<string, ReadonlySet<string>> {
  const nullable = new Set<string>();
  const mayBeEmpty = (expression: Expression): boolean => {
    switch (expression.kind) {
      case "literal":
        return expression.text === "";
      case "sequence":
        return expression.parts.every(mayBeEmpty);
      case "choice":
        return expression.options.some(mayBeEmpty);
      case "repeat":
        return expression.min === 0 || mayBeEmpty(expression.part);
      case "rule":
        return nullable.has(expression.name);
      default:
        return false;
    }
  };
  for (let before = -1; before < nullable.size; ) {
    before = nullable.size;
    for (const [name, expression] of rules) if (mayBeEmpty(expression)) nullable.add(name);
  }
  const firstRules = (expression: Expression): readonly string[] => {
    if (expression.kind === "rule") return [expression.name];
    if (expression.kind !== "sequence") return partsOf(expression).flatMap(firstRules);
    const solid = expression.parts.findIndex((part) => !mayBeEmpty(part));
    return expression.parts.slice(0, solid === -1 ? undefined : solid + 1).flatMap(firstRules);
  };
  return new Map([...rules].map(([name, expression]) => [name, new Set(firstRules(expression))]));
}

function reaches(from: string, to: string, starts: ReadonlyMap<string, ReadonlySet<string>>): boolean {
  const seen = new Set(starts.get(from));
  // A set grows while it is walked, and the walk goes on.
  for (const name of seen) for (const next of starts.get(name) ?? []) seen.add(next);
  return seen.has(to);
}

function tooEntangled(name: string): ToastError {
  return new ToastError(
    "invalid_request",
    `The grammar cannot be used: the rule '${name.slice(0, 40)}' begins with itself in a way that cannot be written out. Use repetition, as in '(item ",")* item'.`,
  );
}
