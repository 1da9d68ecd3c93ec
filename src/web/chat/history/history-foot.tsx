import { signal } from "@preact/signals";
import { useState } from "preact/hooks";
import { download } from "../../parts/download.js";
import { takeFocus } from "../../parts/take-focus.js";
import type { Conversation } from "../conversation.js";
import { conversations, takeOver } from "./conversations.js";
import { deleteWithUndo } from "./deletion-notice.js";
import { readImport } from "./import-conversations.js";

/** What came of the last import; null: nothing to say. */
const imported = signal<{ readonly sentence: string; readonly isRefusal: boolean } | null>(null);

/** What concerns all conversations: bringing them in and out, and deleting them. */
export function HistoryFoot({ all }: { readonly all: readonly Conversation[] }) {
  const [isAsking, setAsking] = useState(false);
  return (
    <div class="history-foot">
      {imported.value === null ? null : (
        <p
          class={imported.value.isRefusal ? "problem-line" : "hint"}
          role={imported.value.isRefusal ? "alert" : "status"}
        >
          {imported.value.sentence}
        </p>
      )}
      {isAsking ? (
        <fieldset
          class="entry asking"
          onKeyDown={({ key }) => {
            if (key === "Escape") setAsking(false);
          }}
        >
          <legend>Delete all {all.length} conversations?</legend>
          <div class="row">
            <button
              type="button"
              class="danger"
              ref={takeFocus}
              onClick={() => {
                setAsking(false);
                deleteWithUndo(all.map(({ id }) => id));
              }}
            >
              Delete all
            </button>
            <button type="button" class="quiet" onClick={() => setAsking(false)}>
              Keep
            </button>
          </div>
        </fieldset>
      ) : (
        <div class="row">
          <ImportButton />
          {all.length === 0 ? null : (
            <>
              <button
                type="button"
                class="quiet"
                onClick={() => download("conversations.json", "application/json", JSON.stringify(all, null, 2))}
              >
                Export all
              </button>
              <button type="button" class="quiet" onClick={() => setAsking(true)}>
                Delete all
              </button>
            </>
          )}
        </div>
      )}
    </div>
  );
}

function ImportButton() {
  return (
    <label class="file">
      Import
      <input
        type="file"
        class="visually-hidden"
        aria-label="Import conversations"
        accept=".json,application/json"
        onChange={({ currentTarget }) => {
          const file = currentTarget.files?.[0];
          if (file !== undefined) void importFile(file);
          // The same file can be chosen again.
          currentTarget.value = "";
        }}
      />
    </label>
  );
}

async function importFile(file: File): Promise<void> {
  imported.value = null;
  const read = await readImport(file);
  if (typeof read === "string") {
    imported.value = { sentence: read, isRefusal: true };
    return;
  }
  const known = new Set(conversations.value.map(({ id }) => id));
  const stored = takeOver(read);
  const again = read.slice(0, stored).filter(({ id }) => known.has(id)).length;
  const words = [
    `${stored - again} of ${read.length} imported`,
    ...(again === 0 ? [] : [`${again} known already, with anything new in the file added`]),
    ...(stored === read.length
      ? []
      : [`no room in the browser for the other ${read.length - stored}: delete older ones`]),
  ];
  imported.value = { sentence: `${words.join("; ")}.`, isRefusal: stored < read.length };
}
