import type { CodePointRange, CodePoints } from "../code-points.js";
import type { ByteRange } from "./byte-set.js";

/** Last code points of one, two and three bytes. */
const lastOfLength = [0x7f, 0x7ff, 0xffff] as const;

/**
 * The UTF-8 of a set of characters: sequences of byte ranges, each of which stands for all its combinations. Overlong
 * spellings and surrogates do not occur.
 * @see Russ Cox, "Regular Expression Matching in the Wild" (2010): UTF-8 automata
 */
export function utf8Sequences(set: CodePoints): readonly (readonly ByteRange[])[] {
  return set.flatMap(sequencesOf);
}

function sequencesOf([from, to]: CodePointRange): readonly (readonly ByteRange[])[] {
  for (const last of lastOfLength) {
    if (from <= last && to > last) return [...sequencesOf([from, last]), ...sequencesOf([last + 1, to])];
  }
  if (to <= 0x7f) return [[[from, to]]];
  // Where the ends differ in a leading byte, all bytes behind it have to be free.
  for (let bits = 6; bits <= 18; bits += 6) {
    const low = (1 << bits) - 1;
    if (from >> bits === to >> bits) continue;
    if ((from & low) !== 0) return [...sequencesOf([from, from | low]), ...sequencesOf([(from | low) + 1, to])];
    if ((to & low) !== low) return [...sequencesOf([from, (to & ~low) - 1]), ...sequencesOf([to & ~low, to])];
  }
  const [first, last] = [utf8Of(from), utf8Of(to)];
  return [first.map((byte, at): ByteRange => [byte, last[at] as number])];
}

function utf8Of(codePoint: number): readonly number[] {
  return [...new TextEncoder().encode(String.fromCodePoint(codePoint))];
}
