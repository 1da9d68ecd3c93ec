import { createParser } from "eventsource-parser";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { EngineClient } from "../../src/engine/thread/engine-client.js";
import { ToastError } from "../../src/errors.js";
import { ScriptedEngine, scriptedModel } from "../server/scripted-engine.js";
import { openTestModel } from "./open-test-model.js";
import {
  answerOf,
  chunksOf,
  type Exchange,
  errorOf,
  framesOf,
  startTestServer,
  streamedText,
  type TestServer,
  untilCommented,
} from "./start-test-server.js";

/** Beside the real model stands a scripted one, for the failures and waits that a real one has only on bad days. */
const scripted = new ScriptedEngine({ ...scriptedModel, id: "scripted" });
let engine: EngineClient;
let server: TestServer;
let closeModel: () => Promise<void>;

beforeAll(async () => {
  ({ engine, close: closeModel } = await openTestModel());
  server = await startTestServer([engine, scripted], { keepAliveMs: 50 });
});
afterEach(async () => {
  scripted.script = {};
  // Nothing that a test did may stay behind: no lane, no request, no broken invariant.
  await expect.poll(() => server.running.count).toBe(0);
  await expect.poll(() => engine.inspect()).toMatchObject({ waiting: 0, running: 0, lanesInUse: 0, violations: [] });
});
afterAll(async () => {
  await server.shutdown(0);
  await closeModel();
});

const user = (content: unknown) => [{ role: "user", content }];
/** Greedy, so that any two answers can be compared. */
const question = { model: "tiny:alpaca", messages: user("Tell me a story."), temperature: 0, max_tokens: 12 };
const streamed = { ...question, stream: true };
const toScripted = { ...question, model: "scripted" };

