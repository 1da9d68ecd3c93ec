import { Ajv2020 } from "ajv/dist/2020.js";
import OpenAI from "openai";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { EngineClient } from "../../src/engine/thread/engine-client.js";
import { openToastTiny } from "../support/toast-tiny.js";
import { errorOf, startTestServer, type TestServer } from "./start-test-server.js";

let engine: EngineClient;
let server: TestServer;
let openai: OpenAI;
beforeAll(async () => {
  engine = await openToastTiny();
  server = await startTestServer([engine]);
  // Holds requests, answers and events against the server's own description.
  openai = new OpenAI({ apiKey: "none", baseURL: `${server.url}/v1`, fetch: server.fetch, maxRetries: 0 });
});
afterEach(() => expect(server.departures).toEqual([]));
afterAll(async () => {
  await server.shutdown(0);
  await engine.close();
});

const parameters = {
  type: "object",
  properties: { city: { type: "string", maxLength: 12 }, unit: { enum: ["°C", "°F"] } },
  required: ["city", "unit"],
  additionalProperties: false,
};
const isWeather = new Ajv2020().compile(parameters);
const tools: OpenAI.Responses.FunctionTool[] = [
  { type: "function", name: "weather", description: "Tells the weather.", parameters, strict: true },
  { type: "function", name: "now", parameters: null, strict: null },
];
const question = { role: "user" as const, content: "How is the weather in Oslo?" };
type Request = OpenAI.Responses.ResponseCreateParamsNonStreaming & { seed: number };
const ask: Request = { model: "toast-tiny:alpaca", input: [question], tools, max_output_tokens: 120, seed: 1 };

const callsOf = ({ output }: { output: readonly OpenAI.Responses.ResponseOutputItem[] }) =>
  output.filter((item) => item.type === "function_call");

/** What is the same whenever it is asked for. */
const lasting = (output: readonly object[]) => output.map((item) => ({ ...item, id: "", call_id: "" }));

/** A streamed answer's events, and its items put together from them alone. */
async function streamed(request: Request) {
  const events: OpenAI.Responses.ResponseStreamEvent[] = [];
  for await (const event of await openai.responses.create({ ...request, stream: true })) events.push(event);
  expect(events.map(({ sequence_number }) => sequence_number)).toEqual(events.map((_, at) => at));
  const items: { id: string; words: string; isDone: boolean }[] = [];
  for (const event of events) {
    switch (event.type) {
      case "response.output_item.added":
        expect(event.output_index).toBe(items.length);
        expect(items.every(({ isDone }) => isDone)).toBe(true);
        items.push({ id: event.item.id ?? "", words: "", isDone: false });
        break;
      case "response.output_text.delta":
      case "response.function_call_arguments.delta": {
        const item = items[event.output_index];
        if (item === undefined) throw new Error("a delta of an item that was not added");
        expect([item.id, item.isDone]).toEqual([event.item_id, false]);
        item.words += event.delta;
        break;
      }
      case "response.function_call_arguments.done":
        expect(event.arguments).toBe(items[event.output_index]?.words);
        break;
      case "response.output_item.done": {
        const item = items[event.output_index];
        if (item === undefined) throw new Error("the end of an item that was not added");
        item.isDone = true;
        if (event.item.type === "function_call") expect(event.item.arguments).toBe(item.words);
      }
    }
  }
  const last = events.at(-1);
  if (last?.type !== "response.completed" && last?.type !== "response.incomplete") throw new Error("broken off");
  expect(last.response.output.map(({ id }) => id)).toEqual(items.map(({ id }) => id));
  return { events, response: last.response };
}

