import Anthropic from "@anthropic-ai/sdk";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { EngineClient } from "../../src/engine/thread/engine-client.js";
import { ScriptedEngine, scriptedModel } from "../server/scripted-engine.js";
import { openToastTiny } from "../support/toast-tiny.js";
import { type Exchange, startTestServer, type TestServer } from "./start-test-server.js";

let engine: EngineClient;
let server: TestServer;
let client: Anthropic;

beforeAll(async () => {
  engine = await openToastTiny();
  server = await startTestServer([engine]);
  client = new Anthropic({ baseURL: server.url, apiKey: "none", maxRetries: 0, fetch: server.fetch });
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

type Params = Anthropic.MessageCreateParamsNonStreaming;

/** Greedy, which the client's newest types have no field for. */
const greedy = { temperature: 0 };
const question: Params = {
  ...greedy,
  model: "toast-tiny:alpaca",
  max_tokens: 12,
  messages: [{ role: "user", content: "Name three fruits." }],
};
const weather: Anthropic.Tool = {
  name: "weather",
  description: "The weather of a city.",
  input_schema: {
    type: "object",
    properties: { city: { type: "string", maxLength: 12 }, unit: { enum: ["C", "F"] } },
    required: ["city", "unit"],
    additionalProperties: false,
  },
};
const now: Anthropic.Tool = { name: "now", input_schema: { type: "object", properties: {} } };

function textOf({ content }: Anthropic.Message): string {
  return content.map((block) => (block.type === "text" ? block.text : "")).join("");
}

/** What chat completions say to the same. */
async function chatText(fields: object): Promise<string> {
  const body = { model: "toast-tiny:alpaca", ...greedy, max_tokens: 12, ...fields };
  const { choices } = JSON.parse((await server.chat(body)).text) as { choices: { message: { content: string } }[] };
  return choices[0]?.message.content ?? "";
}

function errorOf({ text }: Exchange) {
  return JSON.parse(text) as {
    type: string;
    error: { type: string; message: string; details: { error_code: string; param: string | null } };
    request_id: string;
  };
}

describe("the official Anthropic client", () => {
  it("gets the text that a chat completion has, with its usage", async () => {
    const message = await client.messages.create({ ...question, system: "Be brief." });
    const messages = [{ role: "system", content: "Be brief." }, ...question.messages];
    expect(textOf(message)).toBe(await chatText({ messages }));
    expect(message).toMatchObject({
      type: "message",
      role: "assistant",
      model: "toast-tiny:alpaca",
      stop_reason: "max_tokens",
      stop_sequence: null,
      usage: { output_tokens: 12, cache_creation_input_tokens: 0 },
    });
    expect(message.id).toMatch(/^msg_/);
    expect(message._request_id).toMatch(/^req_/);
  });

  it("streams the same message in typed events", async () => {
    const whole = await client.messages.create(question);
    const stream = client.messages.stream(question);
    const types: string[] = [];
    stream.on("streamEvent", ({ type }) => void types.push(type));
    const final = await stream.finalMessage();
    expect(textOf(final)).toBe(textOf(whole));
    expect(final.stop_reason).toBe(whole.stop_reason);
    expect(final.usage.output_tokens).toBe(whole.usage.output_tokens);
    expect(types[0]).toBe("message_start");
    expect(types[1]).toBe("content_block_start");
    expect(types.slice(2, -3).every((type) => type === "content_block_delta")).toBe(true);
    expect(types.slice(2, -3).length).toBeGreaterThan(3);
    expect(types.slice(-3)).toEqual(["content_block_stop", "message_delta", "message_stop"]);
  });

  it("is told what the prefix cache had, of a prompt counted once", async () => {
    const long = { ...question, system: "You know all about fruits. ".repeat(60), max_tokens: 2 };
    const { input_tokens: all } = await client.messages.countTokens(long);
    await client.messages.create(long);
    const { usage } = await client.messages.create(long);
    expect(usage.cache_read_input_tokens).toBeGreaterThan(100);
    expect(usage.input_tokens + (usage.cache_read_input_tokens ?? 0)).toBe(all);
    const streamed = await client.messages.stream(long).finalMessage();
    expect(streamed.usage).toMatchObject({
      input_tokens: usage.input_tokens,
      cache_read_input_tokens: usage.cache_read_input_tokens,
    });
  });

  it("learns which sequence ended the text, which does not hold it", async () => {
    const whole = textOf(await client.messages.create(question));
    const [stop = ""] = /\S{2}(?=.{4,9}$)/s.exec(whole) ?? [];
    const at = whole.indexOf(stop);
    const stopped = { ...question, stop_sequences: ["§§", stop, `${stop}never`] };
    const message = await client.messages.create(stopped);
    expect(textOf(message)).toBe(whole.slice(0, at));
    expect(message).toMatchObject({ stop_reason: "stop_sequence", stop_sequence: stop });
    const streamed = await client.messages.stream(stopped).finalMessage();
    expect(textOf(streamed)).toBe(whole.slice(0, at));
    expect(streamed).toMatchObject({ stop_reason: "stop_sequence", stop_sequence: stop });
    const none = await client.messages.create({ ...question, stop_sequences: ["§§"] });
    expect([textOf(none), none.stop_reason]).toEqual([whole, "max_tokens"]);
  });

  it("goes on with an answer that it has begun", async () => {
    const begun = [...question.messages, { role: "assistant" as const, content: "1. App" }];
    const message = await client.messages.create({ ...question, messages: begun });
    expect(textOf(message)).toBe(await chatText({ messages: begun, continue_final_message: true }));
  });

  it("samples by top_k", async () => {
    const hot = { ...question, temperature: 2, top_k: 1 };
    expect(textOf(await client.messages.create(hot))).toBe(textOf(await client.messages.create(question)));
  });

  it("steers by the model's id and by the field", async () => {
    const steering = { adapter: "alpaca", strength: 0.5, explain: true };
    const body = { ...question, model: "toast-tiny", steering };
    const message = await client.messages.create(body);
    expect(message).toMatchObject({ steering: { adapter: "alpaca", strength: 0.5 } });
    expect(textOf(message)).toBe(await chatText({ model: "toast-tiny", messages: question.messages, steering }));
    const [block] = message.content as unknown as { text: string; explanation: { tokens: { text: string }[] } }[];
    expect(block?.explanation.tokens.map(({ text }) => text).join("")).toBe(block?.text);
    const plain = await client.messages.create({ ...question, ...{ steering: { strength: 0 } } });
    expect(textOf(plain)).toBe(await chatText({ model: "toast-tiny", messages: question.messages }));
  });

  it("counts what a message's prompt has", async () => {
    const body = { ...question, system: "Be brief.", tools: [weather] };
    const { input_tokens } = await client.messages.countTokens(body);
    const { usage } = await client.messages.create({ ...body, max_tokens: 1 });
    expect(usage.input_tokens + (usage.cache_read_input_tokens ?? 0)).toBe(input_tokens);
  });

  it("aborts a stream, and the engine stops working for it", async () => {
    const stream = client.messages.stream({ ...question, max_tokens: 400, ...{ ignore_eos: true } });
    await expect(async () => {
      for await (const { type } of stream) if (type === "content_block_delta") stream.abort();
    }).rejects.toBeInstanceOf(Anthropic.APIUserAbortError);
    await expect.poll(() => engine.inspect()).toMatchObject({ running: 0, lanesInUse: 0 });
  });

  it("throws its own errors, with the field at fault", async () => {
    const missing = client.messages.create({ ...question, model: "claude" });
    await expect(missing).rejects.toBeInstanceOf(Anthropic.NotFoundError);
    await expect(missing).rejects.toMatchObject({ type: "not_found_error", errorCode: "model_not_found" });
    const bad = client.messages.create({ ...question, ...{ temperature: 9 } });
    await expect(bad).rejects.toBeInstanceOf(Anthropic.BadRequestError);
    await expect(bad).rejects.toMatchObject({ type: "invalid_request_error", details: { param: "temperature" } });
    await expect(bad).rejects.toMatchObject({ requestID: expect.stringMatching(/^req_/) });
    const streamed = client.messages.create({ ...question, stream: true, messages: [] });
    await expect(streamed).rejects.toMatchObject({ status: 400, details: { param: "messages" } });
    const long = client.messages.create({ ...question, messages: [{ role: "user", content: "word ".repeat(5000) }] });
    await expect(long).rejects.toMatchObject({ errorCode: "context_length_exceeded", details: { param: "messages" } });
  });

  it("calls tools and sends their results back, streamed and not", async () => {
    const asked: Params = {
      ...question,
      max_tokens: 120,
      tools: [weather, now],
      tool_choice: { type: "tool", name: "weather" },
    };
    const message = await client.messages.create(asked);
    expect(message.stop_reason).toBe("tool_use");
    const calls = message.content.filter((block) => block.type === "tool_use");
    expect(calls).toHaveLength(1);
    const [call] = calls;
    expect(call?.id).toMatch(/^toolu_/);
    expect(call?.input).toEqual({ city: expect.any(String), unit: expect.stringMatching(/^[CF]$/) });
    const streamed = await client.messages.stream(asked).finalMessage();
    expect(streamed.stop_reason).toBe("tool_use");
    expect(streamed.content.map((block) => block.type === "tool_use" && [block.name, block.input])).toEqual([
      ["weather", call?.input],
    ]);
    const result = { type: "tool_result" as const, tool_use_id: call?.id ?? "" };
    const history = (fields: object): Params["messages"] => [
      ...question.messages,
      { role: "assistant", content: message.content },
      {
        role: "user",
        content: [
          { ...result, ...fields },
          { type: "text", text: "So?" },
        ],
      },
    ];
    const next = { ...question, tools: [weather, now], tool_choice: { type: "none" } as const };
    const answer = await client.messages.create({ ...next, messages: history({ content: "12 degrees" }) });
    const call_ = { id: call?.id, type: "function" };
    const own = (content: string) => [
      ...question.messages,
      {
        role: "assistant",
        content: null,
        tool_calls: [{ ...call_, function: { name: "weather", arguments: JSON.stringify(call?.input) } }],
      },
      { role: "tool", tool_call_id: call?.id, content },
      { role: "user", content: "So?" },
    ];
    expect(textOf(answer)).toBe(await chatText({ messages: own("12 degrees") }));
    const failed = await client.messages.create({
      ...next,
      messages: history({ is_error: true, content: [{ type: "text", text: "no such city" }] }),
    });
    expect(textOf(failed)).toBe(await chatText({ messages: own("Error: no such city") }));
  });

  it("must call with `any`, once where calls may not be parallel", async () => {
    const tool_choice = { type: "any", disable_parallel_tool_use: true } as const;
    const message = await client.messages.create({ ...question, max_tokens: 120, tools: [weather, now], tool_choice });
    expect(message.content.map(({ type }) => type)).toEqual(["tool_use"]);
    expect(message.stop_reason).toBe("tool_use");
  });

  it("has a call that the length cuts as far as it came", async () => {
    const tool_choice = { type: "tool", name: "weather" } as const;
    const asked = { ...question, max_tokens: 120, tools: [weather], tool_choice };
    const { usage } = await client.messages.create(asked);
    // Into the arguments, in front of their end and of the markup's.
    const cut = { ...asked, max_tokens: usage.output_tokens - 12 };
    const message = await client.messages.create(cut);
    expect(message.stop_reason).toBe("max_tokens");
    expect(message.content).toMatchObject([{ type: "tool_use", name: "weather", input: expect.any(Object) }]);
    const { stop_reason, content } = await client.messages.stream(cut).finalMessage();
    expect([stop_reason, content[0]?.type]).toEqual(["max_tokens", "tool_use"]);
  });

  it("keeps to a schema", async () => {
    const schema = {
      type: "object",
      properties: { n: { enum: [1, 2] } },
      required: ["n"],
      additionalProperties: false,
    };
    const output_config = { format: { type: "json_schema" as const, schema } };
    const message = await client.messages.create({ ...question, max_tokens: 40, output_config });
    expect([1, 2]).toContain((JSON.parse(textOf(message)) as { n: number }).n);
  });

  it("with more tokens allowed than the context has is told when that is full", async () => {
    const { contextLength } = (engine.phase as { model: { contextLength: number } }).model;
    const body = { ...question, max_tokens: 32_000, ...{ ignore_eos: true } };
    const long = { ...body, messages: [{ role: "user" as const, content: "word ".repeat(contextLength - 60) }] };
    const message = await client.messages.stream(long).finalMessage();
    expect(message.stop_reason).toBe("model_context_window_exceeded");
    expect(message.usage.output_tokens).toBeLessThan(60);
  });
});

describe("what agents send", () => {
  const cached = { cache_control: { type: "ephemeral" as const } };
  const agent = {
    ...question,
    system: [
      { type: "text" as const, text: "You are an agent." },
      { type: "text" as const, text: "Be brief.", ...cached },
    ],
    messages: [{ role: "user" as const, content: [{ type: "text" as const, text: "Name three fruits.", ...cached }] }],
    tools: [{ ...now, ...cached }],
    metadata: { user_id: "user_1_session_2" },
    thinking: { type: "disabled" as const },
  };

  it("is answered: blocks with hints for a cache, metadata, betas", async () => {
    const plain = { ...question, system: "You are an agent.\nBe brief.", tools: [now] };
    const whole = textOf(await client.messages.create(plain));
    expect(textOf(await client.messages.create(agent))).toBe(whole);
    const beta = await client.beta.messages.create({
      ...agent,
      betas: ["interleaved-thinking-2025-05-14", "context-management-2025-06-27"],
      context_management: { edits: [{ type: "clear_thinking_20251015", keep: "all" }] },
      thinking: { type: "adaptive" },
    });
    expect(beta.content.map((block) => (block.type === "text" ? block.text : "")).join("")).toBe(whole);
  });

  it("is answered when thoughts of another model stand in the history", async () => {
    const turns = (content: object[]) => ({
      ...question,
      messages: [
        ...question.messages,
        { role: "assistant", content },
        { role: "user", content: "More." },
      ] as Params["messages"],
    });
    const said = { type: "text", text: "Apples." };
    const thought = { type: "thinking", thinking: "Hm.", signature: "x" };
    const plain = await client.messages.create(turns([said]));
    expect(textOf(await client.messages.create(turns([thought, said])))).toBe(textOf(plain));
  });

  it.each([
    ["thinking.type", { thinking: { type: "enabled", budget_tokens: 1024 } }],
    ["tools[0].type", { tools: [{ type: "web_search_20250305", name: "web_search" }] }],
    ["tools[0].defer_loading", { tools: [{ ...now, defer_loading: true }] }],
    ["mcp_servers", { mcp_servers: [{ type: "url", name: "x", url: "https://example.com" }] }],
    ["container", { container: "c" }],
    ["speed", { speed: "fast" }],
    ["context_management.edits[0].type", { context_management: { edits: [{ type: "clear_tool_uses_20250919" }] } }],
    ["stop", { stop: ["x"] }],
    [
      "messages[0].content[1].type",
      {
        messages: [
          {
            role: "user",
            content: [
              { type: "text", text: "What is this?" },
              { type: "image", source: { type: "base64", media_type: "image/png", data: "AAAA" } },
            ],
          },
        ],
      },
    ],
    [
      "messages[2].content[0].content[0].type",
      {
        messages: [
          { role: "user", content: "Look." },
          { role: "assistant", content: [{ type: "tool_use", id: "toolu_1", name: "now", input: {} }] },
          { role: "user", content: [{ type: "tool_result", tool_use_id: "toolu_1", content: [{ type: "image" }] }] },
        ],
      },
    ],
  ])("%s is refused by name", async (param, fields) => {
    const refused = await server.post("/v1/messages", { ...question, ...fields });
    expect([refused.status, errorOf(refused).error.details]).toEqual([
      400,
      { error_code: "unsupported_parameter", param },
    ]);
  });

  it.each([
    ["messages[0].role", { messages: [{ role: "tool", content: "x" }] }],
    ["messages[0].content", { messages: [{ role: "user", content: 3 }] }],
    ["messages[0].content[0].text", { messages: [{ role: "user", content: [{ type: "text" }] }] }],
    [
      "messages[0].content[0].tool_use_id",
      { messages: [{ role: "user", content: [{ type: "tool_result", tool_use_id: "toolu_9", content: "x" }] }] },
    ],
    [
      "messages",
      { messages: [{ role: "assistant", content: [{ type: "tool_use", id: "a", name: "now", input: {} }] }] },
    ],
    ["tool_choice", { tool_choice: { type: "any" } }],
    ["tool_choice", { tools: [now], tool_choice: { type: "tool", name: "other" } }],
    ["tools[0].input_schema", { tools: [{ name: "now", input_schema: [] }] }],
    ["steering.adapter", { steering: { adapter: "nobody" } }],
    ["stop_sequences[0]", { stop_sequences: [""] }],
  ])("%s that is wrong is told by name", async (param, fields) => {
    const refused = await server.post("/v1/messages", { ...question, ...fields });
    expect([refused.status, errorOf(refused).error.details]).toEqual([400, { error_code: "invalid_request", param }]);
  });
});

describe("errors on Anthropic's routes", () => {
  it("have Anthropic's shape, before a route is found, too", async () => {
    const wrong = await server.post("/v1/messages", "{");
    expect([wrong.status, errorOf(wrong).type, errorOf(wrong).error.type]).toEqual([
      400,
      "error",
      "invalid_request_error",
    ]);
    expect(errorOf(wrong).request_id).toBe(wrong.headers["request-id"]);
    const unknown = await server.post("/v1/messages/batches", {});
    expect([unknown.status, errorOf(unknown).error.type]).toEqual([404, "not_found_error"]);
    const read = await server.exchange("/v1/messages");
    expect([read.status, errorOf(read).error.type]).toEqual([405, "invalid_request_error"]);
    const other = JSON.parse((await server.post("/v1/messagesx", {})).text) as { error: { code: string } };
    expect(other.error.code).toBe("route_not_found");
  });

  it("tell of missing keys; a key may come as x-api-key or as a bearer's", async () => {
    const keyed = await startTestServer([engine], { edge: { keys: { userKeys: ["sk-toast-secret-secret-1"] } } });
    const post = (headers: Record<string, string>) =>
      keyed.post("/v1/messages", { ...question, max_tokens: 1 }, { headers });
    const refused = await post({});
    expect([refused.status, errorOf(refused).error.type]).toEqual([401, "authentication_error"]);
    expect(refused.headers["request-id"]).toBe(errorOf(refused).request_id);
    expect((await post({ "x-api-key": "sk-toast-secret-secret-1", "anthropic-version": "2023-06-01" })).status).toBe(
      200,
    );
    expect((await post({ authorization: "Bearer sk-toast-secret-secret-1" })).status).toBe(200);
    const wrong = new Anthropic({ baseURL: keyed.url, apiKey: "wrong", maxRetries: 0 }).messages.create(question);
    await expect(wrong).rejects.toBeInstanceOf(Anthropic.AuthenticationError);
    await keyed.shutdown(0);
  });

  it("break a stream off as an event", async () => {
    const slow = new ScriptedEngine();
    slow.script = { texts: Array(1_000).fill("word "), delayMs: 20 };
    const impatient = await startTestServer([slow], { requestTimeoutMs: 100 });
    const other = new Anthropic({ baseURL: impatient.url, apiKey: "none", maxRetries: 0 });
    const stream = other.messages.stream({ ...question, model: scriptedModel.id });
    const failure = await stream.finalMessage().then(
      () => null,
      (error: unknown) => error,
    );
    expect(failure).toMatchObject({ type: "timeout_error", errorCode: "request_timeout" });
    await impatient.shutdown(0);
  });
});
