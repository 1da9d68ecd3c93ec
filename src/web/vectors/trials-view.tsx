import { AnswerColumn, ForkedText } from "../parts/answer-column.js";
import { firstDifference } from "../parts/first-difference.js";
import { PromptField } from "../parts/prompt-field.js";
import { LayerChart } from "./layer-chart.js";
import { signed } from "./maker.js";
import { type Standing, type Subject, standingOf, standingWords, strengthBounds } from "./trials.js";
import {
  askedPrompt,
  chosen,
  chosenVector,
  isBusy,
  layerStrength,
  type Mode,
  mode,
  prompt,
  run,
  seed,
  setLayerStrength,
  setStrength,
  shownTrials,
  stop,
  strengths,
  subjectKey,
  subjects,
  type Trial,
} from "./trials-state.js";
import { tryInChat } from "./vector-actions.js";
import "../parts/segments.css";
import "./trials-view.css";

const modes: readonly { readonly mode: Mode; readonly label: string; readonly meaning: string }[] = [
  {
    mode: "strengths",
    label: "Five strengths",
    meaning: "The same prompt and seed at five strengths, written side by side. The bar says which are recommended.",
  },
  {
    mode: "layers",
    label: "Which layers matter",
    meaning:
      "The same prompt, seed and strength, each time in one window of its layers only. A window that changes the text matters; one that does not could be left out.",
  },
];

/** One prompt, many settings, all in flight together. */
export function Trials() {
  const choice = chosen.value;
  if (choice === null) return null;
  const { subject } = choice;
  const vectorChoices = subjects.value.filter((one) => one.subject.kind === "vector");
  const adapterChoices = subjects.value.filter((one) => one.subject.kind === "adapter");
  return (
    <section class="trials" id="trials" tabIndex={-1} aria-label="Side by side">
      <h2>Side by side</h2>
      <form
        class="controls"
        onSubmit={(event) => {
          event.preventDefault();
          void run();
        }}
      >
        <PromptField id="trials-prompt" value={prompt} placeholder={askedPrompt.value} onSend={() => void run()} />
        <div class="controls-row">
          <div class="field">
            <label for="trials-subject">What is tried</label>
            <select
              id="trials-subject"
              value={choice.key}
              onChange={({ currentTarget }) => {
                subjectKey.value = currentTarget.value;
              }}
            >
              {[
                { label: "Control vectors", choices: vectorChoices },
                { label: "Adapters", choices: adapterChoices },
              ].map(({ label, choices }) =>
                choices.length === 0 ? null : (
                  <optgroup label={label} key={label}>
                    {choices.map((one) => (
                      <option key={one.key} value={one.key}>
                        {one.label}
                      </option>
                    ))}
                  </optgroup>
                ),
              )}
            </select>
          </div>
          <fieldset class="segments">
            <legend>Side by side</legend>
            {modes.map((one) => (
              <label key={one.mode} class={mode.value === one.mode ? "on" : ""}>
                <input
                  type="radio"
                  name="trials-mode"
                  checked={mode.value === one.mode}
                  onChange={() => {
                    mode.value = one.mode;
                  }}
                />
                {one.label}
              </label>
            ))}
          </fieldset>
          {mode.value === "layers" ? (
            <NumberField
              id="trials-strength"
              label="Strength"
              value={layerStrength.value}
              bounds={strengthBounds[subject.kind]}
              step={0.25}
              onChange={setLayerStrength}
            />
          ) : null}
          <NumberField
            id="trials-seed"
            label="Seed"
            value={seed.value}
            bounds={[0, 4_294_967_295]}
            step={1}
            onChange={(value) => {
              seed.value = Math.round(value);
            }}
          />
          <span class="grow" />
          {isBusy.value ? (
            <button key="stop" type="button" class="primary stop" onClick={stop}>
              Stop
            </button>
          ) : (
            <button type="submit" class="primary">
              {mode.value === "strengths" ? "Write five" : "Try the layers"}
            </button>
          )}
        </div>
        <p class="hint controls-row">{modes.find((one) => one.mode === mode.value)?.meaning}</p>
      </form>
      {mode.value === "layers" && chosenVector.value !== null ? <LayerChart vector={chosenVector.value} /> : null}
      {mode.value === "strengths" ? <Strip subject={subject} /> : <Windows subject={subject} />}
    </section>
  );
}

