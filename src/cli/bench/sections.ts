import { InvalidArgumentError } from "commander";

/** What can be measured in an engine, in the order in which it is. */
export const sections = ["prefill", "contexts", "acceptance", "decode", "bandwidth", "health", "soak"] as const;
export type Section = (typeof sections)[number];
/** Minutes long, and no matter of speed: only when it is asked for. */
export const defaultSections: readonly Section[] = sections.filter((section) => section !== "soak");

/** Parses `decode,prefill`. @throws InvalidArgumentError */
export function parseSections(text: string): readonly Section[] {
  const names = text.split(",");
  const unknown = names.find((name) => !sections.some((section) => section === name));
  if (unknown !== undefined) throw new InvalidArgumentError(`Allowed are ${sections.join(", ")}, with commas between.`);
  return sections.filter((section) => names.includes(section));
}
