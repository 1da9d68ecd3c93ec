import { describe, expect, it } from "vitest";
import { fenced } from "../../../src/web/chat/attachments/attachment.js";
import type { AssistantMessage, Conversation, Message, UserMessage } from "../../../src/web/chat/conversation.js";
import {
  merged,
  placeOf,
  threadOf,
  titleOf,
  toMarkdown,
  versionsOf,
  wireMessages,
  withAnswerOf,
  withMessage,
  withNewest,
  withShown,
  withViewOf,
} from "../../../src/web/chat/conversation.js";
import { HistoryStore, isConversationKey, type KeyValueStorage } from "../../../src/web/chat/history/history-store.js";

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
  id: "a1",
  parent: "t1",
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
  before: null,
};

const hi: UserMessage = { role: "user", id: "t1", parent: null, turn: "t1", content: "Hi", attachments: [] };

function conversation(id: string, updatedAt: number, messages: readonly Message[] = [hi, answer]): Conversation {
  return { id, title: `About ${id}`, updatedAt, messages, shown: {}, cuts: [] };
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

const next: UserMessage = { ...hi, id: "t2", parent: "a1", turn: "t2", content: "And now?" };

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
    expect(wireMessages("Be brief.", [hi, { ...answer, content: "" }], [])).toEqual([
      { role: "system", content: "Be brief." },
      { role: "user", content: "Hi" },
    ]);
    expect(wireMessages("  ", [answer], [])).toEqual([{ role: "assistant", content: "Sleep." }]);
  });

  it("sends no question that was refused, or it would have every later one refused", () => {
    const refused = { ...answer, content: "", state: "failed" as const };
    expect(wireMessages("", [hi, refused, next], [])).toEqual([{ role: "user", content: "And now?" }]);
    // While it is asked again it is sent; what broke off had an answer.
    expect(wireMessages("", [hi], [])).toHaveLength(1);
    expect(wireMessages("", [hi, { ...refused, content: "Sl" }, next], [])).toHaveLength(3);
  });

  it("sends only what stands behind its last cut", () => {
    expect(wireMessages("", [hi, answer, next], ["a1"])).toEqual([{ role: "user", content: "And now?" }]);
    expect(wireMessages("", [hi, answer, next], ["another branch"])).toHaveLength(3);
  });

  it("sends files before the question, in fences that they cannot end", () => {
    const text = "A list:\n```\n1\n```\n";
    const asked = { ...hi, content: "What is it?", attachments: [{ name: "list.md", text }] };
    expect(wireMessages("", [asked], [])).toEqual([
      { role: "user", content: "list.md:\n````\nA list:\n```\n1\n```\n````\n\nWhat is it?" },
    ]);
    expect(fenced({ name: "a.txt", text: "a" })).toBe("a.txt:\n```\na\n```");
  });

  it("changes one answer and no question", () => {
    const own = conversation("a", 1);
    expect(withAnswerOf(own, "a1", (one) => ({ ...one, content: "More." })).messages).toEqual([
      hi,
      { ...answer, content: "More." },
    ]);
    expect(withAnswerOf(own, "t1", (one) => ({ ...one, content: "?" }))).toEqual(own);
  });

  it("exports as Markdown with who said what, and which of several versions", () => {
    expect(toMarkdown(conversation("a", 1))).toBe(
      '# About a\n\n**You**\n\nHi\n\n**tiny:alpaca, strength 0.5, happy -0.50 in layers 2–3, seed 7, temperature 0.7, max_tokens 9, system prompt "Be brief."**\n\nSleep.\n',
    );
    const again = conversation("a", 1, [hi, answer, { ...answer, id: "a2", content: "Walk." }]);
    expect(toMarkdown(again)).toContain("** (2 of 2)\n\nWalk.\n");
  });
});

describe("a conversation with versions", () => {
  const later: AssistantMessage = { ...answer, id: "a2", content: "Walk." };
  const edited: UserMessage = { ...hi, id: "t1b", content: "Hello" };
  const reply: AssistantMessage = { ...answer, id: "b1", parent: "t1b", content: "Hello!" };
  const all = conversation("a", 1, [hi, answer, next, later, edited, reply]);
  const ids = (messages: readonly Message[]) => messages.map(({ id }) => id);

  it("shows the newest of each place, and what followed it", () => {
    expect(ids(threadOf(all))).toEqual(["t1b", "b1"]);
  });

  it("shows another version with what followed that one, and keeps the rest", () => {
    const first = withShown(all, hi);
    expect(ids(threadOf(first))).toEqual(["t1", "a2"]);
    const older = withShown(first, answer);
    expect(ids(threadOf(older))).toEqual(["t1", "a1", "t2"]);
    expect(older.messages).toHaveLength(6);
    expect(ids(versionsOf(older.messages).get(placeOf(later)) ?? [])).toEqual(["a1", "a2"]);
  });

  it("shows what is asked or answered anew, even where an older version was chosen", () => {
    const chosen = withShown(withShown(all, hi), answer);
    const newest = { ...later, id: "a3" };
    expect(ids(threadOf(withMessage(chosen, newest)))).toEqual(["t1", "a1", "t2"]);
    expect(ids(threadOf(withNewest(withMessage(chosen, newest), newest)))).toEqual(["t1", "a3"]);
    // Where nobody has chosen, it is the newest anyway, in other tabs too.
    expect(withNewest(all, newest)).toEqual(all);
  });
});

