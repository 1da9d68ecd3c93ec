import { effect } from "@preact/signals";
import { place } from "../session.js";
import { conversations, currentId } from "./history/conversations.js";

/** Each conversation has an address of its own: a reload opens it again, and the browser's Back returns to it. */

const start = "#/chat/";

/** @returns where the chat is now, as a link's target. */
export function chatAddress(): string {
  return currentId.value === null ? "#/chat" : `${start}${currentId.value}`;
}

/** Called once. */
export function startAddresses(): void {
  addEventListener("hashchange", openAddressed);
  openAddressed();
  effect(() => {
    // Another view's address stays; the chat's own follows what is open in it.
    if (place.value === "chat" && isOfChat(location.hash) && !isOpen(location.hash)) {
      history.pushState(null, "", chatAddress());
    }
  });
}

function openAddressed(): void {
  const { hash } = location;
  const id = hash.startsWith(start) ? hash.slice(start.length) : null;
  if (id === null && !isOfChat(hash)) return;
  currentId.value = conversations.value.some((one) => one.id === id) ? id : null;
}

/** The page's bare address is the chat's, too. */
function isOfChat(hash: string): boolean {
  return hash === "" || hash === "#/chat" || hash.startsWith(start);
}

function isOpen(hash: string): boolean {
  return hash === chatAddress() || (hash === "" && currentId.value === null);
}
