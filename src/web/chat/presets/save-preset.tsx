import { useState } from "preact/hooks";
import { focusSoon, takeFocus } from "../../parts/take-focus.js";
import { chosenPreset, mostPresets, presets, savePreset } from "./presets.js";
import { longestName } from "./presets-format.js";

/** Keeps the settings as they stand under a name. */
export function SavePreset() {
  const [isNaming, setNaming] = useState(false);
  if (isNaming) return <NameForm onEnd={() => setNaming(false)} />;
  const isFull = presets.value.length >= mostPresets;
  return (
    <>
      <button
        type="button"
        class="quiet"
        id="save-preset"
        disabled={chosenPreset.value !== null || isFull}
        onClick={() => setNaming(true)}
      >
        Save as preset
      </button>
      {isFull ? <p class="hint">There are {mostPresets} presets; delete one to save another.</p> : null}
    </>
  );
}

function NameForm({ onEnd }: { readonly onEnd: () => void }) {
  const [name, setName] = useState("");
  const isTaken = presets.value.some((preset) => preset.name === name.trim());
  const end = (next: string) => {
    onEnd();
    focusSoon(next);
  };
  return (
    <form
      class="field preset-form"
      onSubmit={(event) => {
        event.preventDefault();
        if (name.trim() === "") return;
        savePreset(name);
        end("preset");
      }}
    >
      <label for="preset-name">Name of the preset</label>
      <input
        id="preset-name"
        dir="auto"
        autocomplete="off"
        maxLength={longestName}
        value={name}
        ref={takeFocus}
        aria-describedby="preset-name-hint"
        onInput={({ currentTarget }) => setName(currentTarget.value)}
        onKeyDown={(event) => {
          if (event.key !== "Escape") return;
          // A sheet that it stands in stays open.
          event.preventDefault();
          end("save-preset");
        }}
      />
      <span class="hint" id="preset-name-hint">
        {isTaken ? "Replaces the preset of this name." : "Keeps the system prompt and the sampling."}
      </span>
      <div class="row">
        <button type="submit" class="primary" disabled={name.trim() === ""}>
          Save preset
        </button>
        <button type="button" class="quiet" onClick={() => end("save-preset")}>
          Cancel
        </button>
      </div>
    </form>
  );
}
