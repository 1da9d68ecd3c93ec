import { type ChatResponse, Ollama, type Tool } from "ollama";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { EngineClient } from "../../src/engine/thread/engine-client.js";
import { ToastError } from "../../src/errors.js";
import { ScriptedEngine, scriptedModel } from "../server/scripted-engine.js";
import { openToastTiny } from "../support/toast-tiny.js";
import { startTestServer, type TestServer } from "./start-test-server.js";

let engine: EngineClient;
let server: TestServer;
let client: Ollama;

beforeAll(async () => {
  engine = await openToastTiny();
  server = await startTestServer([engine]);
  client = new Ollama({ host: server.url, fetch: server.fetch });
});
afterEach(async () => {
  await expect.poll(() => server.running.count).toBe(0);
  await expect.poll(() => engine.inspect()).toMatchObject({ waiting: 0, running: 0, lanesInUse: 0, violations: [] });
  expect(server.departures).toEqual([]);
});
afterAll(async () => {
  await server.shutdown(0);
  await engine.close();
});

const messages = [{ role: "user", content: "Name three fruits." }];
const options = { temperature: 0, num_predict: 12 };
const model = "toast-tiny:alpaca";

/** What chat completions say to the same. */
async function chatText(fields: object): Promise<string> {
  const body = { model, temperature: 0, max_tokens: 12, messages, ...fields };
  const { choices } = JSON.parse((await server.chat(body)).text) as { choices: { message: { content: string } }[] };
  return choices[0]?.message.content ?? "";
}

async function collected<Part>(stream: AsyncIterable<Part>): Promise<Part[]> {
  const parts: Part[] = [];
  for await (const part of stream) parts.push(part);
  return parts;
}

