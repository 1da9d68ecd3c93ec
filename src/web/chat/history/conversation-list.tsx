import { signal } from "@preact/signals";
import { newConversation, reveal } from "../chat-state.js";
import type { Conversation } from "../conversation.js";
import { Entry } from "./conversation-entry.js";
import { conversations, currentId } from "./conversations.js";
import { DeletionNotice } from "./deletion-notice.js";
import { HistoryFoot } from "./history-foot.js";
import { groupsByDay } from "./history-groups.js";
import { type Finding, search } from "./history-search.js";
import "./conversation-list.css";

const query = signal("");

export function ConversationList({ onChosen }: { readonly onChosen: () => void }) {
  const all = conversations.value;
  const open = (id: string) => {
    currentId.value = id;
    onChosen();
  };
  return (
    <div class="history">
      <div class="history-head">
        <button
          type="button"
          id="new-conversation"
          onClick={() => {
            newConversation();
            onChosen();
            document.getElementById("message")?.focus();
          }}
        >
          New conversation
        </button>
        {all.length === 0 ? null : <SearchField />}
        <DeletionNotice />
      </div>
      {query.value.trim() !== "" && all.length > 0 ? (
        <Findings findings={search(all, query.value)} onChosen={onChosen} />
      ) : (
        <Groups all={all} onOpen={open} />
      )}
      <HistoryFoot all={all} />
    </div>
  );
}

function SearchField() {
  return (
    <>
      <label class="visually-hidden" for="search-conversations">
        Search conversations
      </label>
      <input
        id="search-conversations"
        type="search"
        placeholder="Search"
        autocomplete="off"
        dir="auto"
        value={query.value}
        onInput={({ currentTarget }) => {
          query.value = currentTarget.value;
        }}
        onKeyDown={(event) => {
          if (event.key !== "Escape" || query.value === "") return;
          // A sheet that it stands in stays open.
          event.preventDefault();
          query.value = "";
        }}
      />
    </>
  );
}

function Findings({ findings, onChosen }: { readonly findings: readonly Finding[]; readonly onChosen: () => void }) {
  return (
    <>
      <p class="hint" role="status">
        {findings.length === 0
          ? "No conversation has all of these words."
          : `${findings.length} ${findings.length === 1 ? "conversation" : "conversations"}`}
      </p>
      <ul>
        {findings.map(({ conversation, message, excerpt }) => (
          <li class="entry" key={conversation.id}>
            <button
              type="button"
              class="entry-title finding"
              onClick={() => {
                reveal(conversation.id, message?.id ?? null);
                onChosen();
              }}
            >
              <bdi>{conversation.title}</bdi>
              {excerpt === null ? null : (
                <span class="hint" dir="auto">
                  {excerpt[0]}
                  <mark>{excerpt[1]}</mark>
                  {excerpt[2]}
                </span>
              )}
            </button>
          </li>
        ))}
      </ul>
    </>
  );
}

function Groups({ all, onOpen }: { readonly all: readonly Conversation[]; readonly onOpen: (id: string) => void }) {
  if (all.length === 0) return <p class="hint">What you ask will be listed here.</p>;
  return (
    <>
      {groupsByDay(all, Date.now()).map((group) => (
        <section key={group.name} aria-label={group.name}>
          <h3 class="history-day">{group.name}</h3>
          <ul>
            {group.conversations.map((conversation) => (
              <Entry key={conversation.id} conversation={conversation} onOpen={onOpen} />
            ))}
          </ul>
        </section>
      ))}
    </>
  );
}
