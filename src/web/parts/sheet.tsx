import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { isNarrow } from "./narrow.js";
import "./sheet.css";

/**
 * A column at the side of a wide page; on a narrow one a modal dialog over it, which keeps the focus inside and closes
 * by Escape.
 */
export function Sheet({
  name,
  side,
  open,
  onClose,
  children,
}: {
  readonly name: string;
  readonly side: "left" | "right";
  readonly open: boolean;
  readonly onClose: () => void;
  readonly children: ComponentChildren;
}) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    if (!isNarrow.value) return;
    if (open) dialog.current?.showModal();
    else dialog.current?.close();
  }, [open, isNarrow.value]);
  if (!isNarrow.value) {
    return (
      <aside class={`side side-${side}`} aria-label={name}>
        {children}
      </aside>
    );
  }
  return (
    <dialog
      ref={dialog}
      class={`sheet sheet-${side}`}
      aria-label={name}
      // A click beside it closes it too.
      closedby="any"
      onClose={onClose}
    >
      <div class="sheet-head">
        <h2>{name}</h2>
        <button type="button" class="quiet" onClick={onClose}>
          Close
        </button>
      </div>
      {open ? children : null}
    </dialog>
  );
}
