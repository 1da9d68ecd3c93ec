import { Controls } from "./controls.js";
import { Sides } from "./sides.js";
import { base, steered, watched } from "./steering-state.js";
import "../parts/wide-view.css";

/** The same question to the base model and to the steered one, from the same seed, and what the steering did. */
export function SteeringView() {
  const ready = watched.value !== null;
  return (
    <div class="wide widest">
      <h1>What steering does</h1>
      <p class="lead">
        One frozen model answers twice from the same random seed. Left as it is; right with an adapter that picks what
        matters for the task and feeds it back into attention, with <a href="#/vectors">control vectors</a> that are
        added to what its layers hand on, or with both, as strongly as the sliders say.
      </p>
      <Controls />
      {base.value === null && steered.value === null ? (
        <p class="hint">
          {ready
            ? "Run it, then move the slider: the right side answers anew."
            : "Nothing here steers yet. Serve a model with an adapter, or make a control vector, to use this view."}
        </p>
      ) : (
        <Sides />
      )}
    </div>
  );
}
