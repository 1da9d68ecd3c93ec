import { useState } from "preact/hooks";
import { focusSoon, takeFocus } from "../../parts/take-focus.js";
import { choosePreset, chosenPreset, deletePreset, presets, putPreset } from "./presets.js";
import type { Preset } from "./presets-format.js";

/** System prompts with their sampling to come back to; nothing until one has been saved. */
export function PresetChoice() {
  const [deleted, setDeleted] = useState<Preset | null>(null);
  const chosen = chosenPreset.value;
  if (presets.value.length === 0 && deleted === null) return null;
  return (
    <div class="field">
      {presets.value.length === 0 ? null : (
        <>
          <label for="preset">Preset</label>
          <div class="preset-row">
            <select
              id="preset"
              value={chosen?.name ?? ""}
              onChange={({ currentTarget }) => {
                const preset = presets.value.find(({ name }) => name === currentTarget.value);
                if (preset !== undefined) choosePreset(preset);
              }}
            >
              <option value="" disabled={chosen === null}>
                as set below
              </option>
              {presets.value.map(({ name }) => (
                <option key={name} value={name}>
                  {name}
                </option>
              ))}
            </select>
            {chosen === null ? null : (
              <button
                type="button"
                class="quiet"
                onClick={() => {
                  deletePreset(chosen);
                  setDeleted(chosen);
                }}
              >
                Delete preset
              </button>
            )}
          </div>
        </>
      )}
      {deleted === null ? null : (
        <p class="hint">
          <span role="status">
            Deleted <bdi>“{deleted.name}”</bdi>.
          </span>{" "}
          <button
            type="button"
            class="link"
            ref={takeFocus}
            onClick={() => {
              putPreset(deleted);
              setDeleted(null);
              focusSoon("preset");
            }}
          >
            Undo
          </button>
        </p>
      )}
    </div>
  );
}
