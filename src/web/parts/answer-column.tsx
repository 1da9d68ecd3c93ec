import type { ComponentChildren } from "preact";
import { type Answer, paceOf } from "../wire/answer.js";
import { milliseconds, short } from "./format.js";
import "./answer-column.css";

/** One of two answers side by side: whose it is, its text, how it went. */
export function AnswerColumn({
  kind,
  title,
  answer,
  facts = true,
  children,
}: {
  /** Colours the column: the base as it is, steered, or another model. */
  readonly kind: "base" | "steered" | "other";
  readonly title: string;
  readonly answer: Answer | null;
  /** Whether length and pace are told; of many at once they say little. */
  readonly facts?: boolean;
  readonly children: ComponentChildren;
}) {
  return (
    <section class={`column column-${kind}`} aria-label={title} aria-busy={answer?.phase === "streaming"}>
      <h2>{title}</h2>
      <div class="column-text">{children}</div>
      {answer?.phase === "waiting" ? <p class="waiting">Waiting for the first token</p> : null}
      {answer === null || answer.problem === null ? null : (
        <p class="problem-line" role="alert">
          {answer.problem.sentence}
        </p>
      )}
      {answer === null || !facts ? null : <p class="facts-line">{factsOf(answer).join(" · ")}</p>}
    </section>
  );
}

function factsOf(answer: Answer): readonly string[] {
  const { firstTextMs, tokensPerSecond } = paceOf(answer);
  return [
    answer.phase === "stopped" ? "stopped" : null,
    answer.finishReason === "length" ? "cut at the token limit" : null,
    answer.completionTokens === null ? null : `${answer.completionTokens} tokens`,
    tokensPerSecond === null ? null : `${short(tokensPerSecond)} tokens/s`,
    firstTextMs === null ? null : `first after ${milliseconds(firstTextMs)}`,
  ].filter((fact) => fact !== null);
}

/** Plain text with a mark where another first differs from it; at the very beginning a mark would say nothing. */
export function ForkedText({ text, forkAt }: { readonly text: string; readonly forkAt: number | null }) {
  if (forkAt === null || forkAt === 0) return <p class="plain-text">{text}</p>;
  return (
    <p class="plain-text">
      {text.slice(0, forkAt)}
      <mark class="fork-mark">
        <span class="visually-hidden">Here the two texts first differ:</span>
      </mark>
      {text.slice(forkAt)}
    </p>
  );
}
