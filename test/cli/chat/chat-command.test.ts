import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { stripVTControlCharacters } from "node:util";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { runCli } from "../../../src/cli/run-cli.js";
import { startTestServer, type TestServer } from "../../contract/start-test-server.js";
import { ScriptedEngine } from "../../server/scripted-engine.js";

const engine = new ScriptedEngine();
let server: TestServer;
let scratch: string;
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), "toast-chat-"));
  server = await startTestServer([engine]);
});
afterEach(async () => {
  engine.script = {};
  engine.requests.length = 0;
  await expect.poll(() => server.running.count).toBe(0);
});
afterAll(async () => {
  await server.shutdown(0);
  await rm(scratch, { recursive: true, force: true });
});

/** A terminal that a test types at: everything that a person would see is in `seen`. */
function open(words: readonly string[], options: { readonly isPerson?: boolean; readonly stop?: AbortSignal } = {}) {
  const input = new PassThrough();
  const output = Object.assign(new PassThrough(), { columns: 200 });
  let seen = "";
  let piped = "";
  const errors: string[] = [];
  output.on("data", (chunk: Buffer) => {
    seen += chunk.toString();
  });
  const isPerson = options.isPerson ?? true;
  const code = runCli(
    ["chat", ...words],
    {
      out: (line) => {
        seen += `${line}\n`;
      },
      err: (line) => errors.push(line),
      interactive: false,
      environment: {},
      write: (text) => {
        piped += text;
      },
      screen: { input, output, isPerson },
    },
    options.stop ?? new AbortController().signal,
  );
  return {
    code,
    errors,
    input,
    type: (text: string) => input.write(text),
    seen: () => seen,
    piped: () => piped,
    /** Waits until it is on the screen, and for whatever comes later to be looked at alone. */
    async sees(text: string | RegExp) {
      await expect.poll(() => stripVTControlCharacters(seen), { timeout: 10_000 }).toMatch(text);
      seen = "";
    },
  };
}

const toServer = () => ["--url", server.url];

describe("a talk at a terminal", () => {
  it("streams answers, keeps what was said, and leaves with Ctrl-D", async () => {
    const chat = open(toServer());
    await chat.sees(/Talking to tiny:alpaca\. \/help says.*> $/s);
    chat.type("Who are you?\r");
    await chat.sees(/I am alpaca\n.*> $/s);
    chat.type("/adapter none\r");
    await chat.sees("tiny speaks, no adapter steers it.");
    chat.type("And now?\r");
    await chat.sees("I am plain");
    chat.type("\x04");
    expect(await chat.code).toBe(0);
    expect(engine.requests.map(({ prompt }) => prompt.kind === "chat" && prompt.messages)).toEqual([
      [{ role: "user", content: "Who are you?" }],
      [
        { role: "user", content: "Who are you?" },
        { role: "assistant", content: "I am alpaca" },
        { role: "user", content: "And now?" },
      ],
    ]);
  });

  it("steers as it is told", async () => {
    const chat = open([...toServer(), "--adapter", "poet", "--strength", "0.5", "--temperature", "0", "--seed", "3"]);
    await chat.sees("Talking to tiny:poet");
    chat.type("/layers 1 2\r/strength 2\rHi\r");
    await chat.sees("I am poet");
    chat.type("/quit\r");
    expect(await chat.code).toBe(0);
    expect(engine.requests[0]).toMatchObject({
      steering: { kind: "steered", adapter: "poet", strength: 2, layers: [1, 2], vectors: [] },
      sampling: { temperature: 0, seed: 3 },
    });
  });

  it("stops an answer with Ctrl-C, keeps what there was of it, and goes on", async () => {
    engine.script = { texts: Array.from({ length: 500 }, (_, at) => `w${at} `), delayMs: 20 };
    const before = engine.cancelled;
    const chat = open(toServer());
    await chat.sees("Talking to");
    chat.type("Go on for ever.\r");
    await chat.sees(/w0 w1 /);
    chat.type("\x03");
    await chat.sees(/\(stopped\)\n.*> $/s);
    expect(engine.cancelled).toBe(before + 1);
    engine.script = {};
    chat.type("Still there?\r");
    await chat.sees("I am alpaca");
    chat.type("\x04");
    expect(await chat.code).toBe(0);
    const messages = engine.requests[1]?.prompt;
    expect(messages?.kind === "chat" && messages.messages[1]?.content).toMatch(/^w0 w1 /);
  });

  it("drops what was typed with one Ctrl-C, and leaves with two at an empty prompt", async () => {
    const chat = open(toServer());
    await chat.sees("Talking to");
    chat.type("half a quest");
    await chat.sees("half a quest");
    chat.type("\x03");
    await chat.sees(/> $/);
    chat.type("Whole?\r");
    await chat.sees("I am alpaca");
    chat.type("\x03");
    await chat.sees("(Ctrl-C again leaves)");
    chat.type("\x03");
    expect(await chat.code).toBe(0);
    expect(engine.requests).toHaveLength(1);
    expect(engine.requests[0]?.prompt).toMatchObject({ messages: [{ content: "Whole?" }] });
  });

  it("takes a message of several lines", async () => {
    const chat = open(toServer());
    await chat.sees("Talking to");
    chat.type('"""\rfirst\r\rsecond\r"""\r');
    await chat.sees("I am alpaca");
    chat.type("one \\\rmore\r");
    await chat.sees("I am alpaca");
    chat.type("\x04");
    await chat.code;
    const asked = engine.requests.map(({ prompt }) => (prompt.kind === "chat" ? prompt.messages.at(-1)?.content : ""));
    expect(asked).toEqual(["first\n\nsecond", "one \nmore"]);
  });

  it("says what is wrong and goes on: with a command, with the server, half-way", async () => {
    const chat = open(toServer());
    await chat.sees("Talking to");
    chat.type("/strength nine\r");
    await chat.sees("The strength must be a number from 0 to 4; got 'nine'.");
    chat.type(`${"word ".repeat(100)}\r`);
    await chat.sees("the context holds 64");
    engine.script = { failure: { at: 1, error: new Error("broken") } };
    chat.type("Fail.\r");
    await chat.sees(/The server failed while it handled this request/);
    engine.script = {};
    chat.type("Again.\r");
    await chat.sees("I am alpaca");
    chat.type("\x04");
    expect(await chat.code).toBe(0);
    // A question without any answer is no part of the talk; one with half of it is.
    expect(engine.requests.at(-1)?.prompt).toMatchObject({
      messages: [{ content: "Fail." }, { content: "I" }, { content: "Again." }],
    });
  });

  it("saves the talk, and overwrites nothing", async () => {
    const chat = open(toServer());
    await chat.sees("Talking to");
    chat.type("Hi\r");
    await chat.sees("I am alpaca");
    const file = join(scratch, "talk.json");
    chat.type(`/save ${file}\r`);
    await chat.sees(`Saved to ${file}.`);
    chat.type(`/save ${file}\r`);
    await chat.sees("is there already");
    chat.type(`/save ${join(scratch, "none", "x.md")}\r`);
    await chat.sees("ENOENT");
    chat.type("/quit\r");
    await chat.code;
    expect(JSON.parse(await readFile(file, "utf8"))).toMatchObject({
      messages: [{ content: "Hi" }, { content: "I am alpaca" }],
    });
  });

  it("leaves when it is told to from outside", async () => {
    const stop = new AbortController();
    const chat = open(toServer(), { stop: stop.signal });
    await chat.sees("> ");
    stop.abort();
    expect(await chat.code).toBe(0);
  });
});

