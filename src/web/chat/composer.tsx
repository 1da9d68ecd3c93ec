import { useEffect, useRef } from "preact/hooks";
import { ModelSelect } from "../parts/model-select.js";
import { isNarrow } from "../parts/narrow.js";
import { StrengthSlider } from "../parts/strength-slider.js";
import { VectorSliders } from "../parts/vector-sliders.js";
import { settings } from "../sampling.js";
import { vectorsOfRoot } from "../session.js";
import { stackWords } from "../vector-stack.js";
import type { ModelEntry } from "../wire/server.js";
import { AnswerAgain } from "./answer-again.js";
import { chosenModel, chosenStack, running, send, stop } from "./chat-state.js";
import { draft } from "./composer-draft.js";
import { ContextMeter } from "./context-meter.js";
import "./composer.css";

export function Composer() {
  const box = useRef<HTMLTextAreaElement>(null);
  const busy = running.value !== null;
  const model = chosenModel.value;
  useEffect(() => growToText(box.current), [draft.value]);
  const submit = () => {
    const text = draft.value;
    if (text.trim() === "" || busy || model === null) return;
    draft.value = "";
    void send(text);
  };
  return (
    <form
      class="composer"
      onSubmit={(event) => {
        event.preventDefault();
        submit();
      }}
    >
      <AnswerAgain />
      <ContextMeter />
      <div class="composer-text">
        <label class="visually-hidden" for="message">
          Message
        </label>
        <textarea
          id="message"
          ref={box}
          rows={1}
          placeholder="Ask something"
          enterkeyhint="send"
          value={draft.value}
          aria-describedby="message-keys"
          onInput={(event) => {
            draft.value = event.currentTarget.value;
          }}
          onKeyDown={(event) => {
            // An input method's own Enter chooses a word.
            if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
              event.preventDefault();
              submit();
            }
            if (event.key === "Escape" && busy) stop();
          }}
        />
        <span id="message-keys" class="visually-hidden">
          Enter sends, Shift and Enter begins a new line, Escape stops an answer.
        </span>
        {busy ? (
          <button key="stop" type="button" class="primary stop" onClick={stop}>
            Stop
          </button>
        ) : (
          <button type="submit" class="primary" disabled={draft.value.trim() === "" || model === null}>
            Send
          </button>
        )}
      </div>
      <div class="composer-foot">
        <ModelSelect
          id="model"
          value={model?.id ?? ""}
          onChoose={(id) => {
            settings.value = { ...settings.value, model: id };
          }}
        />
        <StrengthSlider
          id="strength"
          model={model}
          chosen={settings.value.strength}
          onChoose={(strength) => {
            settings.value = { ...settings.value, strength };
          }}
        />
        {isNarrow.value && model !== null ? <Dials model={model} /> : null}
      </div>
    </form>
  );
}

/** On a narrow page the dials are here, in sight of the text that they change. */
function Dials({ model }: { readonly model: ModelEntry }) {
  if (vectorsOfRoot(model.root).length === 0) return null;
  const turned = stackWords(chosenStack(model));
  return (
    <details class="dials">
      <summary>Control vectors{turned.length === 0 ? "" : `: ${turned.join(", ")}`}</summary>
      <VectorSliders root={model.root} />
    </details>
  );
}

/** Grows with its text, to a third of the window. */
function growToText(box: HTMLTextAreaElement | null): void {
  if (box === null) return;
  box.style.height = "auto";
  box.style.height = `${Math.min(box.scrollHeight, innerHeight / 3)}px`;
}
