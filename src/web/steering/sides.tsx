import { useEffect, useMemo, useRef } from "preact/hooks";
import { AnswerColumn, ForkedText } from "../parts/answer-column.js";
import { stackWords } from "../vector-stack.js";
import type { Answer } from "../wire/answer.js";
import { Inspector, PromptTokens } from "./explanation.js";
import { forkOf, runAt, verdict } from "./fork.js";
import { countDrafts } from "./shading.js";
import { base, scaleOf, select, selectedIn, shadeBy, shown, steered } from "./steering-state.js";
import { tokenRuns } from "./token-runs.js";
import { draftShare, TokenText } from "./token-text.js";

/** Both answers, where they part, and what the steering did. */
export function Sides() {
  const left = base.value;
  const right = steered.value;
  const fork = forkOf(left, right);
  const runs = useMemo(() => tokenRuns(right?.tokens ?? []), [right?.tokens]);
  const forkRun = fork.at === null ? null : runAt(runs, right?.text ?? "", fork.at);
  const promptRuns = useMemo(() => tokenRuns(right?.promptExplanation ?? []), [right?.promptExplanation]);
  const { strength, stack } = shown.value;
  const words = [...(strength === null ? [] : [`strength ${strength.toFixed(2)}`]), ...stackWords(stack)];
  const isSteered = (strength ?? 0) > 0 || Object.keys(stack).length > 0;
  const hasTokens = runs.length > 0;
  const isExplained = hasTokens || promptRuns.length > 0;
  const top = useRef<HTMLParagraphElement>(null);
  useEffect(() => {
    // On a phone the first run would write where nobody looks.
    const place = top.current?.getBoundingClientRect().top ?? 0;
    if (place > innerHeight * 0.7) top.current?.scrollIntoView();
  }, []);
  return (
    <>
      <p class="verdict" role="status" ref={top}>
        {verdict(fork, isSteered)}
      </p>
      <div class={isExplained ? "sides" : ""}>
        <div class="sides-texts">
          <div class="columns">
            <AnswerColumn kind="base" title="Base, strength 0" answer={left}>
              <ForkedText text={left?.text ?? ""} forkAt={forkRun?.startsAt ?? fork.at} />
            </AnswerColumn>
            <AnswerColumn
              kind="steered"
              title={words.length === 0 ? "Steered, by nothing yet" : `Steered, ${words.join(", ")}`}
              answer={right}
            >
              {hasTokens ? (
                <TokenText
                  label="Tokens of the steered answer"
                  runs={runs}
                  by={shadeBy.value}
                  scale={scaleOf([...runs, ...promptRuns])}
                  forkAt={forkRun?.index ?? null}
                  selected={selectedIn("output")}
                  onSelect={(at) => select("output", at)}
                />
              ) : (
                <ForkedText text={right?.text ?? ""} forkAt={fork.at} />
              )}
              <Drafts answer={right} />
            </AnswerColumn>
          </div>
          <PromptTokens runs={runs} promptRuns={promptRuns} />
        </div>
        {isExplained ? <Inspector runs={runs} promptRuns={promptRuns} /> : null}
      </div>
    </>
  );
}

function Drafts({ answer }: { readonly answer: Answer | null }) {
  const { accepted, proposed } = countDrafts(answer?.tokens ?? []);
  if (proposed === 0) return null;
  return <p class="facts-line">{draftShare(accepted, proposed)}</p>;
}
