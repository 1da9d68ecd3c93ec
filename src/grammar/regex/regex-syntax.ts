import { type AST, RegExpParser, RegExpSyntaxError } from "@eslint-community/regexpp";
import { ToastError } from "../../errors.js";

export type { AST };

/** Groups in groups: the parser is recursive. */
const maxDepth = 200;

/**
 * A regular expression's syntax tree: JavaScript's with `u`, and without it where `u` is too strict; some spellings of
 * Python's are taken. The only door to regexpp.
 * @throws ToastError `invalid_request` for what is no regular expression, with the place.
 */
export function regexSyntax(pattern: string): AST.Pattern {
  if (deepest(pattern) > maxDepth) throw unusable(`its groups are nested more than ${maxDepth} deep`);
  const tolerant = inStrictSpelling(pattern);
  const attempts = [
    () => parsed(pattern, true),
    () => parsed(tolerant, true),
    () => parsed(withoutForeignEscapes(tolerant), false),
  ];
  let problem: unknown = null;
  for (const attempt of attempts) {
    try {
      return attempt();
    } catch (cause) {
      if (!(cause instanceof RegExpSyntaxError)) throw cause;
      problem ??= cause;
    }
  }
  const { message, index } = problem as RegExpSyntaxError;
  const reason = message.replace(/^Invalid regular expression: \/.*\/u?: /s, "");
  throw unusable(`${reason.charAt(0).toLowerCase()}${reason.slice(1, 120)} (at ${index})`);
}

/** @returns an error to be thrown. @param problem what is wrong, as a part of a sentence */
export function unusable(problem: string): ToastError {
  return new ToastError("invalid_request", `The regular expression cannot be used: ${problem}.`);
}

function parsed(pattern: string, unicode: boolean): AST.Pattern {
  return new RegExpParser({ ecmaVersion: 2025 }).parsePattern(pattern, 0, pattern.length, { unicode });
}

/**
 * Needless backslashes in front of signs, Python's `(?P<name>…)`, and its anchors, as JavaScript's strict syntax has
 * them.
 */
function inStrictSpelling(pattern: string): string {
  return pattern.replace(/\\([\s\S])|\(\?P</g, (written, escaped: string | undefined) => {
    if (escaped === undefined) return "(?<";
    if (escaped === "A") return "^";
    if (escaped === "Z" || escaped === "z") return "$";
    if (!/^[ -~]$/.test(escaped) || /^[\w^$\\.*+?()[\]{}|/]$/.test(escaped)) return written;
    return `\\x${escaped.charCodeAt(0).toString(16)}`;
  });
}

/**
 * @throws ToastError `invalid_request` for an escape that means the letter itself in JavaScript, and something else
 *   elsewhere
 */
function withoutForeignEscapes(pattern: string): string {
  for (const [written, letter] of pattern.matchAll(/\\([\s\S])/g)) {
    if (/^[a-zA-Z]$/.test(letter ?? "") && !/^[bBcdDfknpPrsStuvwWx]$/.test(letter ?? ""))
      throw unusable(`'${written}' is not supported`);
  }
  return pattern;
}

/** Parentheses open at once at most, escaped ones and those of classes counted too. */
function deepest(pattern: string): number {
  let depth = 0;
  let most = 0;
  for (const character of pattern) {
    if (character === "(") most = Math.max(most, ++depth);
    else if (character === ")") depth = Math.max(0, depth - 1);
  }
  return most;
}
