import { describe, expect, it } from "vitest";
import { Conversation } from "../../../src/cli/chat/conversation.js";
import { LineJoiner } from "../../../src/cli/chat/line-joiner.js";
import { runSlashCommand, slashCommands } from "../../../src/cli/chat/slash-command.js";

function open(): Conversation {
  return new Conversation({
    model: "tiny:alpaca",
    system: null,
    strength: null,
    layers: null,
    vectors: [],
    temperature: null,
    seed: null,
    maxTokens: null,
  });
}

const served = {
  models: () => Promise.resolve(["tiny", "tiny:alpaca", "tiny:poet", "rival"]),
  vectors: () =>
    Promise.resolve([
      { model: "tiny", name: "happy", description: "Cheerful.", recommended: [-1, 1.5] as const },
      { model: "tiny", name: "formal", description: null, recommended: null },
      { model: "rival", name: "sour", description: null, recommended: null },
    ]),
};

describe("a conversation", () => {
  it("asks with its history and with nothing that was not asked for", () => {
    const talk = open();
    talk.add("Hi", "Hello.");
    expect(talk.requestFor("And now?")).toEqual({
      model: "tiny:alpaca",
      stream: true,
      messages: [
        { role: "user", content: "Hi" },
        { role: "assistant", content: "Hello." },
        { role: "user", content: "And now?" },
      ],
    });
  });

  it("sends every setting that was made", async () => {
    const talk = open();
    for (const line of [
      "/system Be brief.",
      "/strength 0.5",
      "/layers 0 2",
      "/temperature 0",
      "/seed 7",
      "/adapter poet",
    ]) {
      expect(await runSlashCommand(line, talk, served)).toMatchObject({ kind: "print" });
    }
    expect(talk.requestFor("Hi")).toEqual({
      model: "tiny:poet",
      stream: true,
      messages: [
        { role: "system", content: "Be brief." },
        { role: "user", content: "Hi" },
      ],
      temperature: 0,
      seed: 7,
      steering: { strength: 0.5, layers: [0, 2] },
    });
    for (const line of ["/system", "/strength", "/layers", "/temperature", "/seed", "/adapter none", "/reset"]) {
      await runSlashCommand(line, talk, served);
    }
    expect(talk.requestFor("Hi")).toEqual({ model: "tiny", stream: true, messages: [{ role: "user", content: "Hi" }] });
  });

  it("asks the last question again without its answer", async () => {
    const talk = open();
    talk.add("One?", "1");
    talk.add("Two?", "3");
    expect(await runSlashCommand("/retry", talk, served)).toEqual({ kind: "ask", question: "Two?" });
    expect(talk.turns.map(({ content }) => content)).toEqual(["One?", "1"]);
  });

  it("is written down as JSON and as Markdown", () => {
    const talk = open();
    talk.change({ system: "Be brief." });
    talk.add("Hi", "Hello.");
    expect(JSON.parse(talk.transcript("json"))).toMatchObject({
      model: "tiny:alpaca",
      messages: [
        { role: "system", content: "Be brief." },
        { role: "user", content: "Hi" },
        { role: "assistant", content: "Hello." },
      ],
    });
    expect(talk.transcript("markdown")).toContain("**assistant**\n\nHello.\n");
  });
});

