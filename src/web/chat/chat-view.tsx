import { signal } from "@preact/signals";
import { Fragment } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { SpokenText } from "../parts/announcer.js";
import { Sheet } from "../parts/sheet.js";
import { attach } from "./attachments/attach.js";
import { ChatSettings } from "./chat-settings.js";
import { running, sendAll, sought, thread, timesAsked } from "./chat-state.js";
import { Composer } from "./composer.js";
import { type AssistantMessage, beginningOf, type Message, placeOf, versionsOf } from "./conversation.js";
import { ConversationList } from "./history/conversation-list.js";
import { current, currentId, storageProblem } from "./history/conversations.js";
import { MessageView } from "./message/message-view.js";
import { shared } from "./shared-link.js";
import { SharedNotice } from "./shared-notice.js";
import { runShortcut } from "./shortcuts/shortcuts.js";
import { ShortcutsSheet } from "./shortcuts/shortcuts-sheet.js";
import { Welcome } from "./welcome.js";
import "./chat-view.css";

const openSheet = signal<"none" | "history" | "settings">("none");
const closeSheet = () => {
  openSheet.value = "none";
};

/** Whether files are held over the conversation. */
const isOver = signal(false);

/** Conversations, the one that is open, and what shapes its answers. On a narrow page the outer two are sheets. */
export function ChatView() {
  // With what is shown, not after it: who sees the page may press a key at once.
  useLayoutEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      if (runShortcut(event, { showHistory: () => (openSheet.value = "history") })) event.preventDefault();
    };
    addEventListener("keydown", onKey);
    return () => removeEventListener("keydown", onKey);
  }, []);
  return (
    <div class="chat">
      <Sheet name="Conversations" side="left" open={openSheet.value === "history"} onClose={closeSheet}>
        <ConversationList onChosen={closeSheet} />
      </Sheet>
      <section
        class={isOver.value ? "thread drop" : "thread"}
        aria-label="Conversation"
        onDragOver={(event) => {
          if (!event.dataTransfer?.types.includes("Files")) return;
          event.preventDefault();
          isOver.value = true;
        }}
        onDragLeave={({ currentTarget, relatedTarget }) => {
          if (!(relatedTarget instanceof Node && currentTarget.contains(relatedTarget))) isOver.value = false;
        }}
        onDrop={(event) => {
          isOver.value = false;
          const files = [...(event.dataTransfer?.files ?? [])];
          if (files.length === 0) return;
          event.preventDefault();
          void attach(files);
        }}
      >
        <div class="thread-tools">
          <button type="button" class="quiet" onClick={() => (openSheet.value = "history")}>
            Conversations
          </button>
          <button type="button" class="quiet" onClick={() => (openSheet.value = "settings")}>
            Settings
          </button>
        </div>
        <Thread />
        <Composer />
      </section>
      <Sheet name="Settings" side="right" open={openSheet.value === "settings"} onClose={closeSheet}>
        <ChatSettings />
      </Sheet>
      <ShortcutsSheet />
    </div>
  );
}