describe("the official Ollama client", () => {
  it("gets the text that a chat completion has, with counts and times", async () => {
    const answer = await client.chat({ model, messages, options });
    expect(answer.message.content).toBe(await chatText({}));
    expect(answer).toMatchObject({ model, done: true, done_reason: "length", eval_count: 12, load_duration: 0 });
    expect(answer.message.role).toBe("assistant");
    expect(answer.prompt_eval_count).toBeGreaterThan(5);
    expect(answer.total_duration).toBeGreaterThanOrEqual(answer.eval_duration + answer.prompt_eval_duration);
    expect(answer.prompt_eval_duration).toBeGreaterThan(0);
    expect(answer.eval_duration).toBeGreaterThan(0);
    expect(Date.parse(String(answer.created_at))).toBeGreaterThan(Date.now() - 60_000);
  });

  it("streams the same text in lines of JSON, the last of which says how it ended", async () => {
    const parts = await collected(await client.chat({ model, messages, options, stream: true }));
    expect(parts.map(({ message }) => message.content).join("")).toBe(await chatText({}));
    expect(parts.length).toBeGreaterThan(3);
    expect(parts.slice(0, -1).every(({ done }) => !done)).toBe(true);
    expect(parts.at(-1)).toMatchObject({ done: true, done_reason: "length", eval_count: 12, message: { content: "" } });
    const answer = await server.post("/api/chat", { model, messages, options });
    expect(answer.headers["content-type"]).toBe("application/x-ndjson");
  });

  it("generates from a prompt, as a chat and raw", async () => {
    const prompt = "Name three fruits.";
    const asChat = await client.generate({ model, prompt, system: "Be brief.", options });
    const turns = [{ role: "system", content: "Be brief." }, ...messages];
    expect(asChat.response).toBe(await chatText({ messages: turns }));
    const raw = await collected(
      await client.generate({ model: "toast-tiny", prompt: "Once upon", raw: true, options, stream: true }),
    );
    const body = { model: "toast-tiny", prompt: "Once upon", temperature: 0, max_tokens: 12 };
    const { choices } = JSON.parse((await server.post("/v1/completions", body)).text) as {
      choices: { text: string }[];
    };
    expect(raw.map(({ response }) => response).join("")).toBe(choices[0]?.text);
  });

  it.each([
    ["seed and temperature", { seed: 7, temperature: 1 }, { seed: 7, temperature: 1 }],
    [
      "top_k and top_p",
      { seed: 7, temperature: 1.5, top_k: 3, top_p: 0.5 },
      { seed: 7, temperature: 1.5, top_k: 3, top_p: 0.5 },
    ],
    [
      "min_p and penalties",
      { temperature: 0, min_p: 0.1, repeat_penalty: 1.5 },
      { min_p: 0.1, repetition_penalty: 1.5 },
    ],
    ["stop", { temperature: 0, num_predict: 40, stop: ["a"] }, { max_tokens: 40, stop: ["a"] }],
  ])("has its options honoured: %s", async (_, theirs, ours) => {
    const answer = await client.chat({ model, messages, options: { num_predict: 12, ...theirs } });
    expect(answer.message.content).toBe(await chatText(ours));
  });

  it("is steered by the name of a model, and by our field", async () => {
    const body = {
      model: "toast-tiny",
      messages,
      options,
      stream: false,
      steering: { adapter: "stories", strength: 0.5 },
    };
    const answer = JSON.parse((await server.post("/api/chat", body)).text) as {
      message: { content: string };
      steering: object;
    };
    expect(answer.steering).toMatchObject({ adapter: "stories", strength: 0.5 });
    expect(answer.message.content).toBe(await chatText({ model: "toast-tiny", steering: body.steering }));
  });

  it("gets JSON, of a schema or any", async () => {
    const schema = {
      type: "object",
      properties: { fruit: { type: "string", maxLength: 8 }, count: { type: "integer", maximum: 9, minimum: 0 } },
      required: ["fruit", "count"],
      additionalProperties: false,
    };
    const keeps = await client.chat({ model, messages, format: schema, options: { temperature: 0, num_predict: 60 } });
    const value = JSON.parse(keeps.message.content) as object;
    expect(Object.keys(value)).toEqual(["fruit", "count"]);
    const any = await client.generate({
      model,
      prompt: "A fruit.",
      format: "json",
      options: { temperature: 0, num_predict: 1 },
    });
    expect(any.response?.trim()[0]).toBe("{");
  });

  const weather: Tool = {
    type: "function",
    function: {
      name: "weather",
      description: "The weather of a city.",
      parameters: { type: "object", properties: { city: { type: "string", enum: ["Oslo"] } }, required: ["city"] },
    },
  };

  it("calls tools, and tells their results", async () => {
    const calling = new ScriptedEngine();
    calling.script = {
      texts: ['Sure. <tool_call>{"name": "wea', 'ther", "arguments": {"city": "Os', 'lo"}}</tool_call>'],
    };
    const scripted = await startTestServer([calling]);
    try {
      const other = new Ollama({ host: scripted.url, fetch: scripted.fetch });
      const ask = { model: "tiny", messages, tools: [weather] };
      const calls = [{ function: { name: "weather", arguments: { city: "Oslo" } } }];
      const answer = await other.chat(ask);
      expect(answer.message).toMatchObject({ tool_calls: calls });
      const parts: ChatResponse[] = await collected(await other.chat({ ...ask, stream: true }));
      expect(parts.flatMap(({ message }) => message.tool_calls ?? [])).toEqual(calls);
      expect(parts.map(({ message }) => message.content).join("")).toBe(answer.message.content);
      const turns = [
        ...messages,
        { role: "assistant", content: "", tool_calls: [...calls, ...calls] },
        { role: "tool", content: "rain", tool_name: "weather" },
        { role: "tool", content: "snow" },
      ];
      await other.chat({ ...ask, messages: turns });
      const { prompt } = calling.requests.at(-1) ?? {};
      expect(prompt?.kind === "chat" ? prompt.messages.slice(1) : []).toMatchObject([
        { toolCalls: [{ id: "call_0", name: "weather", arguments: '{"city":"Oslo"}' }, { id: "call_1" }] },
        { role: "tool", content: "rain", toolCallId: "call_0" },
        { role: "tool", content: "snow", toolCallId: "call_1" },
      ]);
      const orphan = { ...ask, messages: [...messages, { role: "tool", content: "rain", tool_name: "weather" }] };
      await expect(other.chat(orphan)).rejects.toThrow("result of no call");
      expect(scripted.departures).toEqual([]);
    } finally {
      await scripted.shutdown(0);
    }
  });

  it("lists models, shows one, and knows what runs and which version", async () => {
    const { models } = await client.list();
    expect(models.map(({ name }) => name)).toEqual(["toast-tiny", "toast-tiny:alpaca", "toast-tiny:stories"]);
    expect(models[1]?.details).toMatchObject({
      parent_model: "toast-tiny",
      family: "llama",
      quantization_level: "int8",
    });
    expect(new Set(models.map(({ digest }) => digest)).size).toBe(3);
    expect((await client.ps()).models.map(({ name }) => name)).toEqual(models.map(({ name }) => name));
    const shown = await client.show({ model });
    expect(shown.model_info).toMatchObject({ "llama.context_length": 1024, "llama.block_count": 6 });
    expect(shown.capabilities).toEqual(["completion", "tools", "embedding"]);
    expect(shown.parameters).toContain("repeat_penalty 1.15");
    expect(shown.template).toContain("{%");
    expect((await client.version()).version).toMatch(/^\d+\.\d+\.\d+/);
  });

  it("embeds one text and several, as /v1/embeddings does", async () => {
    const { embeddings, prompt_eval_count } = await client.embed({ model, input: ["A cat.", "A dog."] });
    const list = JSON.parse((await server.post("/v1/embeddings", { model, input: ["A cat.", "A dog."] })).text) as {
      data: { embedding: number[] }[];
      usage: { prompt_tokens: number };
    };
    for (const [at, vector] of embeddings.entries()) {
      const theirs = list.data[at]?.embedding ?? [];
      expect(vector).toHaveLength(theirs.length);
      for (const [index, value] of vector.entries()) expect(value).toBeCloseTo(theirs[index] ?? Number.NaN, 6);
    }
    expect(prompt_eval_count).toBe(list.usage.prompt_tokens);
    expect((await client.embed({ model, input: "A cat." })).embeddings).toEqual([embeddings[0]]);
    expect((await client.embeddings({ model, prompt: "A cat." })).embedding).toEqual(embeddings[0]);
  });

  it("finds a model by the tag that its tools write behind every name", async () => {
    expect((await client.show({ model: "toast-tiny:latest" })).model_info).toMatchObject({
      "general.basename": "toast-tiny",
    });
  });

  it("is told that a served model is there, and that no other one is fetched", async () => {
    expect(await client.pull({ model })).toEqual({ status: "success" });
    await expect(client.pull({ model: "llama3" })).rejects.toMatchObject({
      status_code: 404,
      error: expect.stringContaining("llama3") as string,
    });
    await expect(client.push({ model })).rejects.toMatchObject({ status_code: 400 });
    await expect(client.create({ model: "mine", from: model })).rejects.toMatchObject({ status_code: 400 });
    await expect(client.copy({ source: model, destination: "mine" })).rejects.toMatchObject({ status_code: 400 });
    await expect(client.delete({ model })).rejects.toMatchObject({
      status_code: 400,
      error: expect.stringContaining("toast-serve pull") as string,
    });
  });

  it("stops the work when it hangs up", async () => {
    const stream = await client.chat({ model, messages, options: { num_predict: 500, temperature: 1 }, stream: true });
    await stream[Symbol.asyncIterator]().next();
    expect(server.running.count).toBe(1);
    stream.abort();
    await expect.poll(() => server.running.count).toBe(0);
  });
});

