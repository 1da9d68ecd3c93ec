import type { Signal } from "@preact/signals";
import { storedSignal } from "./parts/stored.js";
import { readSampling, type Sampling, samplingFields } from "./sampling-fields.js";
import { readStack, type VectorStack } from "./vector-stack.js";
import { fields, number, text } from "./wire/read.js";

export interface Settings {
  /** Served id; empty: the page chooses. */
  readonly model: string;
  readonly strength: number;
  readonly vectors: VectorStack;
  readonly systemPrompt: string;
  readonly sampling: Sampling;
}

export function readSettings(stored: unknown): Settings {
  const { model, strength, vectors, systemPrompt, sampling } = fields(stored);
  return {
    model: text(model) ?? "",
    strength: Math.min(maxStrength, Math.max(0, number(strength) ?? 1)),
    vectors: readStack(vectors),
    systemPrompt: text(systemPrompt) ?? "",
    sampling: readSampling(sampling, (name) => samplingFields.find((one) => one.name === name)?.start ?? null),
  };
}

/** The slider's end: past what was trained, before the text falls apart for good. */
export const maxStrength = 2;

export const settings: Signal<Settings> = storedSignal("toast-serve:settings", readSettings, localStorage);
