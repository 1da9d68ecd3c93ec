import { signal } from "@preact/signals";
import { useEffect, useMemo, useRef } from "preact/hooks";
import { AnswerColumn, ForkedText } from "../parts/answer-column.js";
import { firstDifference } from "../parts/first-difference.js";
import { short } from "../parts/format.js";
import { PromptField } from "../parts/prompt-field.js";
import { StrengthSlider } from "../parts/strength-slider.js";
import { settings } from "../sampling.js";
import { type Answer, isRunning } from "../wire/answer.js";
import { GainsChart } from "./gains-chart.js";
import { countDrafts, meanGains, shadingScale } from "./shading.js";
import {
  base,
  drawAnotherSeed,
  isBusy,
  layers,
  prompt,
  run,
  seed,
  shownStrength,
  steerable,
  steered,
  stop,
  watched,
} from "./steering-state.js";
import { type TokenRun, tokenRuns } from "./token-runs.js";
import { describe, draftShare, type ShadeBy, shadedValue, TokenText } from "./token-text.js";

const shadeBy = signal<ShadeBy>("relevance");
const selected = signal<{ readonly where: "prompt" | "output"; readonly at: number } | null>(null);

/** The same question to the base model and to the steered one, from the same seed, and what the steering did. */
export function SteeringView() {
  const ready = watched.value !== null;
  return (
    <div class="wide">
      <h1>What steering does</h1>
      <p class="lead">
        One frozen model answers twice from the same random seed. Left as it is; right with an adapter that picks what
        matters for the task and feeds it back into attention, as strongly as the slider says.
      </p>
      <Controls />
      {base.value === null && steered.value === null ? (
        <p class="hint">
          {ready
            ? "Run it, then move the slider: the right side answers anew."
            : "No steered model is served here. Serve one with an adapter to use this view."}
        </p>
      ) : (
        <Sides />
      )}
    </div>
  );
}

function Controls() {
  const model = watched.value;
  const rerun = useRef<ReturnType<typeof setTimeout> | null>(null);
  useEffect(() => () => clearTimeout(rerun.current ?? undefined), []);
  /** Moving a control answers anew, once it rests; the first run is the user's to start. */
  const soon = () => {
    clearTimeout(rerun.current ?? undefined);
    if (steered.value !== null) rerun.current = setTimeout(() => void run(), 300);
  };
  const last = (model?.layers ?? 1) - 1;
  const [from, to] = layers.value ?? [0, last];
  const setLayers = (nextFrom: number, nextTo: number) => {
    layers.value = nextFrom === 0 && nextTo === last ? null : [Math.min(nextFrom, nextTo), Math.max(nextFrom, nextTo)];
    soon();
  };
  const layerOptions = Array.from({ length: last + 1 }, (_, layer) => (
    <option key={layer} value={layer}>
      {layer}
    </option>
  ));
  return (
    <form
      class="controls"
      onSubmit={(event) => {
        event.preventDefault();
        void run();
      }}
    >
      <PromptField id="steering-prompt" value={prompt} onSend={() => void run()} />
      <StrengthSlider
        id="steering-strength"
        value={settings.value.strength}
        onInput={(strength) => {
          settings.value = { ...settings.value, strength };
          soon();
        }}
      />
      <div class="controls-row">
        {steerable.value.length > 1 ? (
          <div class="field">
            <label for="steering-model">Model</label>
            <select
              id="steering-model"
              value={model?.id}
              onChange={({ currentTarget }) => {
                settings.value = { ...settings.value, model: currentTarget.value };
                layers.value = null;
                soon();
              }}
            >
              {steerable.value.map(({ id }) => (
                <option key={id} value={id}>
                  {id}
                </option>
              ))}
            </select>
          </div>
        ) : null}
        <fieldset class="field layers">
          <legend>Steered layers</legend>
          <label>
            <span class="visually-hidden">from layer</span>
            <select value={from} onChange={({ currentTarget }) => setLayers(Number(currentTarget.value), to)}>
              {layerOptions}
            </select>
          </label>
          <span aria-hidden="true">–</span>
          <label>
            <span class="visually-hidden">to layer</span>
            <select value={to} onChange={({ currentTarget }) => setLayers(from, Number(currentTarget.value))}>
              {layerOptions}
            </select>
          </label>
        </fieldset>
        <div class="field">
          <label for="steering-seed">Seed</label>
          <span class="row">
            <input
              id="steering-seed"
              type="number"
              min={0}
              max={4_294_967_295}
              step={1}
              value={seed.value}
              onChange={({ currentTarget }) => {
                seed.value = Math.max(0, Math.round(currentTarget.valueAsNumber || 0));
                soon();
              }}
            />
            <button
              type="button"
              class="quiet"
              onClick={() => {
                drawAnotherSeed();
                soon();
              }}
            >
              Draw another
            </button>
          </span>
        </div>
        <span class="grow" />
        {isBusy.value ? (
          <button type="button" class="primary stop" onClick={stop}>
            Stop
          </button>
        ) : (
          <button type="submit" class="primary" disabled={model === null || prompt.value.trim() === ""}>
            Run both
          </button>
        )}
      </div>
    </form>
  );
}