function NumberField({
  id,
  label,
  detail = "",
  value,
  bounds: [min, max],
  step,
  onChange,
}: {
  readonly id: string;
  readonly label: string;
  /** More of the label, for those who do not see where it stands. */
  readonly detail?: string;
  readonly value: number;
  readonly bounds: readonly [number, number];
  readonly step: number;
  readonly onChange: (value: number) => void;
}) {
  return (
    <div class="field">
      <label for={id}>
        {label}
        {detail === "" ? null : <span class="visually-hidden">{detail}</span>}
      </label>
      <input
        id={id}
        class="short-number"
        type="number"
        min={min}
        max={max}
        step={step}
        value={value}
        onChange={({ currentTarget }) => {
          const typed = currentTarget.valueAsNumber;
          const kept = Number.isFinite(typed) ? Math.min(max, Math.max(min, typed)) : value;
          onChange(kept);
          currentTarget.value = String(kept);
        }}
      />
    </div>
  );
}

function Strip({ subject }: { readonly subject: Subject }) {
  const asked = shownTrials.value;
  const plain = asked?.find(({ strength }) => strength === 0)?.answer.text ?? null;
  return (
    <ol class="strip strip-strengths">
      {strengths.value.map((strength, at) => {
        const trial = asked?.[at];
        // Typed anew since: what stands below was written at another one.
        const isCurrent = trial !== undefined && trial.strength === strength;
        const standing = standingOf(strength, subject);
        return (
          <li key={at} class={`strip-${standing}`}>
            <NumberField
              id={`strip-${at}`}
              label="Strength"
              detail={`, ${at + 1} of ${strengths.value.length}`}
              value={strength}
              bounds={strengthBounds[subject.kind]}
              step={0.125}
              onChange={(value) => setStrength(at, value)}
            />
            <p class="standing">{standingWords[standing]}</p>
            {isCurrent ? (
              <TrialText trial={trial} title={`Strength ${signed(strength)}`} standing={standing} plain={plain} />
            ) : null}
            {isCurrent && strength !== 0 ? <UseButton subject={subject} trial={trial} /> : null}
          </li>
        );
      })}
    </ol>
  );
}

function Windows({ subject }: { readonly subject: Subject }) {
  const asked = shownTrials.value;
  if (asked === null) return null;
  const plain = asked[0]?.answer ?? null;
  return (
    <ol class="strip strip-windows">
      {asked.map((trial) => {
        const { layers, strength, answer } = trial;
        const title = layers === null ? "Not steered" : layerWords(layers);
        const isSame = layers !== null && plain !== null && plain.phase === "done" && answer.phase === "done";
        const effect = isSame ? effectWords(plain.text, answer.text) : "";
        return (
          <li key={title} class={layers === null ? "strip-base" : "strip-window"}>
            <p class="standing">{layers === null ? "the model as it is" : `strength ${signed(strength)}`}</p>
            <TrialText
              trial={trial}
              title={title}
              standing={layers === null ? "base" : "unknown"}
              plain={plain?.text ?? null}
            />
            <p class="facts-line">{effect}</p>
            {layers === null ? null : <UseButton subject={subject} trial={trial} />}
          </li>
        );
      })}
    </ol>
  );
}

export function layerWords([from, to]: readonly [number, number]): string {
  return from === to ? `Layer ${from}` : `Layers ${from}–${to}`;
}

function effectWords(plain: string, text: string): string {
  const { at, kind } = firstDifference(plain, text);
  if (kind === "same") return "the same text";
  return at === 0 ? "differs from the first character" : `differs after ${at} characters`;
}

function TrialText({
  trial: { answer },
  title,
  standing,
  plain,
}: {
  readonly trial: Trial;
  readonly title: string;
  readonly standing: Standing;
  /** The text without steering, as far as it has come. */
  readonly plain: string | null;
}) {
  const difference = plain === null || standing === "base" ? null : firstDifference(plain, answer.text);
  return (
    <AnswerColumn kind={standing === "base" ? "base" : "steered"} title={title} answer={answer} facts={false}>
      <ForkedText text={answer.text} forkAt={difference?.kind === "differ" ? difference.at : null} />
    </AnswerColumn>
  );
}

/** A vector goes into the chat as it stands here; an adapter is chosen there. */
function UseButton({ subject, trial }: { readonly subject: Subject; readonly trial: Trial }) {
  const vector = chosenVector.value;
  if (subject.kind === "adapter" || vector === null) return null;
  return (
    <button type="button" class="quiet" onClick={() => tryInChat(vector, trial.strength, trial.layers)}>
      Take to the chat
      <span class="visually-hidden">
        {" "}
        at strength {signed(trial.strength)}
        {trial.layers === null ? "" : ` in ${layerWords(trial.layers).toLowerCase()}`}
      </span>
    </button>
  );
}