describe("chunks of a stream", () => {
  it("wire row 1: finish_reason is on every chunk, null until the end", async () => {
    const reasons = chunksOf(await server.chat(streamed)).map(({ choices }) => choices[0]?.finish_reason);
    expect(reasons.length).toBeGreaterThan(2);
    expect(reasons.slice(0, -1).every((reason) => reason === null)).toBe(true);
    expect(["stop", "length"]).toContain(reasons.at(-1));
  });

  it("wire row 2: the finish chunk stands alone and carries no text", async () => {
    const chunks = chunksOf(await server.chat(streamed));
    const finishing = chunks.filter(({ choices }) => choices[0]?.finish_reason !== null);
    expect(finishing.map(({ choices }) => choices[0]?.delta)).toEqual([{}]);
    expect(chunks.slice(1, -1).every(({ choices }) => (choices[0]?.delta.content ?? "") !== "")).toBe(true);
  });

  it("wire row 3: the role is in the first chunk only, with empty content", async () => {
    const [first, ...others] = chunksOf(await server.chat(streamed)).map(({ choices }) => choices[0]?.delta);
    expect(first).toEqual({ role: "assistant", content: "" });
    expect(others.every((delta) => delta !== undefined && !("role" in delta))).toBe(true);
  });

  it("wire row 4: usage comes only when asked for, in one extra chunk, and is null on the others", async () => {
    const without = chunksOf(await server.chat(streamed));
    expect(without.every((chunk) => !("usage" in chunk))).toBe(true);
    const chunks = chunksOf(await server.chat({ ...streamed, stream_options: { include_usage: true } }));
    expect(chunks.at(-1)).toMatchObject({ choices: [], usage: { total_tokens: expect.any(Number) } });
    expect(chunks.at(-2)?.choices[0]?.finish_reason).not.toBeNull();
    expect(chunks.slice(0, -1).every(({ usage, choices }) => usage === null && choices.length === 1)).toBe(true);
  });

  it("wire row 5: [DONE] is last, also after an error in the stream", async () => {
    expect(framesOf(await server.chat(streamed)).at(-1)).toBe("data: [DONE]");
    scripted.script = { failure: { at: 1, error: new ToastError("engine_failed", "The engine run failed.") } };
    expect(framesOf(await server.chat({ ...toScripted, stream: true })).at(-1)).toBe("data: [DONE]");
  });

  it("wire row 6: an error in the stream is a data line of JSON", async () => {
    scripted.script = { failure: { at: 1, error: new ToastError("engine_failed", "The engine run failed.") } };
    const answer = await server.chat({ ...toScripted, stream: true });
    expect(answer.status).toBe(200);
    expect(JSON.parse(framesOf(answer).at(-2)?.slice("data: ".length) ?? "")).toEqual({
      error: { message: "The engine run failed.", type: "server_error", param: null, code: "engine_failed" },
    });
  });

  it("wire row 22: comments keep a waiting stream alive; there is no empty data and no id line", async () => {
    const { promise, onText } = untilCommented();
    scripted.script = { texts: ["late"], until: promise };
    const answer = await server.chat({ ...toScripted, stream: true }, { onText });
    const frames = framesOf(answer);
    expect(frames.some((frame) => frame.startsWith(":"))).toBe(true);
    expect(frames.every((frame) => /^(: keep-alive|data: \S.*)$/.test(frame))).toBe(true);
    const events: string[] = [];
    createParser({ onEvent: ({ data, id }) => events.push(`${id ?? ""}${data}`) }).feed(answer.text);
    expect(events.filter((event) => event !== "[DONE]").every((event) => JSON.parse(event))).toBe(true);
  });

  it("wire row 24: they share id, created and model, and another answer has another id", async () => {
    const [one, two] = await Promise.all([server.chat(streamed), server.chat(streamed)]);
    const headsOf = (answer: Exchange) => [
      ...new Set(chunksOf(answer).map(({ id, created, model, object }) => `${id} ${created} ${model} ${object}`)),
    ];
    const heads = [...headsOf(one), ...headsOf(two)];
    expect(heads).toHaveLength(2);
    expect(heads[0]).toMatch(/^chatcmpl-[0-9a-f]{32} \d{10} tiny:alpaca chat\.completion\.chunk$/);
    expect(heads[0]).not.toBe(heads[1]);
  });

  it("arrive one by one, not in a heap at the end", async () => {
    scripted.script = { texts: ["a", "b", "c", "d", "e"], delayMs: 60 };
    const arrivals: number[] = [];
    await server.chat({ ...toScripted, stream: true }, { onText: () => arrivals.push(Date.now()) });
    expect(arrivals.length).toBeGreaterThanOrEqual(3);
    expect((arrivals.at(-1) ?? 0) - (arrivals[0] ?? 0)).toBeGreaterThan(50);
  });

  it("carry the headers of an event stream", async () => {
    const { headers } = await server.chat(streamed);
    expect(headers).toMatchObject({
      "content-type": "text/event-stream; charset=utf-8",
      "cache-control": "no-cache",
      "x-accel-buffering": "no",
    });
  });
});

