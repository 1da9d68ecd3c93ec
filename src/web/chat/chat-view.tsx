import { signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { SpokenText } from "../parts/announcer.js";
import { lowerFirst } from "../parts/format.js";
import { isNarrow } from "../parts/narrow.js";
import { Sheet } from "../parts/sheet.js";
import { vectorsOfRoot } from "../session.js";
import type { ModelEntry, VectorEntry } from "../wire/server.js";
import { ChatSettings } from "./chat-settings.js";
import { chosenModel, conversations, current, currentId, running, send, storageProblem } from "./chat-state.js";
import { Composer } from "./composer.js";
import { draft } from "./composer-draft.js";
import { ConversationList } from "./conversation-list.js";
import { MessageView } from "./message-view.js";
import { shared } from "./shared-link.js";
import { SharedNotice } from "./shared-notice.js";
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
  const last = conversation?.messages.at(-1);
  useEffect(() => {
    // Follows the text, unless the reader has scrolled away from it.
    if (follows.current) box.current?.scrollTo({ top: box.current.scrollHeight });
  }, [last?.content, last?.role === "assistant" ? last.state : "", conversation?.messages.length]);
  useEffect(() => {
    follows.current = true;
    box.current?.scrollTo({ top: box.current.scrollHeight });
  }, [currentId.value]);
  return (
    <section
      class="messages"
      ref={box}
      // biome-ignore lint/a11y/noNoninteractiveTabindex: a scrolling region must be reachable to be scrolled by keyboard
      tabIndex={0}
      aria-label="Messages"
      onScroll={({ currentTarget }) => {
        follows.current = currentTarget.scrollHeight - currentTarget.scrollTop - currentTarget.clientHeight < 40;
      }}
    >
      {shared.value === null ? null : <SharedNotice />}
      {conversation === null ? (
        shared.value === null ? (
          <Welcome />
        ) : null
      ) : (
        <ol class="message-list">
          {conversation.messages.map((message, at) => (
            <MessageView key={`${conversation.id}-${at}`} message={message} at={at} isLast={message === last} />
          ))}
        </ol>
      )}
      {storageProblem.value === null ? null : (
        <p class="notice problem" role="alert">
          {storageProblem.value}
        </p>
      )}
      <SpokenText
        name={`${currentId.value}-${conversation?.messages.length ?? 0}`}
        text={last?.role === "assistant" ? last.content : ""}
        complete={running.value === null || running.value.conversation !== currentId.value}
      />
    </section>
  );
}

/** Prompts that a small model answers well. */
const examples = [
  "Give three tips for staying healthy.",
  "What makes a good friend?",
  "How do I make tea?",
  "Write a short story about a dog.",
];

const mostExamples = 6;

/** The adapter's own example first, then those of the two control vectors that can be turned furthest. */
function examplesFor(model: ModelEntry | null): readonly string[] {
  if (model === null) return examples;
  const vectors = vectorsOfRoot(model.root).toSorted((one, other) => widthOf(other) - widthOf(one));
  const prompts = vectors.flatMap(({ examplePrompt }) => examplePrompt ?? []);
  const shown = [...(model.examplePrompt === null ? [] : [model.examplePrompt]), ...new Set(prompts)].slice(0, 3);
  return [...new Set([...shown, ...examples])].slice(0, mostExamples);
}

function widthOf({ recommended }: VectorEntry): number {
  return recommended === null ? 0 : recommended[1] - recommended[0];
}

function Welcome() {
  const model = chosenModel.value;
  return (
    <div class="welcome">
      <h1>A frozen model, steered</h1>
      <p>
        {model === null ? (
          "Here a frozen language model is steered by a small adapter, as strongly as you like."
        ) : model.adapter === null ? (
          <>
            <b>{model.id}</b> answers as it is. Choose a model with an adapter below to steer it, or turn up a control
            vector in the settings.
          </>
        ) : (
          <>
            <b>{model.root}</b> is frozen. The adapter <b>{model.adapter}</b> picks what matters and feeds it back into
            every attention layer{model.description === null ? "." : `: ${lowerFirst(model.description)}`}{" "}
            <b>Steering strength</b>, the slider below, says how much.
          </>
        )}
      </p>
      {model !== null && vectorsOfRoot(model.root).length > 0 ? (
        <p>
          The <b>control vectors</b> {isNarrow.value ? "below" : "at the right"} are dials for its tone. Ask something,
          then move one: the same question is answered again. <a href="#/vectors">Make one of your own</a> in seconds,
          or see token by token what <a href="#/steering">steering</a> does.
        </p>
      ) : (
        <p>
          Try one at different strengths, or see what the base makes of the same question under{" "}
          <a href="#/steering">Steering</a>.
        </p>
      )}
      <div class="examples">
        {examplesFor(model).map((example) => (
          <button
            type="button"
            key={example}
            onClick={() => {
              if (model === null) draft.value = example;
              else void send(example);
            }}
          >
            {example}
          </button>
        ))}
      </div>
      {model?.root === "SmolLM2-135M-Instruct" ? (
        <p class="hint">
          The default model has 135 million parameters: it writes fluently, knows some facts, and is wrong about many.
        </p>
      ) : null}
      {conversations.value.length === 0 ? (
        <p class="hint">Conversations are kept in this browser and nowhere else.</p>
      ) : null}
    </div>
  );
}
