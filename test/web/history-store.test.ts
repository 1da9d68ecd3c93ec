import { describe, expect, it } from "vitest";
import type { AssistantMessage, Conversation } from "../../src/web/chat/conversation.js";
import { titleOf, toMarkdown, wireMessages, withLast } from "../../src/web/chat/conversation.js";
import { HistoryStore, isConversationKey, type KeyValueStorage } from "../../src/web/chat/history-store.js";

/** The browser's storage, with a limit that a test can reach. */
class MapStorage implements KeyValueStorage {
  readonly map = new Map<string, string>();
  room = Number.POSITIVE_INFINITY;

  get length(): number {
    return this.map.size;
  }
  key(index: number): string | null {
    return [...this.map.keys()][index] ?? null;
  }
  getItem(key: string): string | null {
    return this.map.get(key) ?? null;
  }
  setItem(key: string, value: string): void {
    if (value.length > this.room) throw new Error("QuotaExceededError");
    this.map.set(key, value);
  }
  removeItem(key: string): void {
    this.map.delete(key);
  }
}

const answer: AssistantMessage = {
  role: "assistant",
  content: "Sleep.",
  model: "tiny:alpaca",
  strength: 0.5,
  seed: 7,
  state: "done",
  problem: null,
  tokens: 2,
  tokensPerSecond: 50,
  firstTextMs: 12,
  vectors: { happy: { strength: -0.5, layers: [2, 3] } },
  systemPrompt: "Be brief.",
  sampling: {
    temperature: 0.7,
    top_p: null,
    top_k: null,
    min_p: null,
    max_tokens: 9,
    seed: null,
    presence_penalty: null,
    frequency_penalty: null,
    repetition_penalty: null,
  },
  before: { content: "Rest.", model: "tiny:alpaca", strength: 0.5, vectors: {} },
};

function conversation(id: string, updatedAt: number): Conversation {
  return { id, title: `About ${id}`, updatedAt, messages: [{ role: "user", content: "Hi" }, answer] };
}

describe("the history in the browser", () => {
  it("gives back what was put, the last touched first", () => {
    const store = new HistoryStore(new MapStorage());
    store.put(conversation("a", 1));
    store.put(conversation("b", 3));
    store.put(conversation("c", 2));
    expect(store.all()).toEqual([conversation("b", 3), conversation("c", 2), conversation("a", 1)]);
  });

  it("replaces a conversation and removes it, and leaves the others", () => {
    const store = new HistoryStore(new MapStorage());
    store.put(conversation("a", 1));
    store.put(conversation("b", 2));
    store.put({ ...conversation("a", 3), title: "Renamed" });
    expect(store.all().map(({ title }) => title)).toEqual(["Renamed", "About b"]);
    store.remove("a");
    expect(store.all().map(({ id }) => id)).toEqual(["b"]);
  });

  it("passes over other keys and what cannot be read, and does not delete them", () => {
    const storage = new MapStorage();
    const store = new HistoryStore(storage);
    storage.setItem("toast-serve:settings", "{}");
    storage.setItem("toast-serve:conversation:broken", "{not json");
    storage.setItem("toast-serve:conversation:other", '{"id": 4}');
    store.put(conversation("a", 1));
    expect(store.all()).toEqual([conversation("a", 1)]);
    expect(storage.length).toBe(4);
    expect(isConversationKey("toast-serve:settings")).toBe(false);
    expect(isConversationKey(null)).toBe(false);
  });

  it("reads an answer that was running when the page closed as stopped", () => {
    const store = new HistoryStore(new MapStorage());
    store.put({ ...conversation("a", 1), messages: [{ ...answer, state: "running" }] });
    expect(store.all()[0]?.messages[0]).toMatchObject({ state: "stopped", content: "Sleep." });
  });

  it("says when there is no room, and keeps what was there", () => {
    const storage = new MapStorage();
    const store = new HistoryStore(storage);
    expect(store.put(conversation("a", 1))).toBe(true);
    storage.room = 10;
    expect(store.put(conversation("a", 2))).toBe(false);
    expect(store.all()).toEqual([conversation("a", 1)]);
  });
});

describe("a conversation", () => {
  it("takes its title from the first line, cut at a word", () => {
    expect(titleOf("  Short one \nmore")).toBe("Short one");
    expect(titleOf("Give me three very good tips for staying healthy in winter")).toBe(
      "Give me three very good tips for staying…",
    );
    expect(titleOf("x".repeat(60))).toBe(`${"x".repeat(48)}…`);
    expect(titleOf(" \n ")).toBe("New conversation");
  });

  it("sends the system prompt first and no answer without text", () => {
    const messages = [{ role: "user", content: "Hi" } as const, { ...answer, content: "" }];
    expect(wireMessages("Be brief.", messages)).toEqual([
      { role: "system", content: "Be brief." },
      { role: "user", content: "Hi" },
    ]);
    expect(wireMessages("  ", [answer])).toEqual([{ role: "assistant", content: "Sleep." }]);
  });

  it("changes its last answer and never a question", () => {
    const grown = withLast([{ role: "user", content: "Hi" }, answer], (last) => ({ ...last, content: "More." }));
    expect(grown[1]).toMatchObject({ content: "More." });
    const asked = [{ role: "user", content: "Hi" } as const];
    expect(withLast(asked, (last) => ({ ...last, content: "?" }))).toEqual(asked);
  });

  it("exports as Markdown with who said what", () => {
    expect(toMarkdown(conversation("a", 1))).toBe(
      "# About a\n\n**You**\n\nHi\n\n**tiny:alpaca, strength 0.5, happy -0.50 in layers 2–3, seed 7**\n\nSleep.\n",
    );
  });
});
