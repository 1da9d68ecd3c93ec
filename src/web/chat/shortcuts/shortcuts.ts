import { signal } from "@preact/signals";
import { focusSoon } from "../../parts/take-focus.js";
import { editing, newConversation, running, thread } from "../chat-state.js";
import { currentId } from "../history/conversations.js";
import { deleteWithUndo } from "../history/deletion-notice.js";

/** Whether the sheet that lists the keys is open. */
export const isHelpOpen = signal(false);

export interface Shortcut {
  /** As they stand on the keys; `Mod` is Ctrl, on a Mac ⌘. */
  readonly keys: readonly string[];
  readonly does: string;
}

/** What fields and sheets do by themselves. */
const elsewhere: readonly Shortcut[] = [
  { keys: ["Enter"], does: "send the message" },
  { keys: ["Shift", "Enter"], does: "begin a new line in it" },
  { keys: ["↑"], does: "in an empty message: edit your last question" },
  { keys: ["Esc"], does: "stop the answer, close a sheet, give up an edit" },
];

interface GlobalShortcut extends Shortcut {
  readonly code: string;
  readonly mod: boolean;
  readonly shift: boolean;
  readonly run: (page: PageActions) => void;
}

/** What only the view can do: on a narrow page the list is a sheet. */
export interface PageActions {
  readonly showHistory: () => void;
}

/** All have a modifier: a single letter would go off while somebody dictates. */
const everywhere: readonly GlobalShortcut[] = [
  {
    keys: ["Mod", "K"],
    code: "KeyK",
    mod: true,
    shift: false,
    does: "search conversations",
    run: ({ showHistory }) => {
      showHistory();
      focusSoon("search-conversations");
    },
  },
  {
    keys: ["Mod", "Shift", "O"],
    code: "KeyO",
    mod: true,
    shift: true,
    does: "new conversation",
    run: () => {
      newConversation();
      focusSoon("message");
    },
  },
  {
    keys: ["Mod", "Shift", "⌫"],
    code: "Backspace",
    mod: true,
    shift: true,
    does: "delete this conversation (it can be undone)",
    run: ({ showHistory }) => {
      if (currentId.value === null) return;
      showHistory();
      deleteWithUndo([currentId.value]);
    },
  },
  {
    keys: ["Shift", "Esc"],
    code: "Escape",
    mod: false,
    shift: true,
    does: "go to the message field",
    run: () => focusSoon("message"),
  },
  {
    keys: ["Mod", "/"],
    code: "Slash",
    mod: true,
    shift: false,
    does: "show these keys",
    run: () => {
      isHelpOpen.value = true;
    },
  },
];

export const shortcuts: readonly Shortcut[] = [...elsewhere, ...everywhere];

/** @returns whether the key was one of those that work wherever the focus is. */
export function runShortcut(event: KeyboardEvent, page: PageActions): boolean {
  const found = everywhere.find(
    ({ code, mod, shift }) =>
      // On some keyboards a slash is typed with Shift, on a key of another place.
      (event.code === code || (code === "Slash" && event.key === "/")) &&
      (event.ctrlKey || event.metaKey) === mod &&
      (event.shiftKey === shift || event.key === "/") &&
      !event.altKey,
  );
  if (found === undefined || event.isComposing) return false;
  found.run(page);
  return true;
}

/** Puts the last question into its form. */
export function editLastQuestion(): void {
  const question = thread.value.findLast(({ role }) => role === "user");
  if (question !== undefined && running.value === null) editing.value = question.id;
}
