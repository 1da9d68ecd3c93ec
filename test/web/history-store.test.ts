import { describe, expect, it } from "vitest";
import type { AssistantMessage, Conversation } from "../../src/web/chat/conversation.js";
import { merged, titleOf, toMarkdown, wireMessages, withAnswerOf } from "../../src/web/chat/conversation.js";
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
  turn: "t1",
  askedAt: 5,
  isContinued: false,
  model: "tiny:alpaca",
  strength: 0.5,
  seed: 7,
  state: "done",
  problem: null,
  isTooLong: false,
  promptTokens: 7,
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
  const messages: Conversation["messages"] = [{ role: "user", content: "Hi", turn: "t1" }, answer];
  return { id, title: `About ${id}`, updatedAt, messages, begin: null, removed: [] };
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

  it("reads an answer that was running when the page was left as interrupted", () => {
    const store = new HistoryStore(new MapStorage());
    store.put({ ...conversation("a", 1), messages: [{ ...answer, state: "running" }] });
    expect(store.all()[0]?.messages[0]).toMatchObject({ state: "interrupted", content: "Sleep." });
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

const hi = { role: "user", content: "Hi", turn: "t1" } as const;

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
    const messages = [hi, { ...answer, content: "" }];
    expect(wireMessages("Be brief.", { messages, begin: null })).toEqual([
      { role: "system", content: "Be brief." },
      { role: "user", content: "Hi" },
    ]);
    expect(wireMessages("  ", { messages: [answer], begin: null })).toEqual([{ role: "assistant", content: "Sleep." }]);
  });

  it("sends no question that was refused, or it would have every later one refused", () => {
    const refused = { ...answer, content: "", state: "failed" as const };
    const next = { role: "user", content: "And now?", turn: "t2" } as const;
    expect(wireMessages("", { messages: [hi, refused, next], begin: null })).toEqual([
      { role: "user", content: "And now?" },
    ]);
    // While it is asked again it is sent; what broke off had an answer.
    expect(wireMessages("", { messages: [hi], begin: null })).toHaveLength(1);
    expect(wireMessages("", { messages: [hi, { ...refused, content: "Sl" }, next], begin: null })).toHaveLength(3);
  });

  it("sends only what stands from its beginning on", () => {
    const next = { role: "user", content: "And now?", turn: "t2" } as const;
    expect(wireMessages("", { messages: [hi, answer, next], begin: "t2" })).toEqual([
      { role: "user", content: "And now?" },
    ]);
  });

  it("changes the answer of a turn and no question", () => {
    const grown = withAnswerOf([hi, answer], "t1", (own) => ({ ...own, content: "More." }));
    expect(grown).toEqual([hi, { ...answer, content: "More." }]);
    expect(withAnswerOf([hi, answer], "t2", (own) => ({ ...own, content: "?" }))).toEqual([hi, answer]);
  });

  it("exports as Markdown with who said what", () => {
    expect(toMarkdown(conversation("a", 1))).toBe(
      '# About a\n\n**You**\n\nHi\n\n**tiny:alpaca, strength 0.5, happy -0.50 in layers 2–3, seed 7, temperature 0.7, max_tokens 9, system prompt "Be brief."**\n\nSleep.\n',
    );
  });
});

describe("a conversation that two tabs write to", () => {
  const turnOf = (turn: string, askedAt: number, more: Partial<AssistantMessage> = {}) =>
    [
      { role: "user", content: `Question ${turn}`, turn },
      { ...answer, turn, askedAt, ...more },
    ] as const;
  const of = (updatedAt: number, messages: Conversation["messages"], removed: readonly string[] = []) => ({
    ...conversation("a", updatedAt),
    messages,
    removed,
  });
  const said = ({ messages }: Conversation) =>
    messages.map(({ turn, role, content }) => [turn, role, content].join(" "));

  it("has the turns of both, in the order in which they were begun", () => {
    const first = turnOf("t1", 1);
    const whole = merged(of(9, [...first, ...turnOf("t2", 2)]), of(8, [...first, ...turnOf("t3", 3)]));
    expect(said(whole)).toEqual(
      ["t1", "t2", "t3"].flatMap((turn) => [`${turn} user Question ${turn}`, `${turn} assistant Sleep.`]),
    );
    expect(said(merged(of(8, [...first, ...turnOf("t3", 3)]), of(9, [...first, ...turnOf("t2", 2)])))).toEqual(
      said(whole),
    );
  });

  it("takes the answer that was asked for later, and of one answer what has come further", () => {
    const again = merged(of(9, turnOf("t1", 1)), of(8, turnOf("t1", 2, { content: "Walk." })));
    expect(said(again)[1]).toBe("t1 assistant Walk.");
    const cut = { state: "interrupted", content: "" } as const;
    expect(said(merged(of(9, turnOf("t1", 1, cut)), of(8, turnOf("t1", 1))))[1]).toBe("t1 assistant Sleep.");
    const going = { state: "running", content: "Sle" } as const;
    expect(said(merged(of(8, turnOf("t1", 1, going)), of(9, turnOf("t1", 1, cut))))[1]).toBe("t1 assistant Sle");
  });

  it("does not bring back what either took out", () => {
    const edited = of(9, turnOf("t2", 2), ["t1"]);
    expect(said(merged(edited, of(8, turnOf("t1", 1))))).toEqual(said(edited));
    expect(said(merged(of(8, turnOf("t1", 1)), edited))).toEqual(said(edited));
  });
});
