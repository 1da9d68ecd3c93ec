import { beginAnew, chosenModel, contextInUse } from "./chat-state.js";
import "./context-meter.css";

/** From here on it is said, and a way out is offered. */
const nearlyFull = 0.75;

/** How much of the model's context the conversation fills; nothing while there is plenty. */
export function ContextMeter() {
  const length = chosenModel.value?.contextLength ?? null;
  const used = contextInUse.value;
  if (length === null || used === null || used < nearlyFull * length) return null;
  return (
    <div class="context-meter">
      <meter id="context" min={0} max={length} value={used} aria-label="Context in use" />
      <p>
        {used} of {length} tokens of context are in use. When it is full, nothing more can be asked.
      </p>
      <button type="button" onClick={beginAnew}>
        Begin anew from here
      </button>
    </div>
  );
}
