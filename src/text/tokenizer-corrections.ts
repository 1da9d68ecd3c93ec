/** A part of tokenizer.json that prepares text, as far as it is looked at here. */
interface PartSpecification {
  readonly type: string;
  readonly pattern?: { readonly Regex?: string };
  readonly pretokenizers?: readonly PartSpecification[];
  readonly individual_digits?: boolean;
  readonly use_regex?: boolean;
  readonly add_prefix_space?: boolean;
}

/** GPT-2's words, as the `ByteLevel` step of the Python library parts them. */
const gpt2Words = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

const split = (regex: string) => ({ type: "Split", pattern: { Regex: regex }, behavior: "Isolated", invert: false });

/**
 * The `pre_tokenizer` of a tokenizer.json in words that the JavaScript library reads as the Python library reads the
 * original. They differ in what a digit, a blank and a letter are:
 *
 * - `Digits` parts every character of Unicode's number classes (½, ①, Ⅷ, ١), not 0 to 9 alone.
 * - The words of `ByteLevel` have Unicode's white space: with U+0085, without U+FEFF.
 * - In `(?i:…)` of a `Split`, `s` is also ſ (U+017F) and `k` the Kelvin sign (U+212A).
 *
 * The rest of a `Split`'s regular expression is translated rightly, so the other steps become such.
 */
export function correctedPreTokenizer(specification: unknown): unknown {
  if (typeof specification !== "object" || specification === null) return specification;
  const part = specification as PartSpecification;
  switch (part.type) {
    case "Sequence":
      return { ...part, pretokenizers: (part.pretokenizers ?? []).map(correctedPreTokenizer) };
    case "Split":
      return part.pattern?.Regex === undefined
        ? part
        : { ...part, pattern: { Regex: foldedRegex(part.pattern.Regex) } };
    case "Digits":
      return split(part.individual_digits === true ? "\\p{N}" : "\\p{N}+");
    case "ByteLevel": {
      if (part.use_regex === false) return part;
      const bytes = { ...part, use_regex: false, add_prefix_space: false };
      // The space comes before the words are parted, where there is none yet.
      const space = { type: "Replace", pattern: { Regex: "\\A(?! )" }, content: " " };
      const before = part.add_prefix_space === true ? [space] : [];
      return { type: "Sequence", pretokenizers: [...before, split(gpt2Words), bytes] };
    }
    default:
      return part;
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
