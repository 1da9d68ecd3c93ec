import { percent, short } from "../parts/format.js";
import { vectorExamples } from "./examples.js";
import {
  base,
  bases,
  cancel,
  chooseBase,
  form,
  formProblems,
  type Made,
  type MakerForm,
  made,
  make,
  making,
  makingProblem,
  taken,
} from "./maker-state.js";
import { RangeScale } from "./range-scale.js";
import { freeName, nameFor, type Sides } from "./sides.js";
import { choose } from "./trials-state.js";
import { tryInChat, usualStrength } from "./vector-actions.js";
import { weaknesses } from "./worth.js";
import "./maker.css";

/** Two sides and a name; what becomes of them is watched here. */
export function Maker() {
  const busy = making.value !== null;
  return (
    <section class="maker" aria-label="Make a vector">
      <form
        noValidate
        onSubmit={(event) => {
          event.preventDefault();
          void make();
        }}
      >
        <fieldset disabled={busy} class="maker-fields">
          <legend class="visually-hidden">The two sides</legend>
          <SideField field="positive" label="More like …" placeholder="a pirate" />
          <SideField field="negative" label="Less like …" placeholder="an ordinary person" />
          <SideField field="name" label="Name" placeholder="pirate" />
        </fieldset>
        <fieldset class="examples-row">
          <legend class="hint">For example</legend>
          {vectorExamples.map((example) => (
            <button
              type="button"
              key={example.label}
              disabled={busy}
              onClick={() => {
                const { positive, negative, examplePrompt } = example;
                const name = freeName(example.name, taken.value);
                form.value = { ...form.value, positive, negative, examplePrompt, name, nameIsTyped: false };
              }}
            >
              {example.label}
            </button>
          ))}
        </fieldset>
        <div class="maker-foot">
          {bases.value.length > 1 ? (
            <div class="field">
              <label for="maker-base">For the model</label>
              <select
                id="maker-base"
                value={base.value?.id ?? ""}
                disabled={busy}
                onChange={({ currentTarget }) => chooseBase(currentTarget.value)}
              >
                {bases.value.map(({ id }) => (
                  <option key={id}>{id}</option>
                ))}
              </select>
            </div>
          ) : null}
          <label class="check">
            <input
              type="checkbox"
              checked={form.value.sweep}
              disabled={busy}
              onChange={({ currentTarget }) => {
                form.value = { ...form.value, sweep: currentTarget.checked };
              }}
            />{" "}
            Try strengths too, for a recommended range (takes longer)
          </label>
          <span class="grow" />
          {busy ? (
            // Another element than the one that submits: it takes its place while the click is still under way.
            <button key="stop" type="button" class="primary stop" onClick={cancel}>
              Cancel
            </button>
          ) : (
            <button type="submit" class="primary" disabled={base.value === null}>
              Make the vector
            </button>
          )}
        </div>
      </form>
      <Progress />
      {makingProblem.value === null ? null : (
        <p class="problem-line" role="alert">
          {makingProblem.value}
        </p>
      )}
      {made.value === null ? null : <Outcome made={made.value} />}
    </section>
  );
}

function SideField({
  field,
  label,
  placeholder,
}: {
  readonly field: keyof Sides;
  readonly label: string;
  readonly placeholder: string;
}) {
  const id = `maker-${field}`;
  const problem = formProblems.value.find((one) => one.field === field) ?? null;
  return (
    <div class={`field maker-${field}`}>
      <label for={id}>{label}</label>
      <input
        id={id}
        type="text"
        autocomplete="off"
        spellcheck={field !== "name"}
        placeholder={placeholder}
        value={form.value[field]}
        aria-invalid={problem !== null}
        aria-describedby={problem === null ? undefined : `${id}-problem`}
        onInput={({ currentTarget }) => {
          form.value = typed(form.value, field, currentTarget.value);
        }}
      />
      {problem === null ? null : (
        <p id={`${id}-problem`} class="hint warning" role="alert">
          {problem.sentence}
        </p>
      )}
    </div>
  );
}

/** The name follows the first side until somebody writes one; an example's prompt shows nothing of other sides. */
function typed(form: MakerForm, field: keyof Sides, text: string): MakerForm {
  switch (field) {
    case "positive": {
      const name = form.nameIsTyped ? form.name : nameFor(text, taken.value);
      return { ...form, positive: text, name, examplePrompt: null };
    }
    case "negative":
      return { ...form, negative: text, examplePrompt: null };
    case "name":
      return { ...form, name: text, nameIsTyped: text !== "" };
  }
}

function Progress() {
  const { value } = making;
  if (value === null) return null;
  const words = {
    starting: `Making ${value.name}`,
    reading: `Making ${value.name}: reading how the model would go on, ${value.done} of ${value.total} sentences`,
    sweeping: `Making ${value.name}: trying strengths, step ${value.done} of ${value.total}`,
  }[value.stage];
  return (
    <div class="maker-progress">
      <label for="making">{words}</label>
      <progress id="making" value={value.fraction} max={1} />
    </div>
  );
}

function Outcome({ made: { vector, wasTried, tookMs } }: { readonly made: Made }) {
  const { name, description, separation, normShare, recommended } = vector;
  const against = weaknesses(vector, wasTried);
  return (
    <div class="outcome">
      <h2>
        {name} is ready <span class="hint">made in {Math.max(1, Math.round(tookMs / 1000))} s</span>
      </h2>
      {description === null ? null : <p>{description}</p>}
      {against.map((sentence) => (
        <p class="problem-line" key={sentence}>
          {sentence}
        </p>
      ))}
      <dl class="figures">
        <div>
          <dt>Tells the two sides apart</dt>
          <dd>
            {separation === null ? "not measured" : `${Math.round(separation * 100)} in 100`}
            <span class="hint">mean of its layers, on sentences that had no part in it; guessing gets 50</span>
          </dd>
        </div>
        <div>
          <dt>Size at strength 1</dt>
          <dd>
            {normShare === null ? "not measured" : shareWords(normShare)}
            <span class="hint">of what a layer hands on, as a mean of the layers</span>
          </dd>
        </div>
        <div>
          <dt>Recommended strengths</dt>
          <dd>
            {recommended === null
              ? wasTried
                ? "none held"
                : "not tried"
              : `${signed(recommended[0])} to ${signed(recommended[1])}`}
            <RangeScale range={recommended} />
          </dd>
        </div>
      </dl>
      <div class="row">
        <button type="button" class="primary" onClick={() => tryInChat(vector)}>
          Try it in the chat, at {signed(usualStrength(vector))}
        </button>
        <button type="button" onClick={() => choose(vector)}>
          See five strengths
        </button>
      </div>
    </div>
  );
}

function shareWords(share: number): string {
  return share < 0.1 ? `${short(share * 100)} %` : percent(share);
}

/** −0.5, 0, 1.5. */
export function signed(strength: number): string {
  return String(strength).replace("-", "−");
}
