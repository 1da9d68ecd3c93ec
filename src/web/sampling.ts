import type { Signal } from "@preact/signals";
import { storedSignal } from "./parts/stored.js";
import { readSampling, type Sampling, samplingFields } from "./sampling-fields.js";
import { readStack, type VectorStack } from "./vector-stack.js";
import { fields, number, text } from "./wire/read.js";
import type { ModelEntry } from "./wire/server.js";

export interface Settings {
  /** Served id; empty: the page chooses. */
  readonly model: string;
  /** Of the adapter; null: never moved, so each adapter has the one that is recommended for it. */
  readonly strength: number | null;
  readonly vectors: VectorStack;
  readonly systemPrompt: string;
  readonly sampling: Sampling;
}

export function readSettings(stored: unknown): Settings {
  const { model, strength, vectors, systemPrompt, sampling } = fields(stored);
  return {
    model: text(model) ?? "",
    strength: readStrength(strength),
    vectors: readStack(vectors),
    systemPrompt: text(systemPrompt) ?? "",
    sampling: readSampling(sampling, (name) => samplingFields.find((one) => one.name === name)?.start ?? null),
  };
}

function readStrength(stored: unknown): number | null {
  const value = number(stored);
  return value === null ? null : Math.min(maxStrength, Math.max(0, value));
}

/** As trained, where nobody recommends another. */
export function usualStrength(model: ModelEntry | null): number {
  return model?.recommendedStrength ?? 1;
}

/**
 * The strength of a model's adapter in the next answer; null for a model without one.
 * @param chosen as it was set; null: it never was.
 */
export function strengthOf(model: ModelEntry, chosen: number | null): number | null {
  return model.adapter === null ? null : (chosen ?? usualStrength(model));
}

/** The slider's end: past what was trained, before the text falls apart for good. */
export const maxStrength = 2;

export const settings: Signal<Settings> = storedSignal("toast-serve:settings", readSettings, localStorage);
