import { allCodePoints, type CodePoints, codePoints, contains, difference, intersection } from "../code-points.js";
import { characters, choice, type Expression, literal, partsOf, repeat, sequence, withParts } from "../expression.js";

/** What a JSON string may hold as it is: anything but quotes, backslashes and control characters. */
const plainCharacters: CodePoints = difference(
  codePoints([0x20, 0xd7ff], [0xe000, 0x10ffff]),
  codePoints([0x22, 0x22], [0x5c, 0x5c]),
);
const shortEscapes: readonly (readonly [codePoint: number, text: string])[] = [
  [0x22, '\\"'],
  [0x5c, "\\\\"],
  [0x2f, "\\/"],
  [0x08, "\\b"],
  [0x09, "\\t"],
  [0x0a, "\\n"],
  [0x0c, "\\f"],
  [0x0d, "\\r"],
];
const astral: CodePoints = [[0x10000, 0x10ffff]];
const basic = difference(allCodePoints, astral);

/** The characters of `set` in all ways in which a JSON string may spell them. */
export function jsonCharacters(set: CodePoints): Expression {
  const plain = intersection(set, plainCharacters);
  const escapes = shortEscapes.filter(([codePoint]) => contains(set, codePoint)).map(([, text]) => literal(text));
  return choice(characters(plain), ...escapes, ...unicodeEscapes(set));
}

/** Any character within a JSON string. */
export const anyCharacter = jsonCharacters(allCodePoints);

/** All that may stand between the quotes. */
export const anyCharacters = repeat(anyCharacter, 0, null);

/** What texts are between the quotes of a JSON string. */
export function inJsonString(expression: Expression): Expression {
  if (expression.kind === "literal") {
    return sequence(
      ...[...expression.text].map((character) => {
        const code = character.codePointAt(0) as number;
        return jsonCharacters([[code, code]]);
      }),
    );
  }
  if (expression.kind === "class") return jsonCharacters(expression.set);
  // Parts that occur more than once stay the same object.
  const known = new Map(partsOf(expression).map((part) => [part, inJsonString(part)]));
  return withParts(expression, (part) => known.get(part) as Expression);
}

export function quoted(content: Expression): Expression {
  return sequence(literal('"'), content, literal('"'));
}

/** `\uXXXX`, and pairs of surrogates beyond the basic plane. */
function unicodeEscapes(set: CodePoints): readonly Expression[] {
  const short = intersection(set, basic).map(([from, to]) => escaped(from, to));
  const long = intersection(set, astral).flatMap(([from, to]) => surrogatePairs(from - 0x10000, to - 0x10000));
  return [...short, ...long];
}

/** @param from, to code points less 0x10000 */
function surrogatePairs(from: number, to: number): readonly Expression[] {
  const [first, last] = [from >> 10, to >> 10];
  const pair = (high: readonly [number, number], low: readonly [number, number]) =>
    sequence(escaped(0xd800 + high[0], 0xd800 + high[1]), escaped(0xdc00 + low[0], 0xdc00 + low[1]));
  if (first === last) return [pair([first, first], [from & 0x3ff, to & 0x3ff])];
  const between = last - first > 1 ? [pair([first + 1, last - 1], [0, 0x3ff])] : [];
  return [pair([first, first], [from & 0x3ff, 0x3ff]), ...between, pair([last, last], [0, to & 0x3ff])];
}

function escaped(from: number, to: number): Expression {
  return sequence(literal("\\u"), hexBetween(hex(from), hex(to)));
}

/** @param low, high of the same number of digits */
function hexBetween(low: string, high: string): Expression {
  if (low === "") return literal("");
  const [first, last] = [Number.parseInt(low.charAt(0), 16), Number.parseInt(high.charAt(0), 16)];
  const [lowRest, highRest] = [low.slice(1), high.slice(1)];
  const [least, most] = ["0".repeat(lowRest.length), "f".repeat(lowRest.length)];
  if ((first === last && lowRest !== "") || (lowRest === least && highRest === most))
    return sequence(hexDigits(first, last), hexBetween(lowRest, highRest));
  const options = [sequence(hexDigits(first, first), hexBetween(lowRest, most))];
  if (last - first > 1) options.push(sequence(hexDigits(first + 1, last - 1), hexBetween(least, most)));
  options.push(sequence(hexDigits(last, last), hexBetween(least, highRest)));
  return choice(...options);
}

/** Hexadecimal digits in either case. */
function hexDigits(from: number, to: number): Expression {
  const codes = "0123456789abcdefABCDEF"
    .split("")
    .filter((digit) => Number.parseInt(digit, 16) >= from && Number.parseInt(digit, 16) <= to)
    .map((digit): [number, number] => [digit.charCodeAt(0), digit.charCodeAt(0)]);
  return characters(codePoints(...codes));
}

function hex(code: number): string {
  return code.toString(16).padStart(4, "0");
}
