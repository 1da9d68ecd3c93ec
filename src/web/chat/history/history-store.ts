import type { Conversation } from "../conversation.js";
import { readConversation } from "./read-conversation.js";

/** What the store needs of the browser's `localStorage`. */
export interface KeyValueStorage {
  readonly length: number;
  key(index: number): string | null;
  getItem(key: string): string | null;
  /** @throws when there is no room. */
  setItem(key: string, value: string): void;
  removeItem(key: string): void;
}

const prefix = "toast-serve:conversation:";

/** @returns whether a storage key belongs to a conversation. */
export function isConversationKey(key: string | null): boolean {
  return key?.startsWith(prefix) === true;
}

/**
 * Conversations in the browser's storage, one key each, so that a long one is written alone and two tabs do not
 * overwrite each other's. Knows nothing of the page.
 */
export class HistoryStore {
  readonly #storage: KeyValueStorage;

  constructor(storage: KeyValueStorage) {
    this.#storage = storage;
  }

  /** Every conversation, the last touched first; what cannot be read is passed over and left where it is. */
  all(): readonly Conversation[] {
    const found: Conversation[] = [];
    for (let at = 0; at < this.#storage.length; at++) {
      const key = this.#storage.key(at);
      if (key === null || !isConversationKey(key)) continue;
      const conversation = parse(this.#storage.getItem(key));
      if (conversation !== null) found.push(conversation);
    }
    return found.toSorted((a, b) => b.updatedAt - a.updatedAt);
  }

  /** @returns null for one that is not there, or cannot be read. */
  get(id: string): Conversation | null {
    return parse(this.#storage.getItem(prefix + id));
  }

  /** @returns whether there was room for it. */
  put(conversation: Conversation): boolean {
    try {
      this.#storage.setItem(prefix + conversation.id, JSON.stringify(conversation));
      return true;
    } catch {
      return false;
    }
  }

  remove(id: string): void {
    this.#storage.removeItem(prefix + id);
  }
}

function parse(stored: string | null): Conversation | null {
  try {
    return readConversation(JSON.parse(stored ?? "null"));
  } catch {
    return null;
  }
}
