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
import { attach, reading, refusals } from "./attachments/attach.js";
import { AttachmentList } from "./attachments/attachment-list.js";
import { chosenModel, chosenStack, running, send, stop } from "./chat-state.js";
import { attached, draft } from "./composer-draft.js";
import { ContextMeter } from "./context-meter.js";
import { editLastQuestion } from "./shortcuts/shortcuts.js";
import "./composer.css";

export function Composer() {
  const box = useRef<HTMLTextAreaElement>(null);
  const busy = running.value !== null;
  const model = chosenModel.value;
  useEffect(() => growToText(box.current), [draft.value]);
  const isEmpty = draft.value.trim() === "" && attached.value.length === 0;
  const canSend = !isEmpty && !busy && model !== null && reading.value === 0;
  const submit = () => {
    if (!canSend) return;
    const [text, files] = [draft.value, attached.value];
    draft.value = "";
    attached.value = [];
    refusals.value = [];
    void send(text, null, files);
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
      {refusals.value.length === 0 ? null : (
        <div class="refusals" role="alert">
          {refusals.value.map((sentence) => (
            <p class="problem-line" key={sentence}>
              {sentence}
            </p>
          ))}
        </div>
      )}
      <div class="composer-box">
        <AttachmentList
          attachments={attached.value}
          onChange={(left) => {
            attached.value = left;
            refusals.value = [];
            box.current?.focus();
          }}
        />
        <div class="composer-text">
          <AttachButton />
          <label class="visually-hidden" for="message">
            Message
          </label>
          <textarea
            id="message"
            ref={box}
            rows={1}
            dir="auto"
            placeholder="Ask something"
            enterkeyhint="send"
            value={draft.value}
            aria-describedby="message-keys"
            onInput={(event) => {
              draft.value = event.currentTarget.value;
            }}
            onPaste={(event) => {
              const files = [...(event.clipboardData?.files ?? [])];
              if (files.length === 0) return;
              event.preventDefault();
              void attach(files);
            }}
            onKeyDown={(event) => {
              // An input method's own Enter chooses a word.
              if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
                event.preventDefault();
                submit();
              }
              if (event.key === "Escape" && !event.shiftKey && busy) stop();
              if (event.key === "ArrowUp" && draft.value === "" && !event.isComposing) {
                event.preventDefault();
                editLastQuestion();
              }
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
            <button type="submit" class="primary" disabled={!canSend}>
              Send
            </button>
          )}
        </div>
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

/** Files can be dropped on the conversation and pasted, too. */
function AttachButton() {
  return (
    <label class="attach" title="Attach text files">
      <svg viewBox="0 0 20 20" width="20" height="20" aria-hidden="true">
        <path d="M14.5 8.5 9 14a2.5 2.5 0 0 1-3.5-3.5l6-6a3.8 3.8 0 0 1 5.4 5.4l-6.2 6.2" />
      </svg>
      <input
        type="file"
        class="visually-hidden"
        multiple
        aria-label="Attach text files"
        onChange={({ currentTarget }) => {
          const files = [...(currentTarget.files ?? [])];
          // The same file can be chosen again.
          currentTarget.value = "";
          void attach(files);
          document.getElementById("message")?.focus();
        }}
      />
    </label>
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
