import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import {
  Contestant,
  completeAnswer,
  type Question,
  type RemoteEntry,
} from "../../../src/arena/contestants/contestant.js";
import { Roster, readRoster } from "../../../src/arena/contestants/roster.js";
import { EngineRegistry } from "../../../src/engine/engine-registry.js";
import { ToastError } from "../../../src/errors.js";
import { steeringChoice } from "../../../src/openai/steering-field.js";
import { ownServer } from "../../../src/server/arena/own-server.js";
import { ScriptedEngine } from "../../server/scripted-engine.js";
import { type RemoteServer, say, startRemoteServer } from "./remote-server.js";

const question: Question = {
  messages: [{ role: "user", content: "Who are you?" }],
  temperature: 0.5,
  topP: 0.9,
  maxTokens: 16,
  seed: 7,
};
const never = new AbortController().signal;

describe("a remote contestant", () => {
  let server: RemoteServer;
  beforeAll(async () => {
    server = await startRemoteServer((call, response) => say(response, ["I am ", "far 🍞"], call.path));
  });
  afterAll(() => server.close());
  const remote = (entry: Partial<RemoteEntry> = {}) =>
    Contestant.remote({
      id: "far",
      label: "Far",
      url: server.url,
      model: "m",
      apiKey: "sk-1",
      template: null,
      system: null,
      arena: true,
      ...entry,
    });

  it("is asked by chat completions, and tells what the other server tells", async () => {
    expect(await completeAnswer(remote(), question, never)).toMatchObject({
      contestant: "far",
      kind: "remote",
      model: "m",
      text: "I am far 🍞",
      promptTokens: 5,
      completionTokens: 2,
      finishReason: "stop",
      systemFingerprint: "fp_remote",
      firstTokenMs: expect.any(Number),
    });
    expect(server.calls.at(-1)).toMatchObject({
      path: "/v1/chat/completions",
      headers: { authorization: "Bearer sk-1" },
      body: { model: "m", messages: question.messages, seed: 7, temperature: 0.5, top_p: 0.9, max_tokens: 16 },
    });
  });

  it("with a template is asked by plain completions of the rendered prompt, and stopped at the other's turn", async () => {
    const vicuna = await completeAnswer(remote({ template: "vicuna" }), question, never);
    expect(vicuna).toMatchObject({ text: "I am far 🍞", template: "vicuna" });
    expect(server.calls.at(-1)).toMatchObject({ path: "/v1/completions", body: { stop: ["\nUSER:", " USER:"] } });
    expect(server.calls.at(-1)?.body.prompt).toMatch(/^A chat between .* USER: Who are you\? ASSISTANT:$/);
    await completeAnswer(remote({ template: "alpaca" }), question, never);
    expect(server.calls.at(-1)?.body.prompt).toMatch(/### Instruction:\nWho are you\?\n\n### Response:\n$/);
  });

  it.each([
    [
      "a refusal",
      /it answered 404: no such model/,
      (_: unknown, response: Parameters<RemoteServer["answer"]>[1]) => {
        response.writeHead(404).end(JSON.stringify({ error: { message: "no such model" } }));
      },
    ],
    [
      "an error in the stream",
      /it said: out of memory/,
      (_: unknown, response: Parameters<RemoteServer["answer"]>[1]) => {
        response.writeHead(200).end('data: {"error":{"message":"out of memory"}}\n\n');
      },
    ],
    [
      "a stream that stops half-way",
      /ended its answer half-way/,
      (_: unknown, response: Parameters<RemoteServer["answer"]>[1]) => {
        response.writeHead(200).end('data: {"choices":[{"delta":{"content":"I"}}]}\n\n');
      },
    ],
    [
      "garbage",
      /no chunk of an answer/,
      (_: unknown, response: Parameters<RemoteServer["answer"]>[1]) => {
        response.writeHead(200).end("data: <html>\n\n");
      },
    ],
    [
      "a redirect, which is not followed",
      /could not answer/,
      (_: unknown, response: Parameters<RemoteServer["answer"]>[1]) => {
        response.writeHead(302, { location: "http://169.254.169.254/latest" }).end();
      },
    ],
  ])("turns %s into a sentence", async (_, sentence, answer) => {
    const before = server.answer;
    server.answer = answer;
    const failure = completeAnswer(remote(), question, never);
    await expect(failure).rejects.toMatchObject({
      code: "contestant_failed",
      message: expect.stringMatching(sentence),
    });
    server.answer = before;
    expect((await completeAnswer(remote(), question, never)).text).toBe("I am far 🍞");
  });

  it("is let go of when the question is taken back", async () => {
    const before = server.answer;
    let closed = false;
    server.answer = (_, response) => {
      response.writeHead(200).write('data: {"choices":[{"delta":{"content":"I"}}]}\n\n');
      response.on("close", () => {
        closed = true;
      });
    };
    const controller = new AbortController();
    const answer = remote().ask(question, controller.signal);
    expect(await answer.next()).toMatchObject({ value: { kind: "text", text: "I" } });
    controller.abort();
    await expect(answer.next()).rejects.toThrow();
    await expect.poll(() => closed).toBe(true);
    server.answer = before;
  });

  it("cannot be reached: says so", async () => {
    const failure = completeAnswer(remote({ url: "http://127.0.0.1:1/v1" }), question, never);
    await expect(failure).rejects.toMatchObject({ code: "contestant_failed" });
  });
});

/** The conversation that was generated from last. */
function promptOf({ requests }: ScriptedEngine) {
  const prompt = requests.at(-1)?.prompt;
  return prompt?.kind === "chat" ? prompt.messages.map(({ role, content }) => ({ role, content })) : null;
}

describe("the roster", () => {
  let folder: string;
  let engine: ScriptedEngine;
  beforeEach(() => {
    engine = new ScriptedEngine();
  });
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "toast-roster-"));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));
  const roster = async (entries: unknown, environment: NodeJS.ProcessEnv = {}) => {
    const path = join(folder, "contestants.json");
    await writeFile(path, typeof entries === "string" ? entries : JSON.stringify(entries));
    return new Roster(
      await readRoster(path, environment, steeringChoice),
      ownServer(new EngineRegistry([engine]), () => {}),
      steeringChoice,
    );
  };

  it("is every served model, and what the file adds, renames or keeps out of random pairs", async () => {
    const { contestants } = await roster(
      [
        { id: "tiny:poet", arena: false },
        { id: "half", model: "tiny:alpaca", steering: { strength: 0.5 }, label: "Half steered" },
        { id: "far", url: "http://localhost:1/v1", model: "m", api_key_env: "FAR_KEY", template: "alpaca" },
      ],
      { FAR_KEY: "sk-1" },
    );
    expect(contestants.map(({ id, kind, arena }) => [id, kind, arena])).toEqual([
      ["tiny", "served", true],
      ["tiny:alpaca", "served", true],
      ["tiny:poet", "served", false],
      ["half", "served", true],
      ["far", "remote", true],
    ]);
    expect(JSON.stringify(contestants)).not.toContain("sk-1");
  });

  it.each([
    [[{ id: "x", url: "file:///etc/passwd", model: "m" }], /'url': must be an http or https URL/],
    [[{ id: "x", url: "http://a/v1", model: "m", api_key_env: "NOT_SET" }], /NOT_SET/],
    [[{ id: "x", url: "http://a/v1", model: "m", tmplate: "alpaca" }], /Contestant 1/],
    [[{ id: "x", model: "m", steering: { strength: 9 } }], /'steering.strength'/],
    [
      [{ id: "x", model: "m", steering: { vectors: [{ name: "happy", strength: 9 }] } }],
      /'steering.vectors.0.strength'/,
    ],
    [[{ id: "x", model: "m", system: " " }], /'system': must not be empty/],
    [["tiny+happy@9"], /Contestant 1 of .*: The contestant 'tiny\+happy@9' cannot be read: the strength of 'happy'/],
    [["tiny happy"], /Contestant 1 of .*letters, digits/],
    [["tiny+happy", { id: "tiny+happy" }], /two contestants of the id 'tiny\+happy'/],
    [[{ id: "x" }, { id: "x" }], /two contestants of the id 'x'/],
    [{ id: "x" }, /must hold a JSON array/],
    ["[", /not valid JSON/],
  ])("refuses %j with a sentence", async (entries, sentence) => {
    await expect(roster(entries)).rejects.toMatchObject({
      code: "invalid_config",
      message: expect.stringMatching(sentence),
    });
  });

  it("a served contestant answers as chat completions would, and says what steered it", async () => {
    // With the mark that PowerShell writes in front.
    const entries = [{ id: "half", model: "tiny:alpaca", steering: { strength: 0.5 } }];
    const everybody = await roster(`\uFEFF${JSON.stringify(entries)}`);
    expect(await completeAnswer(everybody.find("half"), question, never)).toMatchObject({
      contestant: "half",
      model: "tiny:alpaca",
      adapter: "alpaca",
      steering: { adapter: "alpaca", strength: 0.5, layers: [0, 3] },
      weightsHash: "b".repeat(16),
      adapterHash: "a".repeat(16),
      systemFingerprint: expect.stringMatching(/^fp_/),
      text: "I am alpaca",
      completionTokens: 3,
      finishReason: "stop",
    });
    expect(() => everybody.find("nobody")).toThrow(/no contestant 'nobody'. There are: tiny, tiny:alpaca/);
  });

  it("a contestant may be a whole stack, spelled or written out, and is told something before the conversation", async () => {
    const everybody = await roster([
      "tiny:alpaca@0.5+happy@0.8",
      { id: "polite", model: "tiny", steering: { vectors: [{ name: "formal", strength: -1 }] } },
      { id: "told", label: "Told", model: "tiny", system: "Act as if you are happy." },
    ]);
    expect(await completeAnswer(everybody.find("tiny:alpaca@0.5+happy@0.8"), question, never)).toMatchObject({
      contestant: "tiny:alpaca@0.5+happy@0.8",
      adapter: "alpaca",
      steering: { adapter: "alpaca", strength: 0.5, vectors: [{ name: "happy", strength: 0.8 }] },
      vectorHashes: [{ name: "happy", hash: expect.stringMatching(/^\w+$/) }],
      text: "I am alpaca 0.8 happy",
    });
    const polite = await completeAnswer(everybody.find("polite"), question, never);
    expect(polite).toMatchObject({ adapter: null, adapterHash: null, system: null, text: "I am plain -1 formal" });
    expect(polite.steering).toEqual({ vectors: [{ name: "formal", strength: -1, layers: expect.any(Array) }] });

    const told = everybody.find("told");
    expect(await completeAnswer(told, question, never)).toMatchObject({
      label: "Told",
      system: "Act as if you are happy.",
      steering: null,
      vectorHashes: null,
    });
    expect(promptOf(engine)).toEqual([
      { role: "system", content: "Act as if you are happy." },
      { role: "user", content: "Who are you?" },
    ]);
    const messages = [{ role: "system", content: "Be brief." } as const, ...question.messages];
    await completeAnswer(told, { ...question, messages }, never);
    expect(promptOf(engine)).toEqual([
      { role: "system", content: "Act as if you are happy.\n\nBe brief." },
      { role: "user", content: "Who are you?" },
    ]);
  });

  it("a contestant whose vector is not there fails with the server's sentence", async () => {
    const everybody = await roster(["tiny+sad@1", "tiny+happy@1"]);
    const failure = completeAnswer(everybody.find("tiny+sad@1"), question, never);
    await expect(failure).rejects.toMatchObject({ message: expect.stringMatching(/no control vector 'sad'/) });
    expect((await completeAnswer(everybody.find("tiny+happy@1"), question, never)).text).toBe("I am plain 1 happy");
  });

  it("a served contestant fails with the server's own errors, before its answer and within it", async () => {
    const everybody = await roster([]);
    engine.script = { rejection: new ToastError("context_length_exceeded", "Too long.", { param: "messages" }) };
    const before = completeAnswer(everybody.find("tiny"), question, never);
    await expect(before).rejects.toMatchObject({ code: "context_length_exceeded", param: "messages" });
    engine.script = { failure: { at: 1, error: new ToastError("engine_failed", "It stopped.") } };
    const within = completeAnswer(everybody.find("tiny"), question, never);
    await expect(within).rejects.toMatchObject({ code: "engine_failed", message: "It stopped." });
  });

  it("a served contestant is let go of when the question is taken back", async () => {
    engine.script = { texts: ["I", "am"], delayMs: Number.POSITIVE_INFINITY };
    const controller = new AbortController();
    const answer = completeAnswer((await roster([])).find("tiny"), question, controller.signal);
    await expect.poll(() => engine.running).toBe(1);
    controller.abort(new Error("taken back"));
    await expect(answer).rejects.toThrow("taken back");
    await expect.poll(() => engine.running).toBe(0);
  });
});