describe("what Ollama's clients ask for in vain", () => {
  it.each([
    [{ messages: [{ role: "user", content: "Hi", images: ["aGk="] }] }, "Images are not supported"],
    [{ think: true }, "thinks"],
    [{ options: { mirostat: 1 } }, "Mirostat"],
    [{ options: { repeat_last_n: 64 } }, "repeat_last_n"],
    [{ options: { num_ctx: 8192 } }, "'num_ctx' asks for 8192 tokens; the context of 'toast-tiny' has 1024"],
    [{ options: { temperature: "hot" } }, "'options.temperature' must be"],
    [{ logprobs: true }, "'logprobs'"],
    [{ messages: [] }, "at least one message"],
    [{ format: "xml" }, "'format'"],
  ])("%j is refused by name", async (fields, says) => {
    const answer = await server.post("/api/chat", { model, messages, ...fields });
    expect(answer.status).toBe(400);
    const { error } = JSON.parse(answer.text) as { error: string };
    expect(error).toContain(says);
  });

  it.each(["suffix", "template"])("'%s' of a prompt is refused, but for an empty one", async (field) => {
    const body = { model, prompt: "Hi", options, stream: false };
    expect((await server.post("/api/generate", { ...body, [field]: "" })).status).toBe(200);
    expect((await server.post("/api/generate", { ...body, [field]: "x" })).status).toBe(400);
  });

  it("unknown models, unknown routes and bad JSON have errors that it reads", async () => {
    await expect(client.chat({ model: "llama3", messages })).rejects.toMatchObject({ status_code: 404 });
    for (const [path, status] of [
      ["/api/blobs/x", 404],
      ["/api/chat", 405],
    ] as const) {
      const answer = await server.exchange(path);
      expect([path, answer.status]).toEqual([path, status]);
      expect(typeof (JSON.parse(answer.text) as { error: unknown }).error).toBe("string");
    }
    expect(JSON.parse((await server.post("/api/chat", "{")).text)).toEqual({ error: expect.any(String) as string });
  });

  it("a failure in mid-stream is a line of its own", async () => {
    const broken = new ScriptedEngine(scriptedModel);
    broken.script = {
      texts: ["one ", "two "],
      failure: { at: 1, error: new ToastError("engine_stopped", "The engine stopped.") },
    };
    const scripted = await startTestServer([broken]);
    try {
      const other = new Ollama({ host: scripted.url, fetch: scripted.fetch });
      const stream = await other.chat({ model: "tiny", messages, stream: true });
      await expect(collected(stream)).rejects.toThrow("The engine stopped.");
      expect(scripted.departures).toEqual([]);
    } finally {
      await scripted.shutdown(0);
    }
  });
});
