import type { Attachment } from "./attachment.js";
import "./attachment-list.css";

/**
 * Files that go with a question, each to be opened and read.
 * @param onChange where they can still be taken away.
 */
export function AttachmentList({
  attachments,
  onChange,
}: {
  readonly attachments: readonly Attachment[];
  readonly onChange?: (left: readonly Attachment[]) => void;
}) {
  if (attachments.length === 0) return null;
  return (
    <ul class="attachments" aria-label="Attached files">
      {attachments.map((attachment, at) => (
        <li key={`${at}-${attachment.name}`}>
          <details>
            <summary>
              <bdi>{attachment.name}</bdi> <span class="hint">{sizeOf(attachment)}</span>
            </summary>
            {/* biome-ignore lint/a11y/noNoninteractiveTabindex: a scrolling region must be reachable to be scrolled by keyboard */}
            <pre tabIndex={0} dir="auto">
              {attachment.text}
            </pre>
          </details>
          {onChange === undefined ? null : (
            <button
              type="button"
              class="quiet"
              aria-label={`Remove ${attachment.name}`}
              onClick={() => onChange(attachments.filter((other) => other !== attachment))}
            >
              ×
            </button>
          )}
        </li>
      ))}
    </ul>
  );
}

function sizeOf({ text }: Attachment): string {
  const lines = text.replace(/\n$/, "").split("\n").length;
  return `${lines.toLocaleString("en")} ${lines === 1 ? "line" : "lines"}`;
}
