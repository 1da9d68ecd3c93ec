/** A sentence ends with its mark and a space, or with a line; a lone "1." does not. */
const ends = /(?<=\S{2})[.!?…]["')\]]*\s|\n/g;

/**
 * Cuts growing text into whole sentences, for a screen reader: told word by word an answer is noise, told at its end it
 * comes late.
 * @param from how much of `text` has been told.
 * @param complete whether no more will come; the rest is then told as it is.
 * @returns the new sentences, and how far they reach.
 */
export function newSentences(
  text: string,
  from: number,
  complete: boolean,
): { readonly sentences: readonly string[]; readonly told: number } {
  const sentences: string[] = [];
  let told = from;
  const push = (end: number) => {
    const sentence = text.slice(told, end).trim();
    if (sentence !== "") sentences.push(sentence);
    told = end;
  };
  ends.lastIndex = from;
  for (let match = ends.exec(text); match !== null; match = ends.exec(text)) push(match.index + match[0].length);
  if (complete) push(text.length);
  return { sentences, told };
}
