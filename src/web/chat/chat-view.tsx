import { signal } from "@preact/signals";
import { Fragment } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { SpokenText } from "../parts/announcer.js";
import { Sheet } from "../parts/sheet.js";
import { ChatSettings } from "./chat-settings.js";
import { beginFrom, current, currentId, running, storageProblem } from "./chat-state.js";
import { Composer } from "./composer.js";
import type { Conversation, Message } from "./conversation.js";
import { ConversationList } from "./conversation-list.js";
import { MessageView } from "./message-view.js";
import { shared } from "./shared-link.js";
import { SharedNotice } from "./shared-notice.js";
import { Welcome } from "./welcome.js";
import "./chat-view.css";

const openSheet = signal<"none" | "history" | "settings">("none");
const closeSheet = () => {
  openSheet.value = "none";
};

/** Conversations, the one that is open, and what shapes its answers. On a narrow page the outer two are sheets. */
export function ChatView() {
  return (
    <div class="chat">
      <Sheet name="Conversations" side="left" open={openSheet.value === "history"} onClose={closeSheet}>
        <ConversationList onChosen={closeSheet} />
      </Sheet>
      <section class="thread" aria-label="Conversation">
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
  const last = conversation?.messages.at(-1);
  useEffect(() => {
    // Follows the text, unless the reader has scrolled away from it.
    if (last === undefined) return;
    if (follows.current) box.current?.scrollTo({ top: box.current.scrollHeight });
    else look();
  }, [last?.content, last?.role === "assistant" ? last.state : "", conversation?.messages.length]);
  useEffect(() => {
    // Another conversation, or another question in it: what was sent is what one wants to see.
    if (last !== undefined) follow();
    else box.current?.scrollTo({ top: 0 });
  }, [currentId.value, last?.turn]);
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
          <ol class="message-list">
            {conversation.messages.map((message, at) => (
              <Fragment key={`${conversation.id}-${message.turn}-${message.role}`}>
                {isBeginning(conversation, at) ? <Beginning /> : null}
                <MessageView message={message} at={at} isLast={message === last} />
              </Fragment>
            ))}
            {conversation.begin !== null && (last?.turn ?? "") < conversation.begin ? <Beginning /> : null}
          </ol>
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
        name={`${currentId.value}-${conversation?.messages.length ?? 0}`}
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

/** Whether the messages that are sent begin with this one, and others stand above it. */
function isBeginning({ messages, begin }: Conversation, at: number): boolean {
  const isSent = (message: Message | undefined) => message !== undefined && (begin === null || message.turn >= begin);
  return at > 0 && isSent(messages[at]) && !isSent(messages[at - 1]);
}

function Beginning() {
  return (
    <li class="begins">
      <span>The model no longer sees what stands above.</span>
      <button type="button" class="link" disabled={running.value !== null} onClick={() => beginFrom(null)}>
        Send it again
      </button>
    </li>
  );
}
