import { readSampling } from "../sampling-fields.js";
import { readStack } from "../vector-stack.js";
import { field, fields, list, number, text } from "../wire/read.js";
import type { AssistantMessage, Conversation, Message, SteeredText } from "./conversation.js";

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
  let value: unknown;
  try {
    value = JSON.parse(stored ?? "null");
  } catch {
    return null;
  }
  const { id, title, updatedAt, messages, begin, removed } = fields(value);
  if (typeof id !== "string" || typeof title !== "string") return null;
  return {
    id,
    title,
    updatedAt: number(updatedAt) ?? 0,
    messages: list(messages).flatMap(parseMessage),
    begin: text(begin),
    removed: list(removed).flatMap((turn) => text(turn) ?? []),
  };
}

const states: readonly string[] = [
  "done",
  "length",
  "stopped",
  "interrupted",
  "failed",
] satisfies AssistantMessage["state"][];

function parseMessage(value: unknown, at: number): readonly Message[] {
  const message = fields(value);
  const content = text(field(message, "content")) ?? "";
  // An older page kept no turns: theirs come before all others, in their order.
  const turn = text(field(message, "turn")) ?? `0-${String(at).padStart(6, "0")}`;
  if (field(message, "role") === "user") return [{ role: "user", content, turn }];
  if (field(message, "role") !== "assistant") return [];
  const state = text(field(message, "state")) ?? "";
  return [
    {
      role: "assistant",
      content,
      turn,
      askedAt: number(field(message, "askedAt")) ?? 0,
      isContinued: field(message, "isContinued") === true,
      model: text(field(message, "model")) ?? "",
      strength: number(field(message, "strength")),
      vectors: readStack(field(message, "vectors")),
      systemPrompt: text(field(message, "systemPrompt")) ?? "",
      sampling: field(message, "sampling") === undefined ? null : readSampling(field(message, "sampling"), () => null),
      before: parseBefore(field(message, "before")),
      seed: number(field(message, "seed")) ?? 0,
      // Stored as running: the page was left in the middle of it, or another tab still writes.
      state: states.includes(state) ? (state as AssistantMessage["state"]) : "interrupted",
      problem: text(field(message, "problem")),
      isTooLong: field(message, "isTooLong") === true,
      promptTokens: number(field(message, "promptTokens")),
      tokens: number(field(message, "tokens")),
      tokensPerSecond: number(field(message, "tokensPerSecond")),
      firstTextMs: number(field(message, "firstTextMs")),
    },
  ];
}

function parseBefore(value: unknown): SteeredText | null {
  const content = text(field(value, "content"));
  const model = text(field(value, "model"));
  if (content === null || model === null) return null;
  return {
    content,
    model,
    strength: number(field(value, "strength")),
    vectors: readStack(field(value, "vectors")),
  };
}
