import { settings } from "../sampling.js";
import { vectorsOfRoot } from "../session.js";
import { maxVectorStrength, type VectorStack, withStrength } from "../vector-stack.js";
import type { VectorEntry } from "../wire/server.js";
import "./vector-sliders.css";

/**
 * The settings' dial for each control vector of a base; nothing where it has none.
 * @param onMove called once a dial has been moved.
 */
export function VectorSliders({ root, onMove }: { readonly root: string; readonly onMove?: () => void }) {
  return (
    <VectorDials
      root={root}
      idPrefix="vector"
      stack={settings.value.vectors}
      onChange={(vectors) => {
        settings.value = { ...settings.value, vectors };
        onMove?.();
      }}
    />
  );
}

/** A dial for each control vector of a base, for any stack. */
export function VectorDials({
  root,
  idPrefix,
  stack,
  onChange,
}: {
  readonly root: string;
  readonly idPrefix: string;
  readonly stack: VectorStack;
  readonly onChange: (stack: VectorStack) => void;
}) {
  const own = vectorsOfRoot(root);
  if (own.length === 0) return null;
  return (
    <fieldset class="vectors">
      <legend>Control vectors</legend>
      {own.map((vector) => (
        <VectorSlider
          key={vector.name}
          id={`${idPrefix}-${vector.name}`}
          vector={vector}
          stack={stack}
          onChange={onChange}
        />
      ))}
      <p class="hint">
        <a href="#/vectors">Make one of your own</a>
      </p>
    </fieldset>
  );
}

function VectorSlider({
  id,
  vector: { name, description, recommended },
  stack,
  onChange,
}: {
  readonly id: string;
  readonly vector: VectorEntry;
  readonly stack: VectorStack;
  readonly onChange: (stack: VectorStack) => void;
}) {
  const dial = stack[name];
  const value = dial?.strength ?? 0;
  const isApart = recommended !== null && (value < recommended[0] || value > recommended[1]);
  const hint = isApart ? "Past what it was measured to bear: text may come apart." : description;
  // A link may have brought more than the slider gives.
  const end = Math.max(maxVectorStrength, Math.abs(value));
  return (
    <div class="vector">
      <label for={id}>
        {name} <output for={id}>{value.toFixed(2)}</output>
      </label>
      <span class="dial">
        <RecommendedBand range={recommended} end={end} />
        <input
          id={id}
          type="range"
          min={-end}
          max={end}
          step={0.25}
          value={value}
          style={{ "--from": Math.min(0.5, share(value, end)), "--to": Math.max(0.5, share(value, end)) }}
          aria-describedby={hint === null ? undefined : `${id}-hint`}
          onInput={({ currentTarget }) => onChange(withStrength(stack, name, Number(currentTarget.value)))}
        />
      </span>
      {hint === null ? null : (
        <p id={`${id}-hint`} class={isApart ? "hint warning" : "hint"}>
          {hint}
        </p>
      )}
      {dial === undefined || dial.layers === null ? null : (
        <p class="hint">
          Only in layers {dial.layers[0]} to {dial.layers[1]}.{" "}
          <button type="button" class="link" onClick={() => onChange({ ...stack, [name]: { ...dial, layers: null } })}>
            Use all layers
          </button>
        </p>
      )}
    </div>
  );
}

/** Where on the slider the text was found to hold together; told by the slider's hint where it is left. */
function RecommendedBand({ range, end }: { readonly range: VectorEntry["recommended"]; readonly end: number }) {
  if (range === null) return null;
  const style = { "--from": share(range[0], end), "--to": share(range[1], end) };
  return <span class="band" style={style} aria-hidden="true" />;
}

/** Where a strength lies on a slider from −end to end, 0 to 1. */
function share(strength: number, end: number): number {
  return (Math.min(end, Math.max(-end, strength)) + end) / (2 * end);
}
