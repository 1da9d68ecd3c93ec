import { InvalidArgumentError } from "commander";

/** What can be measured in an engine, in the order in which it is. */
export const sections = [
  "prefill",
  "contexts",
  "acceptance",
  "decode",
  "guesses",
  "reports",
  "masks",
  "bandwidth",
  "health",
  "soak",
  "peer",
] as const;
export type Section = (typeof sections)[number];
/**
 * Only when they are asked for: the soak is minutes long and no matter of speed, guesses need long answers, reports and
 * masks are what few requests want, and a peer (--peer) is not everywhere.
 */
const extraSections: readonly Section[] = ["guesses", "reports", "masks", "soak", "peer"];
export const defaultSections: readonly Section[] = sections.filter((section) => !extraSections.includes(section));

/** Parses `decode,prefill`. @throws InvalidArgumentError */
export function parseSections(text: string): readonly Section[] {
  const names = text.split(",");
  const unknown = names.find((name) => !sections.some((section) => section === name));
  if (unknown !== undefined) throw new InvalidArgumentError(`Allowed are ${sections.join(", ")}, with commas between.`);
  return sections.filter((section) => names.includes(section));
}
