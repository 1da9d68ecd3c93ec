import { maxStrength, usualStrength } from "../sampling.js";
import type { ModelEntry } from "../wire/server.js";
import { lowerFirst, upperFirst } from "./format.js";
import "./strength-slider.css";

type Recommendation = Pick<ModelEntry, "description" | "recommendedStrength">;

/** @returns what a strength does with this adapter, and where the recommended one is, in a sentence or two. */
export function strengthMeaning(strength: number, { description, recommendedStrength }: Recommendation): string {
  const usual = recommendedStrength ?? 1;
  const usually = recommendedStrength === null ? "as trained (1.00)" : `recommended (${usual.toFixed(2)})`;
  if (strength === 0) return `Off: the base model as it is. ${upperFirst(usually)} is further on.`;
  if (strength === usual) {
    const how = recommendedStrength === null ? "As trained" : "As recommended";
    return description === null ? `${how}.` : `${how}: ${lowerFirst(description)}`;
  }
  if (strength < usual) return `Weaker than ${usually}.`;
  return strength > 1 ? `Far beyond ${usually}: text may come apart.` : `Stronger than ${usually}, up to as trained.`;
}

/**
 * The page's central control: how much of the adapter's signal goes back into the model. Nothing for a model without an
 * adapter.
 */
export function StrengthSlider({
  id,
  model,
  chosen,
  onChoose,
}: {
  readonly id: string;
  readonly model: ModelEntry | null;
  /** Null: as recommended. */
  readonly chosen: number | null;
  readonly onChoose: (strength: number | null) => void;
}) {
  if (model === null || model.adapter === null) return null;
  const usual = usualStrength(model);
  const value = chosen ?? usual;
  const meaning = strengthMeaning(value, model);
  return (
    <div class="strength">
      <label for={id}>
        Steering strength <output for={id}>{value.toFixed(2)}</output>
      </label>
      <input
        id={id}
        type="range"
        min={0}
        max={Math.max(maxStrength, value)}
        step={0.05}
        value={value}
        list={`${id}-marks`}
        aria-describedby={`${id}-meaning`}
        aria-valuetext={`${value.toFixed(2)}. ${meaning}`}
        onInput={(event) => onChoose(Number(event.currentTarget.value))}
      />
      <datalist id={`${id}-marks`}>
        {[...new Set([0, usual, 1, 2])].map((mark) => (
          <option key={mark} value={mark} />
        ))}
      </datalist>
      <div class="strength-ends" aria-hidden="true">
        <span>0 base</span>
        <span>1 trained</span>
        <span>2 exaggerated</span>
      </div>
      <p class="hint">
        <span id={`${id}-meaning`}>{meaning}</span>
        {value === usual ? null : (
          <>
            {" "}
            <button type="button" class="link" onClick={() => onChoose(null)}>
              Back to {usual.toFixed(2)}
            </button>
          </>
        )}
      </p>
    </div>
  );
}
