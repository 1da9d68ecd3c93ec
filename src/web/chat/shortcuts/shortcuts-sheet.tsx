import { useEffect, useRef } from "preact/hooks";
import { isHelpOpen, shortcuts } from "./shortcuts.js";
import "./shortcuts-sheet.css";

const isMac = /Mac|iPhone|iPad/.test(navigator.platform);

/** Every key that does something in the chat. */
export function ShortcutsSheet() {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    if (isHelpOpen.value) dialog.current?.showModal();
    else dialog.current?.close();
  }, [isHelpOpen.value]);
  return (
    <dialog
      ref={dialog}
      class="shortcuts"
      aria-labelledby="shortcuts-title"
      closedby="any"
      onClose={() => {
        isHelpOpen.value = false;
      }}
    >
      {isHelpOpen.value ? (
        <>
          <div class="sheet-head">
            <h2 id="shortcuts-title">Keyboard shortcuts</h2>
            <button type="button" class="quiet" onClick={() => dialog.current?.close()}>
              Close
            </button>
          </div>
          <dl>
            {shortcuts.map(({ keys, does }) => (
              <div key={does}>
                <dt>
                  {keys.map((key) => (
                    <kbd key={key}>{key === "Mod" ? (isMac ? "⌘" : "Ctrl") : key}</kbd>
                  ))}
                </dt>
                <dd>{does}</dd>
              </div>
            ))}
          </dl>
        </>
      ) : null}
    </dialog>
  );
}
