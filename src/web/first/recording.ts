import { computed, signal } from "@preact/signals";
import { usualStrength } from "../sampling.js";
import { models, vectorsOfRoot } from "../session.js";
import { field, list, number, text } from "../wire/read.js";

/** What was answered to one prompt at several strengths of something that this server has, too. */
export interface Demonstration {
  readonly kind: "adapter" | "vector";
  readonly name: string;
  /** Of the base alone; with the adapter, its own. */
  readonly modelId: string;
  readonly root: string;
  readonly description: string | null;
  readonly prompt: string;
  readonly seed: number;
  /** From the lowest strength to the highest; one is at 0. */
  readonly answers: readonly { readonly strength: number; readonly text: string }[];
  /** The answer to begin with: as recommended, or the nearest to it. */
  readonly start: number;
}

/** The file as it lies beside this one; null until it has come, or where it does not. */
const recorded = signal<unknown>(null);

/** Brings the recording, once. Without it the first screen shows what can be asked. */
export async function loadRecording(): Promise<void> {
  if (recorded.value !== null) return;
  try {
    recorded.value = (await import("./recorded.json", { with: { type: "json" } })).default;
  } catch {
    // The server is of another version by now, or away; the page says the latter itself.
  }
}

/** What of the recording is served here: others would promise what nobody can try. */
export const demonstrations = computed<readonly Demonstration[]>(() => demonstrationsOf(recorded.value));

function demonstrationsOf(recording: unknown): readonly Demonstration[] {
  const root = text(field(recording, "model")) ?? "";
  const common = { root, seed: number(field(recording, "seed")) ?? 0 };
  const adapters = list(field(recording, "adapters")).flatMap((item): readonly Demonstration[] => {
    const name = text(field(item, "name"));
    const model = models.value.find((one) => one.root === root && one.adapter === name);
    if (name === null || model === undefined) return [];
    const said = saidOf(item, usualStrength(model));
    return [{ ...common, ...said, kind: "adapter", name, modelId: model.id, description: model.description }];
  });
  const vectors = list(field(recording, "vectors")).flatMap((item): readonly Demonstration[] => {
    const fingerprint = text(field(item, "fingerprint"));
    const vector = vectorsOfRoot(root).find((one) => one.fingerprint === fingerprint);
    if (vector === undefined) return [];
    const said = saidOf(item, vector.recommended?.[1] ?? 1);
    return [{ ...common, ...said, kind: "vector", name: vector.name, modelId: root, description: vector.description }];
  });
  return [...adapters, ...vectors];
}

function saidOf(item: unknown, usual: number): Pick<Demonstration, "prompt" | "answers" | "start"> {
  const answers = list(field(item, "answers")).flatMap((answer) => {
    const strength = number(field(answer, "strength"));
    return strength === null ? [] : [{ strength, text: text(field(answer, "text")) ?? "" }];
  });
  const distances = answers.map(({ strength }) => Math.abs(strength - usual));
  return {
    prompt: text(field(item, "prompt")) ?? "",
    answers,
    start: Math.max(0, distances.indexOf(Math.min(...distances))),
  };
}