describe("errors", () => {
  it("wire row 7: one before the first token is a real status with a JSON body, for a stream too", async () => {
    const tooLong = { ...streamed, messages: user("word ".repeat(2000)) };
    const answer = await server.chat(tooLong);
    expect([answer.status, answer.headers["content-type"]]).toEqual([400, "application/json"]);
    scripted.script = { failure: { at: 0, error: new ToastError("engine_failed", "The engine run failed.") } };
    const failed = await server.chat({ ...toScripted, stream: true });
    expect([failed.status, errorOf(failed).code]).toEqual([500, "engine_failed"]);
  });

  it("wire row 8: have all four keys, and code is a string or null", async () => {
    const answers = [
      await server.chat("{"),
      await server.chat({}),
      await server.chat({ ...question, model: "gpt-4" }),
      await server.chat({ ...question, audio: { voice: "alloy" } }),
      await server.exchange("/nothing"),
      await server.exchange("/v1/chat/completions"),
      await server.exchange("/v1/models/nothing"),
    ];
    for (const answer of answers) {
      expect(Object.keys(JSON.parse(answer.text) as object)).toEqual(["error"]);
      const { message, type, param, code, ...rest } = errorOf(answer);
      expect([typeof message, typeof type, typeof code, rest]).toEqual(["string", "string", "string", {}]);
      expect(param === null || typeof param === "string").toBe(true);
      expect(message).toMatch(/^.+\.$/);
    }
  });

  it("wire row 9: have the status that tells a client whether to try again", async () => {
    expect((await server.chat({ ...question, temperature: 3 })).status).toBe(400);
    expect((await server.chat("x".repeat(200_001))).status).toBe(413);
    scripted.script = { rejection: new ToastError("server_overloaded", "The queue is full.") };
    const busy = await server.chat(toScripted);
    expect([busy.status, busy.headers["retry-after"]]).toEqual([429, "1"]);
  });

  it("wire row 10: an unknown model is 404, and never another model", async () => {
    for (const model of ["gpt-4", "tiny:", "tiny:poet", "Tiny", "", "alpaca", "tiny:alpaca "]) {
      const answer = await server.chat({ ...question, model });
      expect([answer.status, errorOf(answer).code, errorOf(answer).param]).toEqual([404, "model_not_found", "model"]);
      expect(errorOf(answer).message).toContain("tiny:alpaca");
    }
  });

  it("wire row 20: a prompt or a wish beyond the context is refused, never cut", async () => {
    const long = await server.chat({ ...question, messages: user("word ".repeat(2000)) });
    const wish = await server.chat({ ...question, max_tokens: 100_000 });
    for (const answer of [long, wish]) {
      expect([answer.status, errorOf(answer).code]).toEqual([400, "context_length_exceeded"]);
    }
  });

  it("leave the server's log alone when they are the client's", () => {
    expect(server.logged.every((error) => error instanceof ToastError && error.code === "engine_failed")).toBe(true);
  });
});

