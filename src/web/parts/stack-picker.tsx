import type { Contestant, StackChoice } from "../contestants.js";
import { modelOf, vectorsOfRoot } from "../session.js";
import { knownOf, stackWords, type VectorStack } from "../vector-stack.js";
import { StrengthSlider } from "./strength-slider.js";
import { VectorDials } from "./vector-sliders.js";
import "./stack-picker.css";

/** One of two who are compared: a model, how strongly its adapter steers, and control vectors beside it. */
export function StackPicker({
  id,
  label,
  contestants,
  contestant,
  choice,
  onChange,
}: {
  readonly id: string;
  readonly label: string;
  readonly contestants: readonly Contestant[];
  /** Whoever is chosen now, by the page where nobody has. */
  readonly contestant: Contestant | null;
  readonly choice: StackChoice;
  readonly onChange: (choice: StackChoice) => void;
}) {
  const model = contestant === null ? null : modelOf(contestant.id);
  return (
    <div class="stack-picker">
      <div class="field">
        <label for={id}>{label}</label>
        <select
          id={id}
          value={contestant?.id ?? ""}
          onChange={({ currentTarget }) => onChange({ ...choice, contestant: currentTarget.value, strength: null })}
        >
          {contestants.map((one) => (
            <option key={one.id} value={one.id}>
              {one.label}
            </option>
          ))}
        </select>
      </div>
      {model === null || model.adapter === null ? null : (
        <StrengthSlider
          id={`${id}-strength`}
          model={model}
          chosen={choice.strength}
          onChoose={(strength) => onChange({ ...choice, strength })}
        />
      )}
      {model === null ? null : (
        <Vectors
          id={id}
          root={model.root}
          stack={choice.vectors}
          onChange={(vectors) => onChange({ ...choice, vectors })}
        />
      )}
    </div>
  );
}

function Vectors({
  id,
  root,
  stack,
  onChange,
}: {
  readonly id: string;
  readonly root: string;
  readonly stack: VectorStack;
  readonly onChange: (stack: VectorStack) => void;
}) {
  const names = vectorsOfRoot(root).map(({ name }) => name);
  if (names.length === 0) return null;
  const turned = stackWords(knownOf(stack, names));
  return (
    <details class="stack-vectors">
      <summary>Control vectors{turned.length === 0 ? "" : `: ${turned.join(", ")}`}</summary>
      <VectorDials root={root} idPrefix={id} stack={stack} onChange={onChange} />
    </details>
  );
}
