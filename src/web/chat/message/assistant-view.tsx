import { CopyButton } from "../../parts/copy-button.js";
import { milliseconds, short } from "../../parts/format.js";
import { Markdown } from "../../parts/markdown.js";
import { stackWords } from "../../vector-stack.js";
import { answerFromHere, continueAnswer, regenerate, running, thread } from "../chat-state.js";
import type { AssistantMessage, SteeredText } from "../conversation.js";
import { linkTo } from "../shared-link.js";
import { VersionSwitch } from "./version-switch.js";
import { WhyThisAnswer } from "./why-this-answer.js";

export function AssistantView({
  message,
  versions,
  compared,
  isLast,
}: {
  readonly message: AssistantMessage;
  readonly versions: readonly string[];
  readonly compared: AssistantMessage | null;
  readonly isLast: boolean;
}) {
  const isRunning = message.state === "running";
  return (
    <li class="message assistant" aria-busy={isRunning} data-message={message.id}>
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
      {compared === null || isRunning ? null : <Before before={compared} open={isLast} />}
      {message.problem === null ? null : (
        <p class="problem-line" role="alert">
          {message.problem}
        </p>
      )}
      <Tools message={message} versions={versions} isLast={isLast} />
    </li>
  );
}

function Tools({
  message,
  versions,
  isLast,
}: {
  readonly message: AssistantMessage;
  readonly versions: readonly string[];
  readonly isLast: boolean;
}) {
  const link = linkTo(message);
  if (message.state === "running") return <div class="message-tools" />;
  const { state, content } = message;
  return (
    <div class="message-tools">
      <VersionSwitch id={message.id} versions={versions} />
      <Facts message={message} />
      {isLast && canContinue(message) ? (
        <button
          type="button"
          class={state === "interrupted" || state === "length" ? "primary small" : "quiet"}
          disabled={running.value !== null}
          onClick={() => void continueAnswer(message)}
        >
          Continue
        </button>
      ) : null}
      {message.isTooLong && isLast && thread.value[0]?.id !== message.parent ? (
        <button
          type="button"
          class="primary small"
          disabled={running.value !== null}
          onClick={() => void answerFromHere(message)}
        >
          Begin from here
        </button>
      ) : null}
      {content === "" ? null : <CopyButton text={content} />}
      {link === null ? null : <CopyButton text={link} label="Copy link" />}
      {link === null ? null : <WhyThisAnswer link={link} model={message.model} />}
      <button
        type="button"
        class={state === "failed" && isLast && !message.isTooLong ? "primary small" : "quiet"}
        disabled={running.value !== null}
        onClick={() => void regenerate(message)}
      >
        {state === "failed" ? "Try again" : "Regenerate"}
      </button>
    </div>
  );
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
  const facts = [
    state === "stopped" ? "stopped" : null,
    state === "interrupted" ? "not finished: its page was left" : null,
    state === "length" ? "cut at the token limit" : null,
    tokens === null ? null : `${tokens} ${tokens === 1 ? "token" : "tokens"}`,
    tokensPerSecond === null ? null : `${short(tokensPerSecond)} tokens/s`,
    firstTextMs === null ? null : `first after ${milliseconds(firstTextMs)}`,
    `seed ${seed}`,
  ].filter((fact) => fact !== null);
  return <span class="facts-line">{facts.join(" · ")}</span>;
}