function Sides() {
  const left = base.value;
  const right = steered.value;
  const difference = left === null || right === null ? null : firstDifference(left.text, right.text);
  const settled = left !== null && right !== null && !isRunning(left) && !isRunning(right);
  // While one has only not come as far as the other, there is no difference yet.
  const forkAt =
    difference !== null && (difference.kind === "differ" || (settled && difference.kind === "prefix"))
      ? difference.at
      : null;
  const runs = useMemo(() => tokenRuns(right?.tokens ?? []), [right?.tokens]);
  const forkRun = forkAt === null ? null : runAt(runs, right?.text ?? "", forkAt);
  const promptRuns = useMemo(() => tokenRuns(right?.promptExplanation ?? []), [right?.promptExplanation]);
  const strength = shownStrength.value;
  const hasTokens = runs.length > 0;
  return (
    <>
      <p class="verdict" role="status">
        {verdict(difference?.kind ?? null, settled, strength, forkAt)}
      </p>
      <div class="columns">
        <AnswerColumn kind="base" title="Base, strength 0" answer={left}>
          <ForkedText text={left?.text ?? ""} forkAt={forkRun?.startsAt ?? forkAt} />
        </AnswerColumn>
        <AnswerColumn kind="steered" title={`Steered, strength ${strength.toFixed(2)}`} answer={right}>
          {hasTokens ? (
            <TokenText
              label="Tokens of the steered answer"
              runs={runs}
              by={shadeBy.value}
              scale={scaleOf(runs)}
              forkAt={forkRun?.index ?? null}
              selected={selectedIn("output")}
              onSelect={(at) => select("output", at)}
            />
          ) : (
            <ForkedText text={right?.text ?? ""} forkAt={forkAt} />
          )}
          <Drafts answer={right} />
        </AnswerColumn>
      </div>
      {hasTokens || promptRuns.length > 0 ? <Explanation runs={runs} promptRuns={promptRuns} /> : null}
    </>
  );
}

function verdict(kind: "same" | "prefix" | "differ" | null, settled: boolean, strength: number, forkAt: number | null) {
  if (forkAt !== null) {
    return forkAt === 0
      ? "The two differ from the first character."
      : `The two agree for ${forkAt} characters; the mark shows where they part.`;
  }
  if (!settled || kind !== "same") return "";
  return strength === 0
    ? "Strength 0 is the base model: the same text, bit for bit."
    : "Same text on both sides: this strength is too small to change a token here.";
}

/** @returns which run holds the character at `at` of the answer's text, and where in the text it begins. */
function runAt(runs: readonly TokenRun[], text: string, at: number) {
  const joined = runs.map((run) => run.text).join("");
  // A leading space of the first token is no part of the text.
  let reached = text === "" || !joined.includes(text) ? 0 : -joined.indexOf(text);
  for (const [index, run] of runs.entries()) {
    if (reached + run.text.length > at) return { index, startsAt: Math.max(0, reached) };
    reached += run.text.length;
  }
  return null;
}

