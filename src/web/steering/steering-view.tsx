import { useEffect } from "preact/hooks";
import { Controls } from "./controls.js";
import { Inspector } from "./explanation.js";
import { Sides, useRuns } from "./sides.js";
import { followAddress } from "./steering-link.js";
import { base, steered, watched } from "./steering-state.js";
import "../parts/wide-view.css";
import "./steering-view.css";

/** One instrument: the prompt and both answers from one seed, and beside them what the steering did. */
export function SteeringView() {
  useEffect(followAddress, []);
  const runs = useRuns();
  const isRun = base.value !== null || steered.value !== null;
  return (
    <div class="wide widest">
      <h1>What steering does</h1>
      <p class="lead">
        One frozen model answers twice from the same random seed: as it is, and with an adapter that picks what matters
        for the task and feeds it back into attention, with <a href="#/vectors">control vectors</a> that are added to
        what its layers hand on, or with both.
      </p>
      <div class="instrument">
        <div class="instrument-main">
          <Controls />
          {isRun ? <Sides {...runs} /> : null}
        </div>
        {isRun ? <Inspector {...runs} /> : <Before />}
      </div>
    </div>
  );
}

/** What will stand where nothing is to be seen yet. */
function Before() {
  return watched.value === null ? (
    <p class="hint">
      Nothing here steers yet. Serve a model with an adapter, or make a control vector, to use this view.
    </p>
  ) : (
    <aside class="inspector" aria-label="What steering did">
      <section class="token-detail">
        <h2>What steering did</h2>
        <p class="hint">
          Run both, then point at a token: how relevant it is to the task, what each layer was given, and which tokens
          base and steered held likeliest where their answers part. Moving a dial answers anew.
        </p>
      </section>
    </aside>
  );
}
