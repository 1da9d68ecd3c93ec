import { useEffect } from "preact/hooks";
import { AnswerColumn, ForkedText } from "../parts/answer-column.js";
import { firstDifference } from "../parts/first-difference.js";
import { Icon } from "../parts/icon.js";
import { Markdown } from "../parts/markdown.js";
import { PromptField } from "../parts/prompt-field.js";
import { SamplingForm } from "../parts/sampling-form.js";
import { Segments } from "../parts/segments.js";
import { StackPicker } from "../parts/stack-picker.js";
import { settings } from "../sampling.js";
import { access, models } from "../session.js";
import type { Side } from "./compare-frames.js";
import {
  answers,
  choices,
  contestantOf,
  contestants,
  isBusy,
  isComparable,
  loadContestants,
  prompt,
  run,
  shown,
  stop,
  textForm,
} from "./compare-state.js";
import "../parts/wide-view.css";

/** One prompt, two contestants, names known. */
export function CompareView() {
  useEffect(() => void loadContestants(), [access.value, models.value]);
  const { left, right } = answers.value;
  const difference = left === null || right === null ? null : firstDifference(left.text, right.text);
  const forkAt = difference?.kind === "differ" ? difference.at : null;
  return (
    <div class="wide">
      <h1>Compare</h1>
      <p class="lead">
        One prompt, two answers, same seed and sampling. Hold steering against the same base fully fine-tuned, against
        the base itself, or against another strength. To judge without knowing who is who, go to the{" "}
        <a href="#/arena">arena</a>.
      </p>
      {isComparable.value ? <Question /> : <Alone />}
      {left === null && right === null ? null : (
        <>
          <Segments
            name="compare-form"
            legend="Show the answers"
            isLegendSeen={false}
            options={[
              { value: "formatted", label: "Formatted" },
              { value: "written", label: "As written, with the mark where they part" },
            ]}
            value={textForm.value}
            onChoose={(form) => {
              textForm.value = form;
            }}
          />
          <div class="columns">
            {(["left", "right"] as const).map((side) => (
              <AnswerColumn key={side} {...shown.value[side]} answer={answers.value[side]}>
                {textForm.value === "formatted" ? (
                  <Markdown text={answers.value[side]?.text ?? ""} />
                ) : (
                  <ForkedText text={answers.value[side]?.text ?? ""} forkAt={forkAt} />
                )}
              </AnswerColumn>
            ))}
          </div>
          <p class="facts-line">Both from seed {shown.value.seed}.</p>
        </>
      )}
    </div>
  );
}

/** What to do where there is nobody to compare with. */
function Alone() {
  const [only] = contestants.value;
  return (
    <p>
      There is nothing to compare yet: <b>{only?.id}</b> is all that is served here, and no adapter steers it, so both
      sides would say the same. Serve a second model or an adapter, or name other servers with{" "}
      <code>--contestants</code>. <a href="#/vectors">Control vectors</a> have their own comparison, of five strengths
      side by side.
    </p>
  );
}

function Question() {
  return (
    <form
      class="controls"
      onSubmit={(event) => {
        event.preventDefault();
        void run();
      }}
    >
      <PromptField id="compare-prompt" value={prompt} onSend={() => void run()} />
      <div class="controls-row pair">
        <SidePicker side="left" />
        <SidePicker side="right" />
      </div>
      {settings.value.systemPrompt.trim() === "" ? null : (
        <p class="hint controls-row">Both are sent the chat's system prompt.</p>
      )}
      <div class="controls-row">
        <details class="grow">
          <summary>Sampling</summary>
          <SamplingForm names={["temperature", "top_p", "max_tokens", "seed"]} idPrefix="compare" model={null} />
        </details>
        {isBusy.value ? (
          <button key="stop" type="button" class="primary stop" onClick={stop}>
            <Icon of="stop" />
            Stop
          </button>
        ) : (
          <button type="submit" class="primary" disabled={contestants.value.length === 0 || prompt.value.trim() === ""}>
            <Icon of="run" />
            Compare
          </button>
        )}
      </div>
    </form>
  );
}

function SidePicker({ side }: { readonly side: Side }) {
  return (
    <StackPicker
      id={`compare-${side}`}
      label={side === "left" ? "Left" : "Right"}
      contestants={contestants.value}
      contestant={contestantOf(side)}
      choice={choices.value[side]}
      onChange={(choice) => {
        choices.value = { ...choices.value, [side]: choice };
      }}
    />
  );
}
