import { useEffect, useMemo, useRef } from "preact/hooks";
import { AnswerColumn, ForkedText } from "../parts/answer-column.js";
import { CopyButton } from "../parts/copy-button.js";
import { Markdown } from "../parts/markdown.js";
import { Segments } from "../parts/segments.js";
import { stackWords } from "../vector-stack.js";
import type { ExplainedToken } from "../wire/answer.js";
import { PromptTokens } from "./explanation.js";
import { forkOf, runAt, verdict } from "./fork.js";
import { linkToShown } from "./steering-link.js";
import { base, scaleNow, select, selectedIn, shadeBy, shown, steered, textForm } from "./steering-state.js";
import { type ShownRuns, tokenRuns } from "./token-runs.js";
import { TokenText } from "./token-text.js";

const none: readonly ExplainedToken[] = [];

export function useRuns(): ShownRuns {
  const { tokens, promptExplanation } = steered.value ?? { tokens: none, promptExplanation: none };
  const runs = useMemo(() => tokenRuns(tokens), [tokens]);
  const promptRuns = useMemo(() => tokenRuns(promptExplanation), [promptExplanation]);
  return { runs, promptRuns };
}

/** Both answers, and where they part. */
export function Sides({ runs, promptRuns }: ShownRuns) {
  const left = base.value;
  const right = steered.value;
  const fork = forkOf(left, right);
  const forkRun = fork.at === null ? null : runAt(runs, right?.text ?? "", fork.at);
  const { strength, stack } = shown.value;
  const words = [...(strength === null ? [] : [`strength ${strength.toFixed(2)}`]), ...stackWords(stack)];
  const isSteered = (strength ?? 0) > 0 || Object.keys(stack).length > 0;
  const isFormatted = textForm.value === "formatted";
  const link = linkToShown();
  const top = useRef<HTMLDivElement>(null);
  useEffect(() => {
    // On a phone the first run would write where nobody looks.
    const place = top.current?.getBoundingClientRect().top ?? 0;
    if (place > innerHeight * 0.7) top.current?.scrollIntoView();
  }, []);
  return (
    <>
      <div class="above-answers" ref={top}>
        <p class="verdict" role="status">
          {verdict(fork, isSteered)}
        </p>
        <Segments
          name="text-form"
          legend="Show the answers"
          isLegendSeen={false}
          options={[
            { value: "tokens", label: "As tokens" },
            { value: "formatted", label: "Formatted" },
          ]}
          value={textForm.value}
          onChoose={(form) => {
            textForm.value = form;
          }}
        />
        {link === null ? null : <CopyButton text={link} label="Copy link" />}
      </div>
      <div class="columns">
        <AnswerColumn kind="base" title="Base, strength 0" answer={left}>
          {isFormatted ? (
            <Markdown text={left?.text ?? ""} />
          ) : (
            <ForkedText text={left?.text ?? ""} forkAt={forkRun?.startsAt ?? fork.at} />
          )}
        </AnswerColumn>
        <AnswerColumn
          kind="steered"
          title={words.length === 0 ? "Steered, by nothing yet" : `Steered, ${words.join(", ")}`}
          answer={right}
        >
          {isFormatted ? (
            <Markdown text={right?.text ?? ""} />
          ) : runs.length > 0 ? (
            <TokenText
              label="Tokens of the steered answer"
              runs={runs}
              by={shadeBy.value}
              scale={scaleNow()}
              forkAt={forkRun?.index ?? null}
              selected={selectedIn("output")}
              onSelect={(at) => select("output", at)}
            />
          ) : (
            <ForkedText text={right?.text ?? ""} forkAt={fork.at} />
          )}
        </AnswerColumn>
      </div>
      <PromptTokens promptRuns={promptRuns} />
    </>
  );
}
