import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { lowerFirst } from "../parts/format.js";
import { Markdown } from "../parts/markdown.js";
import { type Demonstration, demonstrations, loadRecording } from "./recording.js";
import { askNow, showTokens } from "./take-over.js";
import "../parts/answer-column.css";
import "../parts/segments.css";
import "./first-screen.css";

/**
 * What steering is, at a glance: one prompt, answered by the model as it is and steered, and a dial. Recorded, so that
 * it is there before anything is asked; nothing where the recorded model is not served.
 */
export function Demonstrations() {
  const chosen = useSignal("");
  useEffect(() => void loadRecording(), []);
  const all = demonstrations.value;
  const shown = all.find(({ name }) => name === chosen.value) ?? all[0];
  if (shown === undefined) return null;
  return (
    <section class="demonstration" aria-label="A recorded example">
      <fieldset class="segments">
        <legend class="visually-hidden">What steers</legend>
        {all.map(({ name }) => (
          <label key={name} class={name === shown.name ? "on" : ""}>
            <input
              type="radio"
              name="demonstration"
              checked={name === shown.name}
              onChange={() => {
                chosen.value = name;
              }}
            />
            {name}
          </label>
        ))}
      </fieldset>
      <Turned key={shown.name} shown={shown} />
    </section>
  );
}

/** One of them, at the strength that the dial says. */
function Turned({ shown }: { readonly shown: Demonstration }) {
  const { kind, name, root, description, prompt, seed, answers, start } = shown;
  const at = useSignal(start);
  const answer = answers[at.value];
  const plain = answers.find(({ strength }) => strength === 0);
  if (answer === undefined || plain === undefined) return null;
  const strength = answer.strength.toFixed(2);
  const what = kind === "adapter" ? "an adapter" : "a control vector";
  return (
    <>
      <p class="hint">
        <b>{name}</b>, {what}
        {description === null ? "." : `: ${lowerFirst(description)}`}
      </p>
      <div class="strength">
        <label for="demonstration-strength">
          Turn the dial <output for="demonstration-strength">{strength}</output>
        </label>
        <input
          id="demonstration-strength"
          type="range"
          min={0}
          max={answers.length - 1}
          step={1}
          value={at.value}
          aria-valuetext={`Strength ${strength}`}
          onInput={({ currentTarget }) => {
            at.value = currentTarget.valueAsNumber;
          }}
        />
        <div class="stops" aria-hidden="true">
          {answers.map((one) => (
            <span key={one.strength}>{one.strength === 0 ? "0 plain" : one.strength}</span>
          ))}
        </div>
      </div>
      <p class="said">{prompt}</p>
      <div class="columns">
        <Said kind="base" title="The model as it is" texts={[plain.text]} at={0} />
        <Said
          kind="steered"
          title={`Steered, ${name} ${strength}`}
          texts={answers.map(({ text }) => text)}
          at={at.value}
        />
      </div>
      <p class="hint">
        Recorded from {root}, seed {seed}, cut short. The weights never change.
      </p>
      <div class="row">
        <button type="button" class="primary" onClick={() => void askNow(shown, answer.strength)}>
          Ask it now
        </button>
        <button type="button" onClick={() => void showTokens(shown, answer.strength)}>
          Token by token
        </button>
      </div>
    </>
  );
}

/** All texts lie in one place, so that it is as high as the longest and turning the dial moves nothing else. */
function Said({
  kind,
  title,
  texts,
  at,
}: {
  readonly kind: "base" | "steered";
  readonly title: string;
  readonly texts: readonly string[];
  readonly at: number;
}) {
  return (
    <section class={`column column-${kind}`} aria-label={title}>
      <h2>{title}</h2>
      <div class="in-one-place">
        {texts.map((text, index) => (
          <div key={index} class={index === at ? "" : "unseen"}>
            <Markdown text={text} />
          </div>
        ))}
      </div>
    </section>
  );
}
