import type { Settings } from "../../sampling.js";
import { readSampling } from "../../sampling-fields.js";
import { field, list, text } from "../../wire/read.js";

/** A system prompt with its sampling, by a name. Model and steering are no part: they are what is tried on it. */
export interface Preset extends Pick<Settings, "systemPrompt" | "sampling"> {
  readonly name: string;
}

/** In characters. */
export const longestName = 60;
export function readPresets(stored: unknown): readonly Preset[] {
  return list(stored).flatMap((item) => {
    const name = text(field(item, "name"))?.trim().slice(0, longestName) ?? "";
    if (name === "") return [];
    const sampling = readSampling(field(item, "sampling"), () => null);
    return [{ name, systemPrompt: text(field(item, "systemPrompt")) ?? "", sampling }];
  });
}