describe("what a request asks for", () => {
  it("wire row 11: max_completion_tokens wins over max_tokens, and reaching it gives length", async () => {
    const { choices, usage } = answerOf(await server.chat({ ...question, max_tokens: 9, max_completion_tokens: 3 }));
    expect([choices[0]?.finish_reason, usage.completion_tokens]).toEqual(["length", 3]);
  });

  it("wire row 12: content is a string or text parts, for every role", async () => {
    const texts = ["Be brief.", "Hi", "Hello", "Go on"];
    const roles = ["system", "user", "assistant", "user"];
    const messages = (wrap: (text: string) => unknown) =>
      roles.map((role, at) => ({ role, content: wrap(texts[at] ?? "") }));
    const plain = await server.chat({ ...question, messages: messages((text) => text) });
    const parts = await server.chat({ ...question, messages: messages((text) => [{ type: "text", text }]) });
    expect(plain.status).toBe(200);
    expect(answerOf(parts).choices).toEqual(answerOf(plain).choices);
    // The same prompt: what the first has computed, the second finds.
    const { prompt_tokens_details: details, ...tokens } = answerOf(parts).usage;
    expect(answerOf(plain).usage).toMatchObject(tokens);
    expect(details.cached_tokens).toBeGreaterThan(tokens.prompt_tokens / 2);
  });

  it("wire row 13: developer is read as system", async () => {
    const asked = (role: string) =>
      server.chat({ ...question, messages: [{ role, content: "Be brief." }, ...question.messages] });
    const [developer, system] = await Promise.all([asked("developer"), asked("system")]);
    expect(developer.status).toBe(200);
    expect(answerOf(developer).choices).toEqual(answerOf(system).choices);
  });

  it("wire row 14: a stop string ends the text before it, wherever tokens are cut, streamed or not", async () => {
    const full = answerOf(await server.chat(question)).choices[0]?.message.content ?? "";
    expect(full.length).toBeGreaterThan(6);
    for (const [from, to] of [
      [2, 4],
      [3, 4],
      [1, 6],
    ]) {
      const stop = full.slice(from, to);
      const expected = full.slice(0, full.indexOf(stop));
      const whole = answerOf(await server.chat({ ...question, stop: [stop, "never said"] }));
      expect(whole.choices[0]).toMatchObject({ finish_reason: "stop", message: { content: expected } });
      expect(streamedText(await server.chat({ ...streamed, stop }))).toBe(expected);
    }
  });

  it("wire row 15: streamed text is the unstreamed text of the same seed, bytes of half characters included", async () => {
    for (let seed = 1; seed <= 8; seed++) {
      const request = { ...question, temperature: 1.5, seed, max_tokens: 40, messages: user("Écris 你好 🙂") };
      const whole = answerOf(await server.chat(request)).choices[0]?.message.content;
      expect(streamedText(await server.chat({ ...request, stream: true }))).toBe(whole);
    }
  });

  it("wire row 19: n choices have an index each, texts of their own, and one prompt", async () => {
    const asked = { ...question, n: 3, temperature: 1, seed: 5, max_tokens: 20 };
    const whole = answerOf(await server.chat(asked));
    expect(whole.choices.map(({ index }) => index)).toEqual([0, 1, 2]);
    const texts = whole.choices.map(({ message }) => message.content);
    expect(new Set(texts).size).toBe(3);
    const chunks = chunksOf(await server.chat({ ...asked, stream: true, stream_options: { include_usage: true } }));
    for (const [index, text] of texts.entries()) {
      const own = chunks.flatMap(({ choices }) => choices).filter((choice) => choice.index === index);
      expect(own.map(({ delta }) => delta.content ?? "").join("")).toBe(text);
      expect(own.map(({ finish_reason }) => finish_reason).filter(Boolean)).toHaveLength(1);
    }
    const single = answerOf(await server.chat({ ...asked, n: 1 }));
    expect(single.choices[0]?.message.content).toBe(texts[0]);
    expect(chunks.at(-1)?.usage).toEqual(whole.usage);
    expect(whole.usage.prompt_tokens).toBe(single.usage.prompt_tokens);
  });

  it("wire row 25: usage counts the tokens generated, the same for a stream", async () => {
    const whole = answerOf(await server.chat(question));
    const stream = chunksOf(await server.chat({ ...streamed, stream_options: { include_usage: true } }));
    expect(stream.at(-1)?.usage).toEqual(whole.usage);
    const { prompt_tokens, completion_tokens, total_tokens } = whole.usage;
    expect(prompt_tokens).toBeGreaterThan(0);
    expect(completion_tokens).toBeLessThanOrEqual(12);
    expect(total_tokens).toBe(prompt_tokens + completion_tokens);
  });

  it("wire row 27: unknown fields are ignored, known ones that cannot be honoured are refused by name", async () => {
    const plain = answerOf(await server.chat(question));
    const ignored = answerOf(await server.chat({ ...question, no_such_field: 1, user: "u", metadata: { a: "b" } }));
    expect(ignored.choices).toEqual(plain.choices);
    const refused = await server.chat({ ...question, functions: [{ name: "f" }] });
    expect([refused.status, errorOf(refused).code, errorOf(refused).param]).toEqual([
      400,
      "unsupported_parameter",
      "functions",
    ]);
  });

  it("the same seed gives the same text, another seed another", async () => {
    const sampled = async (seed: number) =>
      answerOf(await server.chat({ ...question, temperature: 1, max_tokens: 30, seed })).choices[0]?.message.content;
    const [one, again, other] = await Promise.all([sampled(7), sampled(7), sampled(8)]);
    expect(again).toBe(one);
    expect(other).not.toBe(one);
  });
});

