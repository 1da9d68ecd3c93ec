import { type SamplingDefaults, samplingDefaultsSchema } from "../../model/manifest.js";
import type { GgufMetadata } from "./gguf-metadata.js";

const prefix = "general.sampling.";
/** What the wire calls what a GGUF file recommends. */
const names: ReadonlyMap<string, keyof SamplingDefaults> = new Map([
  ["temp", "temperature"],
  ["top_p", "top_p"],
  ["top_k", "top_k"],
  ["min_p", "min_p"],
  ["penalty_repeat", "repetition_penalty"],
]);

/** The sampling that a GGUF file recommends, and sentences about what of it is left out. */
export function samplingFromGguf(metadata: GgufMetadata): {
  readonly sampling: SamplingDefaults;
  readonly warnings: readonly string[];
} {
  const sampling: Record<string, number> = {};
  const warnings: string[] = [];
  for (const key of metadata.keys) {
    if (!key.startsWith(prefix)) continue;
    const found = metadata.find(key);
    const name = names.get(key.slice(prefix.length));
    const value = typeof found?.value === "number" ? shortest(found.value) : null;
    if (name === undefined) {
      warnings.push(`${key} is a recommendation that is not carried over.`);
    } else if (value !== null && samplingDefaultsSchema.shape[name].safeParse(value).success) {
      sampling[name] = value;
    } else {
      warnings.push(`${key} recommends ${value ?? "no number"}, which is out of bounds, and is left out.`);
    }
  }
  return { sampling, warnings };
}

/** A float32 as its maker wrote it: 0.2, not 0.20000000298023224. */
function shortest(value: number): number {
  const digits = Array.from({ length: 9 }, (_, index) => Number(value.toPrecision(index + 1)));
  return digits.find((candidate) => Math.fround(candidate) === Math.fround(value)) ?? value;
}