function Drafts({ answer }: { readonly answer: Answer | null }) {
  const { accepted, proposed } = countDrafts(answer?.tokens ?? []);
  if (proposed === 0) return null;
  return <p class="facts-line">{draftShare(accepted, proposed)}</p>;
}

function selectedIn(where: "prompt" | "output"): number | null {
  return selected.value?.where === where ? selected.value.at : null;
}

function select(where: "prompt" | "output", at: number | null): void {
  selected.value = at === null ? null : { where, at };
}

function scaleOf(runs: readonly TokenRun[]) {
  return shadingScale(runs.map((run) => shadedValue(run, shadeBy.value)));
}

const shadings: readonly { readonly by: ShadeBy; readonly label: string; readonly meaning: string }[] = [
  {
    by: "relevance",
    label: "Relevance",
    meaning: "How much a token's features point the way of the task: cosine with the adapter's task embedding, 0 to 1.",
  },
  {
    by: "gain",
    label: "Gain",
    meaning: "How much was added to the attention values at this token, over all layers.",
  },
  {
    by: "draft",
    label: "Drafts",
    meaning:
      "The base pass guesses each next token. A guess that the steered pass confirms is accepted and saves a step.",
  },
];

function Explanation({
  runs,
  promptRuns,
}: {
  readonly runs: readonly TokenRun[];
  readonly promptRuns: readonly TokenRun[];
}) {
  const by = shadeBy.value;
  const meaning = shadings.find((shading) => shading.by === by)?.meaning ?? "";
  const place = selected.value;
  const chosen = place === null ? null : ((place.where === "output" ? runs : promptRuns)[place.at] ?? null);
  const mean = meanGains(runs.flatMap(({ tokens }) => tokens));
  const gains = chosen === null ? mean : (chosen.tokens.find((token) => token.gains.length > 0)?.gains ?? []);
  return (
    <div class="explanation">
      <section aria-label="Shading" class="legend">
        <fieldset class="segments">
          <legend>Shade tokens by</legend>
          {shadings.map((shading) => (
            <label key={shading.by} class={by === shading.by ? "on" : ""}>
              <input
                type="radio"
                name="shade-by"
                checked={by === shading.by}
                onChange={() => {
                  shadeBy.value = shading.by;
                }}
              />
              {shading.label}
            </label>
          ))}
        </fieldset>
        <p class="hint">{meaning}</p>
        {by === "draft" ? (
          <p class="swatches">
            <span class="token draft-accepted">accepted</span> <span class="token draft-refused">refused</span>{" "}
            <span class="token">no draft</span>
          </p>
        ) : (
          <p class="ramp-row">
            <span>0</span>
            <span class="ramp" aria-hidden="true" />
            <span>{short(scaleOf(runs).max)} in the answer</span>
            {promptRuns.length === 0 ? null : <span>· {short(scaleOf(promptRuns).max)} in the prompt</span>}
          </p>
        )}
      </section>
      <section aria-label="Gain of each layer" class="token-detail">
        <h2>{chosen === null ? "Gain by layer, mean of the answer" : "Gain by layer, this token"}</h2>
        <p class="token-facts">
          {chosen === null ? "Point at a token, or walk with the arrow keys, for its own numbers." : describe(chosen)}
        </p>
        {gains.length === 0 ? (
          <p class="hint">No steered pass read this token, so nothing was added at it.</p>
        ) : (
          <GainsChart
            gains={gains}
            mean={chosen === null ? [] : mean}
            subject={chosen === null ? "mean of the answer" : "the chosen token"}
          />
        )}
      </section>
      {promptRuns.length === 0 ? null : (
        <section aria-label="The prompt" class="prompt-tokens">
          <h2>The prompt, as the model reads it</h2>
          <TokenText
            label="Tokens of the prompt"
            runs={promptRuns}
            by={by}
            scale={scaleOf(promptRuns)}
            forkAt={null}
            selected={selectedIn("prompt")}
            onSelect={(at) => select("prompt", at)}
          />
        </section>
      )}
    </div>
  );
}