describe("steering", () => {
  const contentOf = (answer: Exchange) => answerOf(answer).choices[0]?.message.content;
  const sampled = { ...question, temperature: 1, seed: 3, max_tokens: 24 };

  it("strength 0 is the base model", async () => {
    const base = await server.chat({ ...sampled, model: "tiny" });
    const unsteered = await server.chat({ ...sampled, steering: { strength: 0 } });
    expect(contentOf(unsteered)).toBe(contentOf(base));
    expect([answerOf(base).steering, answerOf(unsteered).steering]).toEqual([null, null]);
    expect(answerOf(unsteered).system_fingerprint).toBe(answerOf(base).system_fingerprint);
  });

  it("the id and the field mean the same, and the answer says what steered it", async () => {
    const byId = answerOf(await server.chat(sampled));
    const byField = answerOf(await server.chat({ ...sampled, model: "tiny", steering: { adapter: "alpaca" } }));
    expect(byField.choices).toEqual(byId.choices);
    expect(byField.steering).toEqual({ adapter: "alpaca", strength: 1, layers: [0, 1] });
    expect([byId.model, byField.model]).toEqual(["tiny:alpaca", "tiny"]);
    expect(byField.system_fingerprint).toBe(byId.system_fingerprint);
  });

  it("strength and layers are honoured, and refused by name when they do not fit", async () => {
    const full = await server.chat({ ...sampled, steering: { strength: 1 } });
    const strong = await server.chat({ ...sampled, steering: { strength: 4 } });
    const partial = await server.chat({ ...sampled, steering: { strength: 4, layers: [1, 1] } });
    const prints = [full, strong, partial].map((answer) => answerOf(answer).system_fingerprint);
    expect(new Set(prints).size).toBe(3);
    const refused = await server.chat({ ...sampled, steering: { layers: [0, 2] } });
    expect([refused.status, errorOf(refused).param]).toEqual([400, "steering.layers"]);
  });
});

describe("connections", () => {
  it("wire row 21: a preflight gets back the headers that it asked for", async () => {
    const headers = {
      origin: "http://localhost:5173",
      "access-control-request-method": "POST",
      "access-control-request-headers": "authorization,x-stainless-os",
    };
    const answer = await server.exchange("/v1/chat/completions", { method: "OPTIONS", headers });
    expect(answer.status).toBe(204);
    expect(answer.headers["access-control-allow-headers"]).toBe("authorization,x-stainless-os");
    expect(answer.headers["access-control-allow-origin"]).toBe("http://localhost:5173");
  });

  it("wire row 23: a client that leaves stops the work, streamed or not", async () => {
    const endless = { ...question, model: "tiny", max_tokens: 400 };
    for (const stream of [true, false]) {
      const client = new AbortController();
      const answer = server.chat({ ...endless, stream }, { signal: client.signal });
      const gone = expect(answer).rejects.toThrow();
      await expect.poll(async () => (await engine.inspect()).running, { interval: 1 }).toBe(1);
      client.abort();
      await gone;
      await expect.poll(async () => (await engine.inspect()).lanesInUse, { timeout: 1000 }).toBe(0);
    }
  });

  it("wire row 26: every response has an x-request-id", async () => {
    const answers = [
      await server.chat(question),
      await server.chat(streamed),
      await server.chat("{"),
      await server.exchange("/nothing"),
      await server.exchange("/health"),
      await server.exchange("/v1/models", { method: "OPTIONS" }),
      await server.exchange("/health", { headers: { host: "a b" } }),
    ];
    const ids = answers.map(({ headers }) => headers["x-request-id"]);
    expect(ids.every((id) => typeof id === "string" && /^req_[0-9a-f]{32}$/.test(id))).toBe(true);
    expect(new Set(ids).size).toBe(ids.length);
    const named = await server.chat(streamed, { headers: { "x-request-id": "mine-1" } });
    expect(named.headers["x-request-id"]).toBe("mine-1");
  });

  it("serve several at once, each its own text", async () => {
    const alone = await Promise.all([1, 2, 3].map(async (seed) => textOf(seed)));
    const requests = [1, 2, 3, 1, 2, 3];
    const together = await Promise.all(requests.map(async (seed) => textOf(seed)));
    expect(together).toEqual([...alone, ...alone]);

    async function textOf(seed: number) {
      const request = { ...question, temperature: 1, seed, max_tokens: 20 };
      return streamedText(await server.chat({ ...request, stream: true }));
    }
  });
});
