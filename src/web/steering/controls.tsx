import { useEffect, useRef } from "preact/hooks";
import { Icon } from "../parts/icon.js";
import { PromptField } from "../parts/prompt-field.js";
import { StrengthSlider } from "../parts/strength-slider.js";
import { VectorSliders } from "../parts/vector-sliders.js";
import { settings } from "../sampling.js";
import { vectorsOfRoot } from "../session.js";
import { stackWords } from "../vector-stack.js";
import { linkProblems, putBack } from "./steering-link.js";
import {
  drawAnotherSeed,
  given,
  isBusy,
  layers,
  prompt,
  run,
  seed,
  stack,
  steerable,
  steered,
  stop,
  watched,
} from "./steering-state.js";
import "./controls.css";

/** The question, and what of the steering can be changed. */
export function Controls() {
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
      <Given />
      <PromptField id="steering-prompt" value={prompt} onSend={() => void run()} />
      <StrengthSlider
        id="steering-strength"
        model={model}
        chosen={settings.value.strength}
        onChoose={(strength) => {
          settings.value = { ...settings.value, strength };
          soon();
        }}
      />
      {model === null ? null : <Dials root={model.root} onMove={soon} />}
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
        <fieldset class="field layers" disabled={model?.adapter === null}>
          <legend>Layers of the adapter</legend>
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
              <Icon of="dice" />
              Draw another
            </button>
          </span>
        </div>
        <span class="grow" />
        {isBusy.value ? (
          <button key="stop" type="button" class="primary stop" onClick={stop}>
            <Icon of="stop" />
            Stop
          </button>
        ) : (
          <button type="submit" class="primary" disabled={model === null || prompt.value.trim() === ""}>
            <Icon of="run" />
            Run both
          </button>
        )}
      </div>
    </form>
  );
}

/**
 * What stands before the prompt, and is asked otherwise than the settings say: of a link, or of an answer of the chat.
 */
function Given() {
  if (given.value === null) return null;
  const { history, systemPrompt, sampling } = given.value;
  const told = Object.entries(sampling).flatMap(([name, value]) =>
    value === null || name === "seed" ? [] : [`${name.replaceAll("_", " ")} ${value}`],
  );
  return (
    <section class="given" aria-label="From a link">
      {linkProblems().map((sentence) => (
        <p class="problem-line" role="alert" key={sentence}>
          {sentence}
        </p>
      ))}
      <p class="hint">Asked as the link says: {told.join(", ")}.</p>
      {systemPrompt.trim() === "" ? null : (
        <details>
          <summary>System prompt</summary>
          <p class="given-text">{systemPrompt}</p>
        </details>
      )}
      {history.length === 0 ? null : (
        <details>
          <summary>
            {history.length} earlier {history.length === 1 ? "message" : "messages"}
          </summary>
          {history.map(({ role, content }, at) => (
            <p class="given-text" key={at}>
              <b>{role === "user" ? "You" : "Answer"}</b> {content}
            </p>
          ))}
        </details>
      )}
      <button type="button" class="quiet" onClick={putBack}>
        Put my own settings back
      </button>
    </section>
  );
}

/** The dials of the chat: what is turned up there steers here too. */
function Dials({ root, onMove }: { readonly root: string; readonly onMove: () => void }) {
  if (vectorsOfRoot(root).length === 0) return null;
  const turned = stackWords(stack.value);
  return (
    <details class="steering-dials">
      <summary>Control vectors{turned.length === 0 ? "" : `: ${turned.join(", ")}`}</summary>
      <VectorSliders root={root} onMove={onMove} />
    </details>
  );
}
