import { useState } from "preact/hooks";
import { download } from "../parts/download.js";
import { takeFocus } from "../parts/take-focus.js";
import { conversations, current, currentId, newConversation, remove, rename, running } from "./chat-state.js";
import { type Conversation, toMarkdown } from "./conversation.js";
import "./conversation-list.css";

export function ConversationList({ onChosen }: { readonly onChosen: () => void }) {
  const all = conversations.value;
  return (
    <div class="history">
      <button
        type="button"
        class="new"
        onClick={() => {
          newConversation();
          onChosen();
          document.getElementById("message")?.focus();
        }}
      >
        New conversation
      </button>
      {all.length === 0 ? <p class="hint">What you ask will be listed here.</p> : null}
      <ul>
        {all.map((conversation) => (
          <Entry key={conversation.id} conversation={conversation} onChosen={onChosen} />
        ))}
      </ul>
      {all.length === 0 ? null : (
        <button
          type="button"
          class="quiet"
          onClick={() => download("conversations.json", "application/json", JSON.stringify(all, null, 2))}
        >
          Export all
        </button>
      )}
    </div>
  );
}

function Entry({ conversation, onChosen }: { readonly conversation: Conversation; readonly onChosen: () => void }) {
  const [mode, setMode] = useState<"shown" | "renaming" | "deleting">("shown");
  const { id, title } = conversation;
  const isCurrent = current.value?.id === id;
  if (mode === "renaming") return <Renaming conversation={conversation} onEnd={() => setMode("shown")} />;
  if (mode === "deleting") {
    return (
      <li
        class="entry asking"
        onKeyDown={({ key }) => {
          if (key === "Escape") setMode("shown");
        }}
      >
        <span>Delete “{title}”?</span>
        <span class="row">
          <button
            type="button"
            class="danger"
            ref={takeFocus}
            onClick={() => {
              remove(id);
              // Its own place is gone.
              newButton()?.focus();
            }}
          >
            Delete
          </button>
          <button type="button" class="quiet" onClick={() => setMode("shown")}>
            Keep
          </button>
        </span>
      </li>
    );
  }
  return (
    <li class={isCurrent ? "entry current" : "entry"}>
      <button
        type="button"
        class="entry-title"
        aria-current={isCurrent ? "true" : undefined}
        onClick={() => {
          currentId.value = id;
          onChosen();
        }}
      >
        {title}
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
          <button type="button" onClick={() => setMode("renaming")}>
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
          <button type="button" onClick={() => setMode("deleting")}>
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

function newButton(): HTMLElement | null {
  return document.querySelector(".history .new");
}

function fileName(title: string): string {
  return (
    title
      .replaceAll(/[^\p{L}\p{N}]+/gu, "-")
      .replaceAll(/^-+|-+$/g, "")
      .toLowerCase() || "conversation"
  );
}