describe("tools of POST /v1/responses", () => {
  it("are called when required, with valid arguments, the same streamed and not", async () => {
    const request: Request = { ...ask, tool_choice: "required" };
    const whole = await openai.responses.create(request);
    expect(whole).toMatchObject({ tool_choice: "required", parallel_tool_calls: true, tools });
    const calls = callsOf(whole);
    expect(calls.length).toBeGreaterThan(0);
    expect(calls).toHaveLength(whole.output.length);
    for (const { id, call_id, name, arguments: words, status } of calls) {
      expect(id).toMatch(/^fc_/);
      expect(call_id).toMatch(/^call_/);
      if (status !== "completed") continue;
      if (name === "weather") expect(isWeather(JSON.parse(words))).toBe(true);
      else expect([name, JSON.parse(words)]).toEqual(["now", {}]);
    }
    expect(lasting((await streamed(request)).response.output)).toEqual(lasting(whole.output));
  });

  it("are called by name, once, and stream their arguments", async () => {
    const request: Request = { ...ask, tool_choice: { type: "function", name: "weather" } };
    const whole = await openai.responses.create(request);
    expect(whole.output).toMatchObject([{ type: "function_call", name: "weather", status: "completed" }]);
    expect(whole.status).toBe("completed");
    const { events, response } = await streamed(request);
    expect(lasting(response.output)).toEqual(lasting(whole.output));
    const types = events.map(({ type }) => type);
    expect(types.filter((type, at) => type !== types[at - 1])).toEqual([
      "response.created",
      "response.in_progress",
      "response.output_item.added",
      "response.function_call_arguments.delta",
      "response.function_call_arguments.done",
      "response.output_item.done",
      "response.completed",
    ]);
    expect(types.filter((type) => type === "response.function_call_arguments.delta").length).toBeGreaterThan(3);
  });

  it("leave the text free under auto, and are not offered under none", async () => {
    const auto = await openai.responses.create({ ...ask, max_output_tokens: 30 });
    expect(auto.tool_choice).toBe("auto");
    expect(auto.output.map(({ type }) => type)).toEqual(["message"]);
    const none: Request = { ...ask, tool_choice: "none", max_output_tokens: 30 };
    const { tools: _, tool_choice: __, ...bare } = none;
    expect((await openai.responses.create(none)).output_text).toBe((await openai.responses.create(bare)).output_text);
  });

  it("are cut where the length says so: an incomplete call in an incomplete response", async () => {
    const forced: Request = { ...ask, tool_choice: { type: "function", name: "weather" } };
    const complete = await openai.responses.create(forced);
    expect(complete.status).toBe("completed");
    // Where the name ends depends on the model; a dozen tokens before the end it is known, and the arguments still are being written.
    const request: Request = { ...forced, max_output_tokens: (complete.usage?.output_tokens ?? 0) - 12 };
    const whole = await openai.responses.create(request);
    expect(whole).toMatchObject({ status: "incomplete", output: [{ type: "function_call", status: "incomplete" }] });
    expect(lasting((await streamed(request)).response.output)).toEqual(lasting(whole.output));
  });

  it("explain the tokens of calls too, each with one item", async () => {
    const request = {
      ...ask,
      tool_choice: { type: "function" as const, name: "weather" },
      steering: { explain: true },
    };
    const whole = await openai.responses.create(request);
    const [call] = whole.output as unknown as { explanation: { tokens: { text: string }[] } }[];
    const text = call?.explanation.tokens.map((token) => token.text).join("") ?? "";
    expect(text).toMatch(/^<tool_call>.*<\/tool_call>$/s);
    expect(lasting((await streamed(request)).response.output)).toEqual(lasting(whole.output));
  });

  it("take their results back, as the chat has them", async () => {
    const [call] = callsOf(
      await openai.responses.create({ ...ask, tool_choice: { type: "function", name: "weather" } }),
    );
    if (call === undefined) throw new Error("nothing was called");
    const next = await openai.responses.create({
      ...ask,
      temperature: 0,
      max_output_tokens: 20,
      input: [question, call, { type: "function_call_output", call_id: call.call_id, output: '{"degrees": 12}' }],
    });
    const chat = await openai.chat.completions.create({
      model: ask.model as string,
      temperature: 0,
      max_tokens: 20,
      tools: tools.map(({ type, name, description, parameters }) => ({
        type,
        function: {
          name,
          ...(description == null ? {} : { description }),
          ...(parameters === null ? {} : { parameters }),
        },
      })),
      messages: [
        question,
        {
          role: "assistant",
          content: "",
          tool_calls: [
            { id: call.call_id, type: "function", function: { name: call.name, arguments: call.arguments } },
          ],
        },
        { role: "tool", tool_call_id: call.call_id, content: '{"degrees": 12}' },
      ],
    });
    expect(next.usage?.input_tokens).toBe(chat.usage?.prompt_tokens);
  });

  it.each([
    ["tools[0].type", { tools: [{ type: "web_search" }] }],
    ["tools[0].name", { tools: [{ type: "function", name: "a b" }] }],
    ["tools[0].parameters", { tools: [{ type: "function", name: "a", parameters: { type: "what" } }] }],
    ["tools", { tools: [tools[1], tools[1]] }],
    ["tool_choice", { tool_choice: { type: "function", name: "unknown" } }],
    ["tool_choice", { tool_choice: { type: "web_search" } }],
    ["tool_choice", { tools: [], tool_choice: "required" }],
    ["parallel_tool_calls", { parallel_tool_calls: "yes" }],
    ["input[1].call_id", { input: [question, { type: "function_call_output", call_id: "call_x", output: "1" }] }],
    ["input[0].name", { input: [{ type: "function_call", call_id: "call_x", arguments: "{}" }] }],
    ["input[0].type", { input: [{ type: "item_reference", id: "x" }] }],
  ])("are refused with the field at fault: %s", async (param, fields) => {
    const answer = await server.post("/v1/responses", { ...ask, ...fields });
    expect([answer.status, errorOf(answer).param]).toEqual([400, param]);
  });
});
