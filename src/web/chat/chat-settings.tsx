import { isNarrow } from "../parts/narrow.js";
import { SamplingForm } from "../parts/sampling-form.js";
import { VectorSliders } from "../parts/vector-sliders.js";
import { readSettings, settings } from "../sampling.js";
import { type SamplingName, samplingFields } from "../sampling-fields.js";
import { access, forgetKey, keyWanted } from "../session.js";
import { chosenModel, contextInUse } from "./chat-state.js";
import { PresetChoice } from "./presets/preset-choice.js";
import { SavePreset } from "./presets/save-preset.js";
import { isHelpOpen } from "./shortcuts/shortcuts.js";
import "./chat-settings.css";

const common: readonly SamplingName[] = ["temperature", "top_p", "max_tokens", "seed"];
const rare = samplingFields.map(({ name }) => name).filter((name) => !common.includes(name));

export function ChatSettings() {
  const model = chosenModel.value;
  return (
    <div class="settings">
      {model === null || isNarrow.value ? null : <VectorSliders root={model.root} />}
      <PresetChoice />
      <div class="field">
        <label for="system-prompt">System prompt</label>
        <textarea
          id="system-prompt"
          rows={3}
          dir="auto"
          placeholder="None"
          value={settings.value.systemPrompt}
          onInput={({ currentTarget }) => {
            settings.value = { ...settings.value, systemPrompt: currentTarget.value };
          }}
        />
      </div>
      <SamplingForm names={common} idPrefix="chat" model={model} />
      <details>
        <summary>More sampling</summary>
        <SamplingForm names={rare} idPrefix="chat" model={model} />
      </details>
      <div class="row">
        <SavePreset />
        <button
          type="button"
          class="quiet"
          onClick={() => {
            settings.value = { ...readSettings(null), model: settings.value.model };
          }}
        >
          Reset settings
        </button>
        <button
          type="button"
          class="quiet"
          onClick={() => {
            isHelpOpen.value = true;
          }}
        >
          Keyboard shortcuts
        </button>
        {access.value.apiKey !== "" && keyWanted.value === null ? (
          <button type="button" class="quiet" onClick={forgetKey}>
            Forget API key
          </button>
        ) : null}
      </div>
      {model === null ? null : (
        <dl class="facts">
          <dt>Context</dt>
          <dd>{contextWords(model.contextLength, contextInUse.value)}</dd>
          <dt>Layers</dt>
          <dd>{model.layers}</dd>
          <dt>Licence</dt>
          <dd>{model.licence ?? "not stated"}</dd>
          <dt>API</dt>
          <dd>
            <a href="./docs">all that can be asked</a>
          </dd>
        </dl>
      )}
    </div>
  );
}

function contextWords(length: number | null, used: number | null): string {
  if (length === null) return "unknown";
  return used === null ? `${length} tokens` : `${used} of ${length} tokens in use`;
}
