import { Maker } from "./maker.js";
import { base } from "./maker-state.js";
import { Trials } from "./trials-view.js";
import { VectorList } from "./vector-list.js";
import "../parts/wide-view.css";

/** The workshop: a vector is made, kept, and tried at several strengths and in several layers. */
export function VectorsView() {
  return (
    <div class="wide">
      <h1>Make a control vector</h1>
      <p class="lead">
        Say what the model should be more like, and what less. It reads unfinished sentences as both, and the difference
        between the two is your vector: a dial that changes the tone of every answer, without any training.
      </p>
      {base.value === null ? <p class="hint">No model is served yet.</p> : <Maker />}
      <VectorList />
      <Trials />
    </div>
  );
}
