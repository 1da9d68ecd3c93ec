import { computed, type Signal } from "@preact/signals";
import { sharedSignal } from "../../parts/stored.js";
import { settings } from "../../sampling.js";
import { longestName, type Preset, readPresets } from "./presets-format.js";

/** More would be no choice any more. */
export const mostPresets = 100;

/** By their names, in the order of the alphabet. */
export const presets: Signal<readonly Preset[]> = sharedSignal("toast-serve:presets", readPresets);

/** The preset that the settings are as they stand; null where they are none. */
export const chosenPreset = computed<Preset | null>(() => {
  const { systemPrompt, sampling } = settings.value;
  return presets.value.find((preset) => isSame(preset, { systemPrompt, sampling })) ?? null;
});

function isSame(one: Omit<Preset, "name">, other: Omit<Preset, "name">): boolean {
  const key = ({ systemPrompt, sampling }: Omit<Preset, "name">) =>
    JSON.stringify([systemPrompt, Object.entries(sampling).toSorted(([a], [b]) => a.localeCompare(b))]);
  return key(one) === key(other);
}

export function choosePreset({ systemPrompt, sampling }: Preset): void {
  settings.value = { ...settings.value, systemPrompt, sampling };
}

/** Saves the settings as they stand; what had the name before is replaced. */
export function savePreset(name: string): void {
  const { systemPrompt, sampling } = settings.value;
  putPreset({ name: name.trim().slice(0, longestName), systemPrompt, sampling });
}

export function putPreset(preset: Preset): void {
  const others = presets.value.filter(({ name }) => name !== preset.name);
  presets.value = [...others, preset].toSorted((one, next) => one.name.localeCompare(next.name));
}

export function deletePreset(preset: Preset): void {
  presets.value = presets.value.filter(({ name }) => name !== preset.name);
}
