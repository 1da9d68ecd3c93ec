import { inByteCharacters } from "./byte-characters.js";
import { regexOf, type SplitBehavior, split, splitBehaviors, whiteSpace, wordCharacter } from "./patterns.js";
import type { PartSpecification } from "./specification.js";

/** Parts a piece further. @param isFirst whether it begins where the whole text begins */
export type PreTokenizer = (piece: string, isFirst: boolean) => readonly string[];

/** GPT-2's words, as `ByteLevel` parts them. */
const gpt2Words = regexOf({
  Regex: "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+",
});
const punctuation = /[!-/:-@[-`{-~\p{P}]/gu;
const space = new RegExp(whiteSpace, "gu");
const words = new RegExp(`${wordCharacter}+|(?:(?!${wordCharacter})(?!${whiteSpace})[^])+`, "gu");
/** Of Unicode's number classes: ½, ①, Ⅷ and ١ as well as 0 to 9. */
const numeric = { each: /\p{N}/gu, runs: /\p{N}+/gu };

/**
 * Where a text is parted before pieces are made: none reaches over a part's end.
 * @returns null for nowhere
 * @throws Error for a kind that would not be done exactly
 */
export function preTokenizerOf(part: PartSpecification | null | undefined): PreTokenizer | null {
  if (part === null || part === undefined) return null;
  switch (part.type) {
    case "Sequence":
      return sequence((part.pretokenizers ?? []).map(preTokenizerOf));
    case "ByteLevel": {
      const addsSpace = part.add_prefix_space !== false;
      const parts = part.use_regex !== false;
      return (piece) => {
        const begun = addsSpace && !piece.startsWith(" ") ? ` ${piece}` : piece;
        return (parts ? split(begun, gpt2Words, "Isolated") : [begun]).map(inByteCharacters);
      };
    }
    case "Metaspace":
      return metaspace(part);
    case "Split": {
      const pattern = regexOf(part.pattern);
      const behavior = behaviorOf(part.behavior);
      const isInverted = part.invert === true;
      return (piece) => split(piece, pattern, behavior, isInverted);
    }
    case "Digits": {
      const pattern = part.individual_digits === true ? numeric.each : numeric.runs;
      return (piece) => split(piece, pattern, "Isolated");
    }
    case "Punctuation": {
      const behavior = behaviorOf(part.behavior ?? "Isolated");
      return (piece) => split(piece, punctuation, behavior);
    }
    case "Whitespace":
      return (piece) => split(piece, words, "Removed", true);
    case "WhitespaceSplit":
      return (piece) => split(piece, space, "Removed");
    case "CharDelimiterSplit": {
      const pattern = regexOf({ String: part.delimiter ?? "" });
      return (piece) => split(piece, pattern, "Removed");
    }
    case "BertPreTokenizer":
      return (piece) => split(piece, space, "Removed").flatMap((word) => split(word, punctuation, "Isolated"));
    default:
      throw new Error(`its pre-tokenizer ${part.type} is not supported`);
  }
}

function sequence(steps: readonly (PreTokenizer | null)[]): PreTokenizer {
  return (text, isFirst) =>
    steps.reduce<readonly string[]>(
      (pieces, step) => (step === null ? pieces : pieces.flatMap((piece, at) => step(piece, isFirst && at === 0))),
      [text],
    );
}

function metaspace(part: PartSpecification): PreTokenizer {
  const { replacement = "▁" } = part;
  const scheme = part.add_prefix_space === false ? "never" : (part.prepend_scheme ?? "always");
  const pattern = regexOf({ String: replacement });
  return (piece, isFirst) => {
    const marked = piece.replaceAll(" ", replacement);
    const isMarked = marked.startsWith(replacement);
    const begins = !isMarked && (scheme === "always" || (scheme === "first" && isFirst));
    const begun = begins ? replacement + marked : marked;
    return part.split === false ? [begun] : split(begun, pattern, "MergedWithNext");
  };
}

function behaviorOf(word: string | undefined): SplitBehavior {
  const known = splitBehaviors.find((behavior) => behavior === word);
  if (known === undefined) throw new Error(`its pre-tokenizer splits by '${String(word)}', which is not known`);
  return known;
}
