import { computed, signal } from "@preact/signals";
import { drawSeed } from "../../sampling-fields.js";
import { type Conversation, type Message, merged, withViewOf } from "../conversation.js";
import { HistoryStore, isConversationKey } from "./history-store.js";

/** The conversations of this browser, which tabs share; and which of them is open in this one. */

const store = new HistoryStore(localStorage);

export const conversations = signal<readonly Conversation[]>(store.all());
export const currentId = signal<string | null>(null);
export const current = computed(() => conversations.value.find(({ id }) => id === currentId.value) ?? null);

/** A sentence when the browser has no room for the history. */
export const storageProblem = signal<string | null>(null);

/** What was deleted last, and whether one of them was open. */
export const deleted = signal<{ readonly taken: readonly Conversation[]; readonly open: string | null } | null>(null);

/** Changes what is shown, and nothing that is stored. */
export function show(conversation: Conversation): void {
  const others = conversations.value.filter(({ id }) => id !== conversation.id);
  conversations.value = [conversation, ...others].toSorted((a, b) => b.updatedAt - a.updatedAt);
}

/**
 * Shows and stores a conversation, with what another tab has put into it meanwhile.
 * @returns whether there was room for it.
 */
export function keep(conversation: Conversation): boolean {
  const other = store.get(conversation.id);
  const whole = other === null ? conversation : withViewOf(merged(conversation, other), conversation);
  show(whole);
  const isStored = store.put(whole);
  storageProblem.value = isStored
    ? null
    : "The browser has no room left for this conversation: it will be gone when the page closes. Delete older ones, or export this one.";
  return isStored;
}

export function rename(id: string, title: string): void {
  const conversation = conversations.value.find((one) => one.id === id);
  if (conversation === undefined || title.trim() === "") return;
  // Newer than what other tabs have, and still where it was in the list.
  keep({ ...conversation, title: title.trim(), updatedAt: conversation.updatedAt + 1 });
}

export function takeOut(ids: readonly string[]): void {
  const taken = conversations.value.filter(({ id }) => ids.includes(id));
  for (const { id } of taken) store.remove(id);
  conversations.value = conversations.value.filter(({ id }) => !ids.includes(id));
  const open = currentId.value !== null && ids.includes(currentId.value) ? currentId.value : null;
  if (open !== null) currentId.value = null;
  deleted.value = { taken: taken.map(ended), open };
}

/** Brings back what was deleted last. */
export function undoDeletion(): void {
  if (deleted.value === null) return;
  const { taken, open } = deleted.value;
  deleted.value = null;
  for (const conversation of taken) keep(conversation);
  if (open !== null) currentId.value = open;
}

/**
 * Takes conversations of a file over, together with what is known of them already.
 * @returns how many there was room for; the others are not taken.
 */
export function takeOver(read: readonly Conversation[]): number {
  for (const [at, conversation] of read.entries()) {
    const known = store.get(conversation.id);
    const whole = known === null ? conversation : merged(known, conversation);
    if (!store.put(whole)) return at;
    show(whole);
  }
  return read.length;
}

/** Nobody goes on writing in what was deleted. */
function ended(conversation: Conversation): Conversation {
  const messages = conversation.messages.map((message) =>
    message.role === "assistant" && message.state === "running" ? { ...message, state: "stopped" as const } : message,
  );
  return { ...conversation, messages };
}

let isLeft = false;

/** Whether the page is being left: what breaks off now is no fault. */
export function isPageLeft(): boolean {
  return isLeft;
}

/** Called once: other tabs write to the same history, and this one may be left in the middle of an answer. */
export function followOtherTabs(): void {
  addEventListener("storage", ({ key }) => {
    if (isConversationKey(key)) takeIn(store.all());
  });
  addEventListener("pagehide", () => {
    isLeft = true;
    for (const conversation of conversations.value.filter(({ messages }) => messages.some(isRunning))) {
      keep(conversation);
    }
  });
  addEventListener("pageshow", () => {
    isLeft = false;
  });
}

/** What is stored now, with what only this tab knows: two may have written at once, and one of them was too late. */
function takeIn(stored: readonly Conversation[]): void {
  conversations.value = stored.map((other) => {
    const own = conversations.value.find(({ id }) => id === other.id);
    if (own === undefined) return other;
    const whole = merged(own, other);
    if (holdsMore(whole, other)) store.put(whole);
    return other.id === currentId.value ? withViewOf(whole, own) : whole;
  });
}

/** Whether a message of the one is not in the other, or has ended here while it is cut off there. */
function holdsMore(one: Conversation, other: Conversation): boolean {
  const known = new Map(other.messages.map((message) => [message.id, message]));
  return one.messages.some((message) => {
    const there = known.get(message.id);
    if (there === undefined) return true;
    return isCutOff(there) && !isCutOff(message) && message.role === "assistant" && message.state !== "running";
  });
}

function isCutOff(message: Message): boolean {
  return message.role === "assistant" && message.state === "interrupted";
}

function isRunning(message: Message): boolean {
  return message.role === "assistant" && message.state === "running";
}

/** Sorts by the time it was made. Not crypto.randomUUID: on a plain-http address of the local network there is none. */
export function newId(): string {
  return `${Date.now().toString(36)}-${drawSeed().toString(36)}`;
}
