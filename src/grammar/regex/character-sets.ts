import { allCodePoints, type CodePoints, codePoints, complement, union } from "../code-points.js";
import { type AST, unusable } from "./regex-syntax.js";

const digits = codePoints([0x30, 0x39]);
const wordCharacters = codePoints([0x30, 0x39], [0x41, 0x5a], [0x5f, 0x5f], [0x61, 0x7a]);
/** ECMAScript's WhiteSpace and LineTerminator. */
const spaces = codePoints(
  [0x09, 0x0d],
  [0x20, 0x20],
  [0xa0, 0xa0],
  [0x1680, 0x1680],
  [0x2000, 0x200a],
  [0x2028, 0x2029],
  [0x202f, 0x202f],
  [0x205f, 0x205f],
  [0x3000, 0x3000],
  [0xfeff, 0xfeff],
);
const lineEnds = codePoints([0x0a, 0x0a], [0x0d, 0x0d], [0x2028, 0x2029]);

/**
 * The characters that a part of a regular expression stands for.
 * @throws ToastError `invalid_request` for sets of strings
 */
export function characterSet(
  element: AST.Character | AST.CharacterSet | AST.CharacterClass | AST.CharacterClassRange,
): CodePoints {
  switch (element.type) {
    case "Character":
      return single(element.value);
    case "CharacterClassRange":
      return intersectionWithAll([element.min.value, element.max.value]);
    case "CharacterClass": {
      const set = union(...element.elements.map((part) => classElement(part)));
      return element.negate ? complement(set) : set;
    }
    case "CharacterSet":
      return knownSet(element);
  }
}

function classElement(
  element: AST.ClassRangesCharacterClassElement | AST.UnicodeSetsCharacterClassElement,
): CodePoints {
  switch (element.type) {
    case "Character":
    case "CharacterClassRange":
    case "CharacterSet":
    case "CharacterClass":
      return characterSet(element);
    default:
      throw unusable("classes with operators are not supported");
  }
}

function knownSet(set: AST.CharacterSet): CodePoints {
  switch (set.kind) {
    case "any":
      return complement(lineEnds);
    case "digit":
      return set.negate ? complement(digits) : digits;
    case "space":
      return set.negate ? complement(spaces) : spaces;
    case "word":
      return set.negate ? complement(wordCharacters) : wordCharacters;
    case "property":
      return propertySet(set.raw);
  }
}

const properties = new Map<string, CodePoints>();

/**
 * @param raw `\p{…}` or `\P{…}`, checked by the parser; which characters have a property the JavaScript engine knows.
 */
function propertySet(raw: string): CodePoints {
  const known = properties.get(raw);
  if (known !== undefined) return known;
  const hasProperty = new RegExp(`^${raw}$`, "u");
  const ranges: [number, number][] = [];
  for (const [from, to] of allCodePoints) {
    for (let code = from; code <= to; code++) {
      if (!hasProperty.test(String.fromCodePoint(code))) continue;
      const last = ranges.at(-1);
      if (last !== undefined && last[1] === code - 1) last[1] = code;
      else ranges.push([code, code]);
    }
  }
  const set = codePoints(...ranges);
  properties.set(raw, set);
  return set;
}

function single(code: number): CodePoints {
  return intersectionWithAll([code, code]);
}

/** Half of a surrogate pair is no character of any text. */
function intersectionWithAll([from, to]: readonly [number, number]): CodePoints {
  const within = allCodePoints.flatMap(([low, high]): [number, number][] => {
    const [start, end] = [Math.max(from, low), Math.min(to, high)];
    return start <= end ? [[start, end]] : [];
  });
  return codePoints(...within);
}
