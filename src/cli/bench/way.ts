/**
 * How a token comes about: by the base alone; by two forwards, one for each pass (`sequential`); or by one forward that
 * carries the steered row and the bottom-up row of a draft (`draftAhead`); or by the base with three control vectors.
 */
export type Way = "plain" | "vectors" | "sequential" | "draftAhead";

export const wayLabels: Readonly<Record<Way, string>> = {
  plain: "plain",
  vectors: "three control vectors",
  sequential: "steered, two passes",
  draftAhead: "steered, draft ahead",
};