function Thread() {
  const conversation = current.value;
  const box = useRef<HTMLElement>(null);
  const follows = useRef(true);
  /** Whether the end has been out of sight since the reader left it; only then can he come back. */
  const wasAway = useRef(false);
  const [isBehind, setBehind] = useState(false);
  const follow = () => {
    follows.current = true;
    setBehind(false);
    box.current?.scrollTo({ top: box.current.scrollHeight });
  };
  /** The reader's own doing, and nobody else's: a text that grows moves the box too. */
  const leave = (isUp: boolean) => {
    if (isUp && box.current !== null && box.current.scrollHeight > box.current.clientHeight) {
      follows.current = false;
      wasAway.current = false;
    }
  };
  const look = () => {
    const isAtEnd = box.current === null || distanceToEnd(box.current) < 40;
    if (isAtEnd && wasAway.current) follows.current = true;
    wasAway.current = !isAtEnd;
    setBehind(!isAtEnd && !follows.current);
  };
  useEffect(() => {
    if (box.current === null) return;
    // What stands below it grows and shrinks; the end stays in sight.
    const watch = new ResizeObserver(() => {
      if (follows.current && current.value !== null) box.current?.scrollTo({ top: box.current.scrollHeight });
    });
    watch.observe(box.current);
    return () => watch.disconnect();
  }, []);
  const touchedAt = useRef(0);
  const shown = thread.value;
  const last = shown.at(-1);
  useEffect(() => {
    // Follows the text, unless the reader has scrolled away from it.
    if (last === undefined) return;
    if (follows.current) box.current?.scrollTo({ top: box.current.scrollHeight });
    else look();
  }, [last?.content, last?.role === "assistant" ? last.state : "", shown.length]);
  useEffect(() => {
    // Another conversation, or another question in it: what was sent is what one wants to see.
    if (last !== undefined) follow();
    else box.current?.scrollTo({ top: 0 });
  }, [currentId.value, timesAsked.value]);
  useEffect(() => {
    if (sought.value === null) return;
    const found = box.current?.querySelector(`[data-message="${CSS.escape(sought.value)}"]`);
    sought.value = null;
    if (!found) return;
    follows.current = false;
    found.scrollIntoView({ block: "start" });
  }, [sought.value]);
  return (
    <section
      class="messages"
      ref={box}
      // biome-ignore lint/a11y/noNoninteractiveTabindex: a scrolling region must be reachable to be scrolled by keyboard
      tabIndex={0}
      aria-label="Messages"
      onWheel={({ deltaY }) => leave(deltaY < 0)}
      onTouchStart={({ touches }) => {
        touchedAt.current = touches[0]?.clientY ?? 0;
      }}
      onTouchMove={({ touches }) => leave((touches[0]?.clientY ?? 0) > touchedAt.current)}
      onKeyDown={({ key }) => leave(["ArrowUp", "PageUp", "Home"].includes(key))}
      onPointerDown={({ currentTarget, target, offsetX }) => {
        // On the scroll bar, which has no events of its own.
        if (target === currentTarget && offsetX >= currentTarget.clientWidth) leave(true);
      }}
      onScroll={look}
    >
      {shared.value === null ? null : <SharedNotice />}
      {conversation === null ? (
        shared.value === null ? (
          <Welcome />
        ) : null
      ) : (
        <>
          <h1 class="visually-hidden">{conversation.title}</h1>
          <Messages messages={conversation.messages} shown={shown} cuts={conversation.cuts} />
        </>
      )}
      {storageProblem.value === null ? null : (
        <p class="notice problem" role="alert">
          {storageProblem.value}
        </p>
      )}
      {isBehind ? (
        <button type="button" class="newest" onClick={follow}>
          ↓ Newest
        </button>
      ) : null}
      <SpokenText
        name={last?.id ?? ""}
        text={last?.role === "assistant" ? last.content : ""}
        complete={running.value === null || running.value.conversation !== currentId.value}
      />
    </section>
  );
}

/** In pixels. */
function distanceToEnd({ scrollHeight, scrollTop, clientHeight }: HTMLElement): number {
  return scrollHeight - scrollTop - clientHeight;
}

function Messages({
  messages,
  shown,
  cuts,
}: {
  readonly messages: readonly Message[];
  readonly shown: readonly Message[];
  readonly cuts: readonly string[];
}) {
  const versions = versionsOf(messages);
  const begin = beginningOf(shown, cuts);
  return (
    <ol class="message-list">
      {shown.map((message, at) => (
        // By its place: another version takes the same one, and the button that goes through them keeps the focus.
        <Fragment key={placeOf(message)}>
          {at > 0 && at === begin ? <Beginning /> : null}
          <MessageView
            message={message}
            versions={(versions.get(placeOf(message)) ?? []).map(({ id }) => id)}
            compared={comparedWith(message, messages)}
            isLast={at === shown.length - 1}
          />
        </Fragment>
      ))}
      {shown.length > 0 && begin === shown.length ? <Beginning /> : null}
    </ol>
  );
}

function comparedWith(message: Message, messages: readonly Message[]): AssistantMessage | null {
  if (message.role === "user" || message.before === null) return null;
  const other = messages.find(({ id }) => id === message.before);
  return other?.role === "assistant" ? other : null;
}

function Beginning() {
  return (
    <li class="begins">
      <span>The model no longer sees what stands above.</span>
      <button type="button" class="link" disabled={running.value !== null} onClick={sendAll}>
        Send it again
      </button>
    </li>
  );
}
