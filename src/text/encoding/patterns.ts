import type { PatternSpecification } from "./specification.js";
import { SplitPreTokenizer } from "./vendor.js";

/** How the pieces of a split go together: the Python library's words. */
export const splitBehaviors = ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"] as const;
export type SplitBehavior = (typeof splitBehaviors)[number];

/** Unicode's white space: with U+0085, without U+FEFF, unlike JavaScript's `\s`. */
export const whiteSpace = "\\p{White_Space}";
/** What is a word's to Rust's `\w`. */
export const wordCharacter = "[\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\p{Join_Control}]";

/**
 * A pattern as Oniguruma reads it, in JavaScript's regular expressions. The vendor translates them; in `(?i:…)`, `s` is
 * also ſ (U+017F) and `k` the Kelvin sign (U+212A), which it leaves out.
 * @throws Error for what has no translation
 */
export function regexOf({ String: text, Regex: regex }: PatternSpecification = {}): RegExp {
  if (text === undefined && regex === undefined) throw new Error("a pattern is neither String nor Regex");
  // An empty text is found nowhere.
  if (text === "") return /(?!)/gu;
  const pattern = regex === undefined ? { String: text ?? "" } : { Regex: foldedRegex(regex) };
  const made = new SplitPreTokenizer({ type: "Split", pattern, invert: true }).pattern;
  if (made === null) throw new Error("a pattern cannot be read");
  return made;
}

/**
 * Parts a text by a pattern, as `NormalizedString::split` of the Python library's core does.
 * @param isInverted whether what lies between is what is found
 * @returns no empty pieces
 */
export function split(text: string, pattern: RegExp, behavior: SplitBehavior, isInverted = false): string[] {
  const spans: { text: string; isFound: boolean }[] = [];
  let end = 0;
  for (const { 0: found, index } of text.matchAll(pattern)) {
    // Nothing is found where the last one ended.
    if (found === "" && index === end && index > 0) continue;
    if (index > end) spans.push({ text: text.slice(end, index), isFound: isInverted });
    spans.push({ text: found, isFound: !isInverted });
    end = index + found.length;
  }
  if (end < text.length) spans.push({ text: text.slice(end), isFound: isInverted });
  return joined(spans, behavior).filter((piece) => piece !== "");
}

function joined(spans: readonly { readonly text: string; readonly isFound: boolean }[], behavior: SplitBehavior) {
  switch (behavior) {
    case "Isolated":
      return spans.map(({ text }) => text);
    case "Removed":
      return spans.filter(({ isFound }) => !isFound).map(({ text }) => text);
    case "Contiguous":
    case "MergedWithPrevious": {
      const pieces: string[] = [];
      let wasFound: boolean | null = null;
      for (const { text, isFound } of spans) {
        const isJoined = behavior === "Contiguous" ? isFound === wasFound : isFound && wasFound !== true;
        if (isJoined && pieces.length > 0) pieces[pieces.length - 1] += text;
        else pieces.push(text);
        wasFound = isFound;
      }
      return pieces;
    }
    case "MergedWithNext": {
      const pieces: string[] = [];
      let wasFound = false;
      for (const { text, isFound } of spans.toReversed()) {
        if (isFound && !wasFound && pieces.length > 0) pieces[pieces.length - 1] = text + pieces.at(-1);
        else pieces.push(text);
        wasFound = isFound;
      }
      return pieces.reverse();
    }
  }
}

/** Letters beyond ASCII that are, without regard to case, one of ASCII. */
const twins: Readonly<Record<string, string>> = { s: "\u017f", k: "\u212a" };

/** Writes these out in each `(?i:…)` without groups inside: beside the letter, and in the classes that name it. */
function foldedRegex(regex: string): string {
  return regex.replace(/\(\?i:((?:\\.|[^()\\])*)\)/gs, (_, body: string) => {
    const folded = body.replace(/\\.|\[\^?((?:\\.|[^\]\\])*)\]|[sk]/gis, (atom, members: string | undefined) => {
      if (members === undefined)
        return twins[atom.toLowerCase()] === undefined ? atom : `[${atom}${twins[atom.toLowerCase()]}]`;
      const named = new Set(members.replace(/\\./gs, "").toLowerCase());
      const added = Object.entries(twins).filter(([letter]) => named.has(letter));
      if (added.length === 0) return atom;
      // A hyphen at the end stays one.
      return `${atom.slice(0, -1).replace(/-$/, "\\-")}${added.map(([, twin]) => twin).join("")}]`;
    });
    return `(?i:${folded})`;
  });
}
