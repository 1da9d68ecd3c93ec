import { useState } from "preact/hooks";
import { CopyButton } from "../parts/copy-button.js";
import { milliseconds, short } from "../parts/format.js";
import { Markdown } from "../parts/markdown.js";
import { takeFocus } from "../parts/take-focus.js";
import { stackWords } from "../vector-stack.js";
import { beginFrom, continueAnswer, regenerate, resend, running } from "./chat-state.js";
import type { AssistantMessage, Message, SteeredText, UserMessage } from "./conversation.js";
import { linkTo } from "./shared-link.js";
import "./message-view.css";

export function MessageView({
  message,
  at,
  isLast,
}: {
  readonly message: Message;
  readonly at: number;
  readonly isLast: boolean;
}) {
  return message.role === "user" ? (
    <UserView message={message} at={at} />
  ) : (
    <AssistantView message={message} at={at} isLast={isLast} />
  );
}

function UserView({ message, at }: { readonly message: UserMessage; readonly at: number }) {
  const [edited, setEdited] = useState<string | null>(null);
  if (edited !== null) {
    return (
      <li class="message user">
        <form
          class="edit"
          onSubmit={(event) => {
            event.preventDefault();
            setEdited(null);
            void resend(at, edited);
          }}
        >
          <label class="visually-hidden" for={`edit-${at}`}>
            Edit your message
          </label>
          <textarea
            id={`edit-${at}`}
            rows={3}
            value={edited}
            ref={takeFocus}
            onInput={(event) => setEdited(event.currentTarget.value)}
            onKeyDown={(event) => {
              if (event.key === "Escape") setEdited(null);
            }}
          />
          <div class="row">
            <button type="submit" class="primary" disabled={edited.trim() === "" || running.value !== null}>
              Send again
            </button>
            <button type="button" class="quiet" onClick={() => setEdited(null)}>
              Cancel
            </button>
          </div>
        </form>
      </li>
    );
  }
  return (
    <li class="message user">
      <h2 class="visually-hidden">You</h2>
      <p class="said" dir="auto">
        {message.content}
      </p>
      <div class="message-tools">
        <CopyButton text={message.content} />
        <button
          type="button"
          class="quiet"
          disabled={running.value !== null}
          onClick={() => setEdited(message.content)}
        >
          Edit
        </button>
      </div>
    </li>
  );
}

function AssistantView({
  message,
  at,
  isLast,
}: {
  readonly message: AssistantMessage;
  readonly at: number;
  readonly isLast: boolean;
}) {
  const link = linkTo(at);
  const isRunning = message.state === "running";
  return (
    <li class="message assistant" aria-busy={isRunning}>
      <h2 class="who">
        {message.model}
        {steeringWords(message).map((words) => (
          <span class="strength-tag" key={words}>
            {" "}
            {words}
          </span>
        ))}
      </h2>
      {message.content === "" && isRunning ? <p class="waiting">Waiting for the first token</p> : null}
      <Markdown text={message.content} />
      {message.content === "" && message.state === "done" ? (
        <p class="hint">The model ended its answer without a word.</p>
      ) : null}
      {message.before === null || isRunning ? null : <Before before={message.before} open={isLast} />}
      {message.problem === null ? null : (
        <p class="problem-line" role="alert">
          {message.problem}
        </p>
      )}
      <div class="message-tools">
        <Facts message={message} />
        {isRunning ? null : <CopyButton text={message.content} />}
        {link === null || isRunning ? null : <CopyButton text={link} label="Copy link" />}
        {message.isTooLong && isLast ? (
          <button type="button" class="primary small" onClick={() => answerFromHere(message.turn)}>
            Begin from here
          </button>
        ) : null}
        {isLast && canContinue(message) ? (
          <button type="button" class="quiet" disabled={running.value !== null} onClick={() => void continueAnswer()}>
            Continue
          </button>
        ) : null}
        {isLast && !isRunning ? (
          <button
            type="button"
            class={message.state === "failed" && !message.isTooLong ? "primary small" : "quiet"}
            disabled={running.value !== null}
            onClick={() => void regenerate()}
          >
            {message.state === "failed" ? "Try again" : "Regenerate"}
          </button>
        ) : null}
      </div>
    </li>
  );
}

/** The question again without all that came before it, which did not fit. */
function answerFromHere(turn: string): void {
  beginFrom(turn);
  void regenerate();
}

function canContinue({ state, content }: AssistantMessage): boolean {
  return content !== "" && ["stopped", "interrupted", "length", "failed"].includes(state);
}

function steeringWords({ strength, vectors }: SteeredText): readonly string[] {
  return [...(strength === null ? [] : [`strength ${strength.toFixed(2)}`]), ...stackWords(vectors)];
}

/** What stood here before: the same seed, steered otherwise. */
function Before({ before, open }: { readonly before: SteeredText; readonly open: boolean }) {
  const words = [before.model, ...steeringWords(before)].join(", ");
  return (
    <details class="said-before" open={open}>
      <summary>Before: {words}</summary>
      <Markdown text={before.content} />
    </details>
  );
}

function Facts({ message }: { readonly message: AssistantMessage }) {
  const { tokens, tokensPerSecond, firstTextMs, state, seed } = message;
  if (state === "running") return null;
  const facts = [
    state === "stopped" ? "stopped" : null,
    state === "interrupted" ? "not finished: its page was left" : null,
    state === "length" ? "cut at the token limit" : null,
    tokens === null ? null : `${tokens} tokens`,
    tokensPerSecond === null ? null : `${short(tokensPerSecond)} tokens/s`,
    firstTextMs === null ? null : `first after ${milliseconds(firstTextMs)}`,
    `seed ${seed}`,
  ].filter((fact) => fact !== null);
  return <span class="facts-line">{facts.join(" · ")}</span>;
}