describe("a question without a talk", () => {
  it("comes from a pipe: the answer is all that is printed", async () => {
    const chat = open(toServer(), { isPerson: false });
    chat.input.end("Who are you?\n");
    expect(await chat.code).toBe(0);
    expect([chat.piped(), chat.seen(), chat.errors]).toEqual(["I am alpaca\n", "", []]);
  });

  it("comes from --prompt, whatever the terminal is", async () => {
    const chat = open([
      ...toServer(),
      "--model-id",
      "tiny",
      "--prompt",
      "Hi",
      "--system",
      "Be brief.",
      "--max-tokens",
      "2",
    ]);
    expect(await chat.code).toBe(0);
    expect(chat.piped()).toBe("I am\n");
    expect(engine.requests[0]?.prompt).toMatchObject({ messages: [{ content: "Be brief." }, { content: "Hi" }] });
  });

  it("fails with a sentence and 1 when the server does, with 130 when it is stopped", async () => {
    engine.script = { failure: { at: 1, error: new Error("broken") } };
    const failed = open([...toServer(), "--prompt", "Hi"]);
    expect(await failed.code).toBe(1);
    expect(failed.errors.join("\n")).toContain("The server failed while it handled this request");
    expect(failed.piped()).toBe("I\n");
    engine.script = { texts: ["a", "b"], delayMs: 5_000 };
    const stop = new AbortController();
    const stopped = open([...toServer(), "--prompt", "Hi"], { stop: stop.signal });
    await expect.poll(() => engine.requests.length).toBe(2);
    stop.abort();
    expect(await stopped.code).toBe(130);
  });

  it.each([
    [["--prompt", "Hi", "--url", "http://127.0.0.1:9"], 1, "http://127.0.0.1:9/v1 cannot be reached"],
    [["--prompt", "Hi", "--url", "nonsense"], 2, "--url must be an address"],
    [["x", "--prompt", "Hi", "--url", "http://127.0.0.1:9"], 2, "Give a model folder or --url, not both."],
    [["--strength", "5"], 2, "It must be a number from 0 to 4; got '5'."],
    [["--seed", "x"], 2, "It must be a number from 0"],
    [["--prompt", "Hi", "--threads", "x"], 2, "--threads must be an integer"],
    [["/nowhere/at/all", "--prompt", "Hi"], 1, "is no converted model"],
  ])("exits with a sentence: %j", async (words, code, message) => {
    const chat = open(words);
    expect(await chat.code).toBe(code);
    expect(chat.errors.join("\n")).toContain(message);
  });

  it("exits with 2 when there is no such model, and when there is nothing to ask", async () => {
    const nobody = open([...toServer(), "--prompt", "Hi", "--adapter", "nobody"]);
    expect(await nobody.code).toBe(2);
    expect(nobody.errors[0]).toBe("There is no model 'tiny:nobody'. There are: tiny, tiny:alpaca, tiny:poet.");
    const nothing = open(toServer(), { isPerson: false });
    nothing.input.end(" \n");
    expect(await nothing.code).toBe(2);
    expect(nothing.errors[0]).toContain("There is nothing to ask");
  });
});

it("teaches", async () => {
  const chat = open(["--help"]);
  expect(await chat.code).toBe(0);
  const help = chat.seen().replaceAll(/\s+/g, " ");
  for (const text of ["[model-folder]", "--url <address>", "/help lists", "Examples:", "| toast-serve chat"]) {
    expect(help).toContain(text);
  }
});
