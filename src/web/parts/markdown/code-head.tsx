import { effect } from "@preact/signals";
import { CopyButton } from "../copy-button.js";
import { storedSignal } from "../stored.js";

/** Whether long lines of code are broken; for all code, and for the next visit. */
const wraps = storedSignal("toast-serve:wrap-code", (stored) => stored === true, localStorage);
effect(() => {
  document.documentElement.toggleAttribute("data-wrap-code", wraps.value);
});

/** What stands above a block of code: its language, and what one does with it. */
export function CodeHead({ code, language }: { readonly code: string; readonly language: string }) {
  return (
    <>
      <span class="code-language">{language === "" ? "code" : language}</span>
      <span>
        <button
          type="button"
          class="quiet"
          aria-pressed={wraps.value}
          onClick={() => {
            wraps.value = !wraps.value;
          }}
        >
          Wrap lines
        </button>
        <CopyButton text={code.replace(/\n$/, "")} label="Copy code" />
      </span>
    </>
  );
}