describe("a conversation that two tabs write to", () => {
  const turnOf = (turn: string, askedAt: number, more: Partial<AssistantMessage> = {}): readonly Message[] => [
    { ...hi, id: turn, parent: turn === "t1" ? null : "t1.a", turn, content: `Question ${turn}` },
    { ...answer, id: `${turn}.a`, parent: turn, turn, askedAt, ...more },
  ];
  const of = (updatedAt: number, messages: readonly Message[]) => conversation("a", updatedAt, messages);
  const said = (one: Conversation) => threadOf(one).map(({ turn, role, content }) => [turn, role, content].join(" "));

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

  it("has the versions of both, and shows in each tab what was chosen there", () => {
    const [question, first] = turnOf("t1", 1);
    if (question === undefined || first?.role !== "assistant") throw new Error("no turn");
    const mine = { ...first, id: "t1.b", content: "Mine." };
    const theirs = { ...first, id: "t1.c", content: "Theirs." };
    const own = withShown(of(9, [question, first, mine]), mine);
    const other = of(8, [question, first, theirs]);
    expect(said(merged(own, other))[1]).toBe("t1 assistant Mine.");
    expect(merged(own, other).messages).toHaveLength(4);
    expect(said(merged(other, of(9, [question, first, mine])))[1]).toBe("t1 assistant Theirs.");
  });
});

describe("what one reads", () => {
  it("stays as it is when versions come from elsewhere", () => {
    const own = conversation("a", 1, [hi, answer, next]);
    const newer: AssistantMessage = { ...answer, id: "a2", content: "Walk." };
    const whole = merged(own, conversation("a", 2, [hi, answer, newer]));
    expect(threadOf(whole).map(({ id }) => id)).toEqual(["t1", "a2"]);
    expect(threadOf(withViewOf(whole, own)).map(({ id }) => id)).toEqual(["t1", "a1", "t2"]);
  });
});

describe("a conversation of an older page", () => {
  const turn = { content: "Hi", turn: "m1-x" };
  const old = {
    id: "old",
    title: "Old",
    updatedAt: 3,
    begin: "m2",
    removed: ["m0"],
    messages: [
      { ...turn, role: "user" },
      {
        ...answer,
        ...turn,
        id: undefined,
        parent: undefined,
        content: "New.",
        before: { content: "Old.", model: "m" },
      },
      { role: "user", content: "Next", turn: "m2-x" },
    ],
  };
  const read = () => {
    const storage = new MapStorage();
    storage.setItem("toast-serve:conversation:old", JSON.stringify(old));
    return new HistoryStore(storage).get("old");
  };

  it("is read as one line, with what stood before an answer as a version of it", () => {
    const one = read();
    if (one === null) throw new Error("not read");
    expect(threadOf(one).map(({ content }) => content)).toEqual(["Hi", "New.", "Next"]);
    const shown = threadOf(one)[1];
    const versions = shown === undefined ? [] : (versionsOf(one.messages).get(placeOf(shown)) ?? []);
    expect(versions.map(({ content }) => content)).toEqual(["Old.", "New."]);
    expect(shown).toMatchObject({ before: versions[0]?.id });
    expect(wireMessages("", threadOf(one), one.cuts)).toEqual([{ role: "user", content: "Next" }]);
  });

  it("has the same ids in every tab that reads it", () => {
    expect(read()).toEqual(read());
  });
});

describe("a damaged conversation", () => {
  it("is shown whole where messages follow none, or each other, or come twice", () => {
    const storage = new MapStorage();
    const ring = [
      { ...hi, parent: "a1" },
      { ...answer, parent: "t1" },
      { ...hi, parent: "a1" },
      { ...next, parent: "gone" },
    ];
    storage.setItem("toast-serve:conversation:a", JSON.stringify(conversation("a", 1, ring)));
    const one = new HistoryStore(storage).get("a");
    expect(one === null ? [] : threadOf(one).map(({ id }) => id)).toEqual(["t1", "a1", "t2"]);
  });
});
