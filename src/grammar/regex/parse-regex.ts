import { allCodePoints } from "../code-points.js";
import {
  characters,
  choice,
  complement,
  type Expression,
  intersection,
  nothing,
  optional,
  repeat,
  sequence,
} from "../expression.js";
import { characterSet } from "./character-sets.js";
import { type AST, regexSyntax, unusable } from "./regex-syntax.js";

const maxRepetitions = 100_000;
const anyText = repeat(characters(allCodePoints), 0, null);

/**
 * The texts that match a regular expression as a whole.
 * @throws ToastError `invalid_request` as {@link textsWithMatch}
 */
export function textsMatching(pattern: string): Expression {
  return alternatives(regexSyntax(pattern), nothing, true);
}

/**
 * The texts in which a regular expression has a match somewhere, which is what JSON Schema's `pattern` means.
 * @throws ToastError `invalid_request` for what is no regular expression of JavaScript's, or describes no regular
 *   language: back references, lookbehind, word boundaries, lookahead within what repeats.
 */
export function textsWithMatch(pattern: string): Expression {
  const syntax = regexSyntax(pattern);
  const atStart = alternatives(syntax, anyText, true);
  if (isTiedToStart(syntax)) return atStart;
  return choice(atStart, sequence(characters(allCodePoints), anyText, alternatives(syntax, anyText, false)));
}

/**
 * @param rest what follows, to the end of the text: an assertion is about all of it.
 * @param isStart whether nothing of the text stands in front.
 */
function alternatives(
  { alternatives: options }: { readonly alternatives: readonly AST.Alternative[] },
  rest: Expression,
  isStart: boolean,
): Expression {
  return choice(...options.map(({ elements }) => elementsThen(elements, rest, isStart)));
}

function elementsThen(elements: readonly AST.Element[], rest: Expression, isStart: boolean): Expression {
  const firstWithWidth = elements.findIndex(({ type }) => type !== "Assertion");
  const parts: Expression[] = [];
  let following = rest;
  const flush = () => {
    following = parts.length === 0 ? following : sequence(...parts.toReversed(), following);
    parts.length = 0;
  };
  for (const [index, element] of [...elements.entries()].toReversed()) {
    if (!hasAssertion(element)) parts.push(plain(element));
    else {
      flush();
      const isFirst = isStart && (firstWithWidth === -1 || index <= firstWithWidth);
      following = withAssertions(element, following, isFirst);
    }
  }
  flush();
  return following;
}

/** An element that says something of what is around it, with all that follows. */
function withAssertions(element: AST.Element, rest: Expression, isStart: boolean): Expression {
  switch (element.type) {
    case "Assertion":
      return asserted(element, rest, isStart);
    case "Group":
    case "CapturingGroup":
      refuseModifiers(element);
      return alternatives(element, rest, isStart);
    case "Quantifier": {
      const { min, max } = element;
      if (max === 0) return rest;
      if (max > 1) throw unusable("assertions such as '^', '$' and lookahead within what repeats are not supported");
      const once = withAssertions(element.element, rest, isStart);
      return min === 0 ? choice(rest, once) : once;
    }
    default:
      return sequence(plain(element), rest);
  }
}

function asserted(assertion: AST.Assertion, rest: Expression, isStart: boolean): Expression {
  switch (assertion.kind) {
    case "start":
      return isStart ? rest : choice();
    case "end":
      return intersection(rest, nothing);
    case "lookahead": {
      const ahead = alternatives(assertion, anyText, isStart);
      return intersection(rest, assertion.negate ? complement(ahead) : ahead);
    }
    case "lookbehind":
      throw unusable("lookbehind is not supported");
    case "word":
      throw unusable("word boundaries ('\\b', '\\B') are not supported");
  }
}

/** An element without assertions. */
function plain(element: AST.Element): Expression {
  switch (element.type) {
    case "Character":
    case "CharacterSet":
    case "CharacterClass":
      return characters(characterSet(element));
    case "Group":
    case "CapturingGroup":
      refuseModifiers(element);
      return choice(...element.alternatives.map(({ elements }) => sequence(...elements.map(plain))));
    case "Quantifier": {
      const { min, max } = element;
      if (Math.max(min, max === Number.POSITIVE_INFINITY ? 0 : max) > maxRepetitions) {
        throw unusable(`it repeats a part more than ${maxRepetitions} times`);
      }
      const part = plain(element.element);
      if (min === 0 && max === 1) return optional(part);
      return repeat(part, min, max === Number.POSITIVE_INFINITY ? null : max);
    }
    case "Backreference":
      throw unusable(`back references ('${element.raw.slice(0, 40)}') are not supported`);
    case "ExpressionCharacterClass":
      throw unusable("classes with operators are not supported");
    case "Assertion":
      throw new Error("an assertion is no plain element");
  }
}

function refuseModifiers(group: AST.Group | AST.CapturingGroup): void {
  if (group.type === "Group" && group.modifiers !== null) throw unusable("inline flags are not supported");
}

function hasAssertion(element: AST.Element): boolean {
  switch (element.type) {
    case "Assertion":
      return true;
    case "Group":
    case "CapturingGroup":
      return element.alternatives.some(({ elements }) => elements.some(hasAssertion));
    case "Quantifier":
      return hasAssertion(element.element);
    default:
      return false;
  }
}

/** Whether a match can begin at the beginning only: it would be looked for elsewhere in vain. */
function isTiedToStart({ alternatives: options }: { readonly alternatives: readonly AST.Alternative[] }): boolean {
  return options.every(({ elements: [first] }) => {
    if (first?.type === "Assertion") return first.kind === "start";
    return (first?.type === "Group" || first?.type === "CapturingGroup") && isTiedToStart(first);
  });
}