describe("slash commands", () => {
  it.each([
    ["/nonsense", "There is no command /nonsense. /help lists them."],
    ["/constructor", "There is no command /constructor."],
    ["/strength 5", "The strength must be a number from 0 to 4; got '5'."],
    ["/strength x", "got 'x'"],
    ["/layers 3 1", "The last layer must be a number from 3"],
    ["/seed 1.5", "The seed must be a whole number"],
    ["/temperature -1", "from 0 to 2"],
    ["/adapter nobody", "There is no adapter 'nobody'. Adapters of tiny: alpaca, poet."],
    ["/model nobody", "There are: tiny, tiny:alpaca, tiny:poet, rival."],
    ["/vector nobody 1", "There is no control vector 'nobody'. Those of tiny: happy, formal."],
    ["/vector sour", "Those of tiny: happy, formal."],
    ["/vector happy 9", "The strength must be a number from -4 to 4; got '9'."],
    ["/vector happy very much", "There is no control vector 'happy very much'."],
    ["/retry", "There is no question to ask again."],
    ["/save", "/save needs the name of a file."],
  ])("say what is wrong and change nothing: %s", async (line, message) => {
    const talk = open();
    const before = talk.settings;
    await expect(runSlashCommand(line, talk, served)).rejects.toThrow(message);
    expect(talk.settings).toEqual(before);
  });

  it("refuse a strength where nothing is steered", async () => {
    const talk = open();
    await runSlashCommand("/model rival", talk, served);
    await expect(runSlashCommand("/strength 1", talk, served)).rejects.toThrow("no adapter steers it. See /adapter.");
  });

  it("stack control vectors, change one, take one off, and list them", async () => {
    const talk = open();
    for (const line of ["/vector happy 0.8", "/vector formal", "/vector happy -0.5"])
      await runSlashCommand(line, talk, served);
    const steering = {
      vectors: [
        { name: "formal", strength: 1 },
        { name: "happy", strength: -0.5 },
      ],
    };
    expect(talk.requestFor("Hi")).toMatchObject({ steering });
    expect(await runSlashCommand("/vector", talk, served)).toEqual({
      kind: "print",
      lines: ["Control vectors: formal 1, happy -0.5.", "  happy (-1 to 1.5)  Cheerful.", "  formal"],
    });
    await runSlashCommand("/vector formal 0", talk, served);
    expect(talk.settings.vectors).toEqual([{ name: "happy", strength: -0.5 }]);
    await runSlashCommand("/vector none", talk, served);
    expect(talk.requestFor("Hi")).not.toHaveProperty("steering");
    await runSlashCommand("/vector happy", talk, served);
    await runSlashCommand("/model rival", talk, served);
    expect(talk.settings.vectors).toEqual([]);
  });

  it("list models with the one that speaks, adapters of its base, and themselves", async () => {
    const talk = open();
    const listed = await runSlashCommand("/model", talk, served);
    expect(listed).toEqual({ kind: "print", lines: ["  tiny", "* tiny:alpaca", "  tiny:poet", "  rival"] });
    const adapters = await runSlashCommand("/adapter", talk, served);
    expect(adapters).toEqual({ kind: "print", lines: ["Steered by alpaca. Adapters of tiny: alpaca, poet."] });
    const help = await runSlashCommand("/help", talk, served);
    const text = help.kind === "print" ? help.lines.join("\n") : "";
    for (const name of Object.keys(slashCommands)) expect(text).toContain(`/${name}`);
  });
});

describe("lines", () => {
  const messagesOf = (lines: readonly string[]) => {
    const joiner = new LineJoiner();
    return lines.map((line) => joiner.push(line)).filter((message) => message !== null);
  };

  it("go on behind a backslash and between three quotes", () => {
    expect(messagesOf(["one", "two \\", "three", "four"])).toEqual(["one", "two \nthree", "four"]);
    expect(messagesOf(['"""', "a", "", 'b"', '"""', "c"])).toEqual(['a\n\nb"', "c"]);
    expect(messagesOf(['"""a', 'b"""'])).toEqual(["a\nb"]);
    expect(messagesOf(['"""all in one"""'])).toEqual(["all in one"]);
    expect(messagesOf(['"""', "ends in a backslash\\", '"""'])).toEqual(["ends in a backslash\\"]);
  });

  it("are forgotten when they are dropped", () => {
    const joiner = new LineJoiner();
    joiner.push("a\\");
    expect(joiner.isOpen).toBe(true);
    joiner.drop();
    expect([joiner.isOpen, joiner.push("b")]).toEqual([false, "b"]);
  });
});
