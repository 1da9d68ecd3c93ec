import { settings } from "../sampling.js";
import { vectors } from "../session.js";
import { maxVectorStrength, strengthsOf } from "../vector-strengths.js";
import type { VectorEntry } from "../wire/server.js";
import "./vector-sliders.css";

/** A dial for each control vector of a base; nothing where it has none. */
export function VectorSliders({ root }: { readonly root: string }) {
  const own = vectors.value.filter((vector) => vector.root === root);
  if (own.length === 0) return null;
  return (
    <fieldset class="vectors">
      <legend>Control vectors</legend>
      {own.map((vector) => (
        <VectorSlider key={vector.name} vector={vector} />
      ))}
    </fieldset>
  );
}

function VectorSlider({ vector: { name, description, recommended } }: { readonly vector: VectorEntry }) {
  const id = `vector-${name}`;
  const value = settings.value.vectors[name] ?? 0;
  const isApart = recommended !== null && (value < recommended[0] || value > recommended[1]);
  const hint = isApart ? "Past what it was measured to bear: text may come apart." : description;
  return (
    <div class="vector">
      <label for={id}>
        {name} <output for={id}>{value.toFixed(2)}</output>
      </label>
      <input
        id={id}
        type="range"
        min={-maxVectorStrength}
        max={maxVectorStrength}
        step={0.25}
        value={value}
        aria-describedby={hint === null ? undefined : `${id}-hint`}
        onInput={({ currentTarget }) => {
          const changed = { ...settings.value.vectors, [name]: Number(currentTarget.value) };
          settings.value = { ...settings.value, vectors: strengthsOf(changed) };
        }}
      />
      {hint === null ? null : (
        <p id={`${id}-hint`} class="hint">
          {hint}
        </p>
      )}
    </div>
  );
}
