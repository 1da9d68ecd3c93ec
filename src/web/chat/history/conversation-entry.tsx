import { useState } from "preact/hooks";
import { download } from "../../parts/download.js";
import { takeFocus } from "../../parts/take-focus.js";
import { running } from "../chat-state.js";
import { type Conversation, toMarkdown } from "../conversation.js";
import { currentId, rename } from "./conversations.js";
import { deleteWithUndo } from "./deletion-notice.js";

export function Entry({
  conversation,
  onOpen,
}: {
  readonly conversation: Conversation;
  readonly onOpen: (id: string) => void;
}) {
  const [isRenaming, setRenaming] = useState(false);
  const { id, title } = conversation;
  const isCurrent = currentId.value === id;
  if (isRenaming) return <Renaming conversation={conversation} onEnd={() => setRenaming(false)} />;
  return (
    <li class={isCurrent ? "entry current" : "entry"}>
      <button
        type="button"
        class="entry-title"
        aria-current={isCurrent ? "true" : undefined}
        title={title}
        onClick={() => onOpen(id)}
      >
        <bdi>{title}</bdi>
        {running.value?.conversation === id ? <span class="hint"> (writing)</span> : null}
      </button>
      <details
        class="menu"
        // Closes like a menu: by a choice, by Escape, by going elsewhere.
        onToggle={({ currentTarget }) => {
          // Of the last ones it opens below the edge of the list.
          if (currentTarget.open) currentTarget.lastElementChild?.scrollIntoView({ block: "nearest" });
        }}
        onClick={({ currentTarget, target }) => {
          if (target instanceof HTMLButtonElement) currentTarget.open = false;
        }}
        onKeyDown={({ currentTarget, key }) => {
          if (key !== "Escape") return;
          currentTarget.open = false;
          currentTarget.querySelector("summary")?.focus();
        }}
        onFocusOut={({ currentTarget, relatedTarget }) => {
          if (!(relatedTarget instanceof Node && currentTarget.contains(relatedTarget))) currentTarget.open = false;
        }}
      >
        <summary aria-label={`More for ${title}`}>⋯</summary>
        <div class="menu-items">
          <button type="button" onClick={() => setRenaming(true)}>
            Rename
          </button>
          <button
            type="button"
            onClick={() => download(`${fileName(title)}.md`, "text/markdown", toMarkdown(conversation))}
          >
            Export as Markdown
          </button>
          <button
            type="button"
            onClick={() =>
              download(`${fileName(title)}.json`, "application/json", JSON.stringify(conversation, null, 2))
            }
          >
            Export as JSON
          </button>
          <button type="button" class="danger" onClick={() => deleteWithUndo([id])}>
            Delete
          </button>
        </div>
      </details>
    </li>
  );
}

function Renaming({ conversation, onEnd }: { readonly conversation: Conversation; readonly onEnd: () => void }) {
  const [title, setTitle] = useState(conversation.title);
  return (
    <li class="entry asking">
      <form
        onSubmit={(event) => {
          event.preventDefault();
          rename(conversation.id, title);
          onEnd();
        }}
      >
        <label class="visually-hidden" for={`title-${conversation.id}`}>
          Title
        </label>
        <input
          id={`title-${conversation.id}`}
          dir="auto"
          value={title}
          ref={takeFocus}
          onInput={(event) => setTitle(event.currentTarget.value)}
          onKeyDown={(event) => {
            if (event.key === "Escape") onEnd();
          }}
        />
        <button type="submit" class="quiet">
          Save
        </button>
      </form>
    </li>
  );
}

function fileName(title: string): string {
  return (
    title
      .replaceAll(/[^\p{L}\p{N}]+/gu, "-")
      .replaceAll(/^-+|-+$/g, "")
      .toLowerCase() || "conversation"
  );
}
