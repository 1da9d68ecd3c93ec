import { inByteCharacters } from "./byte-characters.js";
import { regexOf, whiteSpace } from "./patterns.js";
import type { PartSpecification } from "./specification.js";

export type Normalizer = (text: string) => string;

const leadingSpace = new RegExp(`^${whiteSpace}+`, "u");
const trailingSpace = new RegExp(`${whiteSpace}+$`, "u");

/**
 * What is done to a text before it is parted.
 * @returns null for nothing
 * @throws Error for a kind that would not be done exactly
 */
export function normalizerOf(part: PartSpecification | null | undefined): Normalizer | null {
  if (part === null || part === undefined) return null;
  switch (part.type) {
    case "Sequence": {
      const steps = (part.normalizers ?? []).map((step) => normalizerOf(step));
      return (text) => steps.reduce<string>((so, step) => step?.(so) ?? so, text);
    }
    case "NFC":
    case "NFD":
    case "NFKC":
    case "NFKD": {
      const { type } = part;
      return (text) => text.normalize(type);
    }
    case "Prepend": {
      const { prepend = "" } = part;
      return (text) => (text === "" ? "" : prepend + text);
    }
    case "Replace": {
      const pattern = regexOf(part.pattern);
      const { content = "" } = part;
      return (text) => text.replace(pattern, () => content);
    }
    case "Strip": {
      const { strip_left: left, strip_right: right } = part;
      return (text) => {
        const begun = left === true ? text.replace(leadingSpace, "") : text;
        return right === true ? begun.replace(trailingSpace, "") : begun;
      };
    }
    // Letter by letter: the last sigma of a word is like the others.
    case "Lowercase":
      return (text) => [...text].map((character) => character.toLowerCase()).join("");
    case "ByteLevel":
      return inByteCharacters;
    default:
      throw new Error(`its normalizer ${part.type} is not supported`);
  }
}
