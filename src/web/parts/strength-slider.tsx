import { maxStrength } from "../sampling.js";
import "./strength-slider.css";

/** @returns what a strength does, in one sentence. */
export function strengthMeaning(strength: number): string {
  if (strength === 0) return "Off: the base model as it is.";
  if (strength < 1) return "Weaker than trained: between the two.";
  if (strength === 1) return "As trained.";
  return "Exaggerated: text may come apart.";
}

/** The page's central control: how much of the adapter's signal goes back into the model. */
export function StrengthSlider({
  id,
  label = "Steering strength",
  value,
  disabled = null,
  onInput,
}: {
  readonly id: string;
  readonly label?: string;
  readonly value: number;
  /** Why there is nothing to set; null when there is. */
  readonly disabled?: string | null;
  readonly onInput: (strength: number) => void;
}) {
  return (
    <div class="strength">
      <label for={id}>
        {label} <output for={id}>{disabled === null ? value.toFixed(2) : "none"}</output>
      </label>
      <input
        id={id}
        type="range"
        min={0}
        max={maxStrength}
        step={0.05}
        value={value}
        disabled={disabled !== null}
        list={`${id}-marks`}
        aria-describedby={`${id}-meaning`}
        aria-valuetext={`${value.toFixed(2)}. ${strengthMeaning(value)}`}
        onInput={(event) => onInput(Number(event.currentTarget.value))}
      />
      <datalist id={`${id}-marks`}>
        <option value="0" />
        <option value="1" />
        <option value="2" />
      </datalist>
      <div class="strength-ends" aria-hidden="true">
        <span>0 base</span>
        <span>1 trained</span>
        <span>2 exaggerated</span>
      </div>
      <p id={`${id}-meaning`} class="hint">
        {disabled ?? strengthMeaning(value)}
      </p>
    </div>
  );
}
