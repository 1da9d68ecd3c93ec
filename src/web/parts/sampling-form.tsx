import { settings } from "../sampling.js";
import { type SamplingName, samplingFields } from "../sampling-fields.js";
import { number } from "../wire/read.js";
import type { ModelEntry } from "../wire/server.js";
import "./sampling-form.css";

/** Number fields for sampling; an empty one leaves its value to the server, and shows what that will be. */
export function SamplingForm({
  names,
  idPrefix,
  model,
}: {
  readonly names: readonly SamplingName[];
  readonly idPrefix: string;
  readonly model: ModelEntry | null;
}) {
  return (
    <div class="sampling">
      {samplingFields
        .filter(({ name }) => names.includes(name))
        .map(({ name, label, hint, min, max, step, otherwise }) => (
          <div class="field" key={name}>
            <label for={`${idPrefix}-${name}`}>{label}</label>
            <input
              id={`${idPrefix}-${name}`}
              type="number"
              inputMode="decimal"
              min={min}
              max={max}
              step={step}
              placeholder={String(number(model?.sampling[name]) ?? otherwise)}
              value={settings.value.sampling[name] ?? ""}
              aria-describedby={`${idPrefix}-${name}-hint`}
              onChange={({ currentTarget }) => {
                const { value, valueAsNumber } = currentTarget;
                const number = Number.isFinite(valueAsNumber) ? Math.min(max, Math.max(min, valueAsNumber)) : null;
                const whole = step === 1 && number !== null ? Math.round(number) : number;
                settings.value = {
                  ...settings.value,
                  sampling: { ...settings.value.sampling, [name]: value === "" ? null : whole },
                };
                // What was out of range shows as what is kept.
                currentTarget.value = whole === null ? "" : String(whole);
              }}
            />
            <span class="hint" id={`${idPrefix}-${name}-hint`}>
              {hint}
            </span>
          </div>
        ))}
      <p class="hint">
        What is grey stands for an empty field{model === null ? "." : ": the model's own, where it recommends any."}
      </p>
    </div>
  );
}
