import { describe, expect, it } from "vitest";
import type { Conversation, Message } from "../../../src/web/chat/conversation.js";
import { groupsByDay } from "../../../src/web/chat/history/history-groups.js";
import { search } from "../../../src/web/chat/history/history-search.js";
import { readImport } from "../../../src/web/chat/history/import-conversations.js";
import { readPresets } from "../../../src/web/chat/presets/presets-format.js";

const questionOf = (id: string, content: string): Message => ({
  role: "user",
  id,
  parent: null,
  turn: id,
  content,
  attachments: [],
});

const conversationOf = (title: string, updatedAt: number, ...contents: readonly string[]): Conversation => ({
  id: title.toLowerCase().replaceAll(" ", "-"),
  title,
  updatedAt,
  messages: contents.map((content, at) => questionOf(`t${at}`, content)),
  shown: {},
  cuts: [],
});

describe("conversations by day", () => {
  it("go by the calendar of the reader's clock, the older ones by month", () => {
    const now = new Date(2026, 2, 10, 0, 30).getTime();
    const at = (month: number, day: number, hour = 12) => new Date(2026, month, day, hour).getTime();
    const all = [
      conversationOf("tonight", at(2, 10, 0)),
      conversationOf("last evening", at(2, 9, 23)),
      conversationOf("a week ago", at(2, 3)),
      conversationOf("in February", at(1, 20)),
      conversationOf("in January", at(0, 5)),
      conversationOf("too", at(0, 4)),
    ];
    expect(
      groupsByDay(all, now).map(({ name, conversations }) => [name, conversations.map(({ title }) => title)]),
    ).toEqual([
      ["Today", ["tonight"]],
      ["Yesterday", ["last evening"]],
      ["Previous 7 days", ["a week ago"]],
      ["Previous 30 days", ["in February"]],
      ["January 2026", ["in January", "too"]],
    ]);
    expect(groupsByDay([], now)).toEqual([]);
  });
});

describe("a search over conversations", () => {
  const all = [
    conversationOf("Tea", 3, "How do I make TEA with İce and lemon?", "And with milk?"),
    conversationOf(
      "Bread",
      2,
      "How long does bread rise? My grandmother waited a whole night before she baked it at all.",
    ),
    {
      ...conversationOf("Files", 1),
      messages: [{ ...questionOf("t0", "?"), attachments: [{ name: "shopping.txt", text: "butter" }] } as Message],
    },
  ];
  const titles = (query: string) => search(all, query).map(({ conversation }) => conversation.title);

  it("finds all words, in whatever case, in titles, messages and files", () => {
    expect(titles("make tea")).toEqual(["Tea"]);
    expect(titles("HOW")).toEqual(["Tea", "Bread"]);
    expect(titles("tea bread")).toEqual([]);
    expect(titles("butter")).toEqual(["Files"]);
    expect(titles("shopping.txt")).toEqual(["Files"]);
    expect(titles("  ")).toEqual([]);
  });

  it("shows the word where it stands, and which message holds it", () => {
    const [found] = search(all, "grandmother");
    expect(found?.message?.id).toBe("t0");
    expect(found?.excerpt).toEqual([
      "…ong does bread rise? My ",
      "grandmother",
      " waited a whole night before she baked it at all.",
    ]);
    // A letter that is longer in lower case moves nothing.
    expect(search(all, "lemon")[0]?.excerpt?.[1]).toBe("lemon");
    expect(search(all, "bread")[0]).toMatchObject({ message: null, excerpt: null });
  });
});

describe("a file to import", () => {
  const fileOf = (content: string) => new File([content], "chats.json");
  const read = async (value: unknown) => await readImport(fileOf(JSON.stringify(value)));
  const one = conversationOf("Tea", 3, "How?");

  it("is what was exported, one conversation or all of them", async () => {
    expect(await read(one)).toEqual([one]);
    expect(await read([one, one])).toEqual([one, one]);
  });

  it.each([
    ["no JSON", "# Tea", /^chats\.json is no JSON\. .*not from Markdown\.$/],
    ["an empty list", "[]", /holds no conversations/],
    ["a number", "[1]", /conversation 1 of 1 is no object/],
    ["no id", JSON.stringify({ ...one, id: undefined }), /conversation 1 of 1 has no “id”/],
    ["an id that is no part of an address", JSON.stringify({ ...one, id: "../x" }), /has no “id” of letters/],
    ["no title", JSON.stringify([one, { ...one, title: 3 }]), /conversation 2 of 2 has no “title”/],
    ["no messages", JSON.stringify({ ...one, messages: [] }), /has no “messages”/],
    ["another role", JSON.stringify({ ...one, messages: [{ role: "tool" }] }), /message \(1\) whose “role”/],
    ["no content", JSON.stringify({ ...one, messages: [{ role: "user" }] }), /message \(1\) without a text/],
  ])("is refused with a sentence that says why: %s", async (_, content, sentence) => {
    expect(await readImport(fileOf(content))).toMatch(sentence);
  });

  it("is refused where it is larger than any browser keeps", async () => {
    expect(await readImport(fileOf(" ".repeat(20_000_001)))).toMatch(/has 21 MB; at most 20 MB/);
  });
});

describe("stored presets", () => {
  it("are read one by one; what is none is passed over", () => {
    const stored = [{ name: " Terse ", systemPrompt: "Be brief.", sampling: { temperature: 0.2 } }, { name: "" }, 3];
    expect(readPresets(stored)).toEqual([
      {
        name: "Terse",
        systemPrompt: "Be brief.",
        sampling: expect.objectContaining({ temperature: 0.2, top_p: null }),
      },
    ]);
    expect(readPresets(null)).toEqual([]);
  });
});
