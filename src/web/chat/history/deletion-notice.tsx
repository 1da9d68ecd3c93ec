import { focusSoon } from "../../parts/take-focus.js";
import { remove } from "../chat-state.js";
import { deleted, undoDeletion } from "./conversations.js";

/** Deletes conversations and puts the focus on the way back: their own place is gone. */
export function deleteWithUndo(ids: readonly string[]): void {
  remove(ids);
  focusSoon("undo-deletion");
}

/** Stays until it is used, dismissed, or something else is deleted: nobody has to be quick. */
export function DeletionNotice() {
  if (deleted.value === null) return null;
  const { taken } = deleted.value;
  const [first] = taken;
  return (
    <div class="deletion">
      <span role="status">
        Deleted <bdi>{taken.length === 1 ? `“${first?.title}”` : `${taken.length} conversations`}</bdi>.
      </span>
      <span class="row">
        <button
          type="button"
          class="link"
          id="undo-deletion"
          onClick={() => {
            undoDeletion();
            focusSoon("new-conversation");
          }}
        >
          Undo
        </button>
        <button
          type="button"
          class="quiet"
          aria-label="Dismiss"
          onClick={() => {
            deleted.value = null;
            focusSoon("new-conversation");
          }}
        >
          ×
        </button>
      </span>
    </div>
  );
}
