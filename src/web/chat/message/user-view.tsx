import { useEffect, useRef, useState } from "preact/hooks";
import { CopyButton } from "../../parts/copy-button.js";
import type { Attachment } from "../attachments/attachment.js";
import { AttachmentList } from "../attachments/attachment-list.js";
import { editing, resend, running } from "../chat-state.js";
import type { UserMessage } from "../conversation.js";
import { VersionSwitch } from "./version-switch.js";

/** A question, or the form in which it is put in other words. */
export function UserView({
  message,
  versions,
}: {
  readonly message: UserMessage;
  readonly versions: readonly string[];
}) {
  const { id, content, attachments } = message;
  if (editing.value === id) return <EditForm key={id} message={message} />;
  return (
    <li class="message user" data-message={id}>
      <h2 class="visually-hidden">You</h2>
      <AttachmentList attachments={attachments} />
      {content === "" ? null : (
        <p class="said" dir="auto">
          {content}
        </p>
      )}
      <div class="message-tools">
        <VersionSwitch id={id} versions={versions} />
        <CopyButton text={content} />
        <button
          type="button"
          class="quiet"
          disabled={running.value !== null}
          onClick={() => {
            editing.value = id;
          }}
        >
          Edit
        </button>
      </div>
    </li>
  );
}

function EditForm({ message }: { readonly message: UserMessage }) {
  const [text, setText] = useState(message.content);
  const [attachments, setAttachments] = useState<readonly Attachment[]>(message.attachments);
  const box = useRef<HTMLTextAreaElement>(null);
  useEffect(() => {
    box.current?.focus();
    box.current?.setSelectionRange(text.length, text.length);
  }, []);
  const canSend = (text.trim() !== "" || attachments.length > 0) && running.value === null;
  const close = () => {
    editing.value = null;
    document.getElementById("message")?.focus();
  };
  const submit = () => {
    if (!canSend) return;
    close();
    void resend(message, text, attachments);
  };
  return (
    <li class="message user">
      <form
        class="edit"
        onSubmit={(event) => {
          event.preventDefault();
          submit();
        }}
      >
        <AttachmentList attachments={attachments} onChange={setAttachments} />
        <label class="visually-hidden" for={`edit-${message.id}`}>
          Edit your message
        </label>
        <textarea
          id={`edit-${message.id}`}
          rows={Math.min(12, Math.max(3, text.split("\n").length))}
          dir="auto"
          value={text}
          ref={box}
          aria-describedby={`edit-keys-${message.id}`}
          onInput={(event) => setText(event.currentTarget.value)}
          onKeyDown={(event) => {
            // As in the field below.
            if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
              event.preventDefault();
              submit();
            }
            if (event.key === "Escape") close();
          }}
        />
        <div class="row">
          <button type="submit" class="primary" disabled={!canSend}>
            Send again
          </button>
          <button type="button" class="quiet" onClick={close}>
            Cancel
          </button>
          <span class="hint" id={`edit-keys-${message.id}`}>
            What it said, and what followed, stays as a version of its own.
          </span>
        </div>
      </form>
    </li>
  );
}
