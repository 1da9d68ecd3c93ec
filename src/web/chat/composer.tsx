import { signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { ModelSelect } from "../parts/model-select.js";
import { StrengthSlider } from "../parts/strength-slider.js";
import { settings } from "../sampling.js";
import { chosenModel, running, send, stop } from "./chat-state.js";
import "./composer.css";

/** What is being written; it outlives the view, so that a look at another tab costs nothing. */
export const draft = signal("");

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
          value={settings.value.strength}
          disabled={model?.adapter === null ? "This model has no adapter." : null}
          onInput={(strength) => {
            settings.value = { ...settings.value, strength };
          }}
        />
        {busy ? (
          <button type="button" class="primary stop" onClick={stop}>
            Stop
          </button>
        ) : (
          <button type="submit" class="primary" disabled={draft.value.trim() === "" || model === null}>
            Send
          </button>
        )}
      </div>
    </form>
  );
}

/** Grows with its text, to a third of the window. */
function growToText(box: HTMLTextAreaElement | null): void {
  if (box === null) return;
  box.style.height = "auto";
  box.style.height = `${Math.min(box.scrollHeight, innerHeight / 3)}px`;
}
