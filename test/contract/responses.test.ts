import { createParser } from "eventsource-parser";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { EngineClient } from "../../src/engine/thread/engine-client.js";
import { ToastError } from "../../src/errors.js";
import { ScriptedEngine, scriptedModel } from "../server/scripted-engine.js";
import { openTestModel } from "./open-test-model.js";
import { type Exchange, errorOf, startTestServer, type TestServer } from "./start-test-server.js";

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
  await expect.poll(() => server.running.count).toBe(0);
  await expect.poll(() => engine.inspect()).toMatchObject({ waiting: 0, running: 0, lanesInUse: 0, violations: [] });
  expect(server.departures).toEqual([]);
});
afterAll(async () => {
  await server.shutdown(0);
  await closeModel();
});

interface Part {
  readonly text: string;
  readonly logprobs: { readonly bytes: number[] }[];
}

interface Body {
  readonly status: string;
  readonly output: { readonly content: Part[] }[];
  readonly usage: { readonly input_tokens: number; readonly output_tokens: number };
  readonly incomplete_details: object | null;
}

const question = { model: "tiny:alpaca", input: "Tell me a story.", temperature: 0, max_output_tokens: 12 };
const ask = (body: object) => server.post("/v1/responses", body);
const bodyOf = ({ text }: Exchange) => JSON.parse(text) as Body;
const textOf = (body: Body) => body.output[0]?.content[0]?.text;

interface Event {
  readonly type: string;
  readonly sequence_number: number;
  readonly delta?: string;
  readonly response?: Body & { readonly error: { readonly message: string } | null };
}

function eventsOf(answer: Exchange): Event[] {
  const events: Event[] = [];
  createParser({
    onEvent({ event, data }) {
      const parsed = JSON.parse(data) as Event;
      expect(event).toBe(parsed.type);
      events.push(parsed);
    },
  }).feed(answer.text);
  return events;
}

describe("POST /v1/responses", () => {
  it("answers as chat completions do, with usage in its own shape", async () => {
    const chat = JSON.parse(
      (
        await server.chat({
          model: question.model,
          messages: [{ role: "user", content: question.input }],
          temperature: 0,
          max_tokens: 12,
        })
      ).text,
    ) as { choices: { message: { content: string } }[]; usage: { prompt_tokens: number; completion_tokens: number } };
    const body = bodyOf(await ask(question));
    expect(textOf(body)).toBe(chat.choices[0]?.message.content);
    expect(body.usage.input_tokens).toBe(chat.usage.prompt_tokens);
    expect(body.usage.output_tokens).toBe(chat.usage.completion_tokens);
  });

  it("reads items as it reads text, instructions as a system message, and its own answers back", async () => {
    const asItems = { ...question, input: [{ role: "user", content: [{ type: "input_text", text: question.input }] }] };
    expect(textOf(bodyOf(await ask(asItems)))).toBe(textOf(bodyOf(await ask(question))));
    const instructed = bodyOf(await ask({ ...question, instructions: "Be brief." }));
    const system = bodyOf(
      await ask({
        ...question,
        input: [
          { role: "developer", content: "Be brief." },
          { role: "user", content: question.input },
        ],
      }),
    );
    expect(textOf(instructed)).toBe(textOf(system));
    expect(instructed.usage.input_tokens).toBe(system.usage.input_tokens);
    const first = bodyOf(await ask(question));
    const next = await ask({
      ...question,
      input: [{ role: "user", content: question.input }, ...first.output, { role: "user", content: "Go on." }],
    });
    expect(next.status).toBe(200);
  });

  it("ends incomplete at max_output_tokens, else completed; says store: false and sends metadata back", async () => {
    const cut = bodyOf(await ask({ ...question, ignore_eos: true, metadata: { topic: "tales" } }));
    expect(cut).toMatchObject({
      status: "incomplete",
      incomplete_details: { reason: "max_output_tokens" },
      store: false,
      metadata: { topic: "tales" },
      steering: { adapter: "alpaca" },
    });
    const whole = textOf(cut) ?? "";
    const stopped = bodyOf(await ask({ ...question, ignore_eos: true, stop: whole.slice(4, 7) }));
    expect(stopped).toMatchObject({ status: "completed", incomplete_details: null });
  });

  it("streams typed events in order, numbered, and no [DONE]", async () => {
    const whole = bodyOf(await ask({ ...question, ignore_eos: true }));
    const answer = await ask({ ...question, ignore_eos: true, stream: true });
    const events = eventsOf(answer);
    expect(events.map(({ sequence_number }) => sequence_number)).toEqual(events.map((_, at) => at));
    const types = events.map(({ type }) => type);
    expect(types.filter((type, at) => type !== types[at - 1])).toEqual([
      "response.created",
      "response.in_progress",
      "response.output_item.added",
      "response.content_part.added",
      "response.output_text.delta",
      "response.output_text.done",
      "response.content_part.done",
      "response.output_item.done",
      "response.incomplete",
    ]);
    expect(events.map(({ delta }) => delta ?? "").join("")).toBe(textOf(whole));
    expect(textOf(events.at(-1)?.response as Body)).toBe(textOf(whole));
    expect(events.at(-1)?.response?.usage).toEqual(whole.usage);
    expect(answer.text).not.toContain("[DONE]");
  });

  it("streams the whole frame of an answer without text", async () => {
    scripted.script = { texts: [] };
    const types = eventsOf(await ask({ ...question, model: "scripted", stream: true })).map(({ type }) => type);
    expect(types).toHaveLength(8);
    expect(types.at(-1)).toBe("response.completed");
  });

  it("keeps to text.format, and tells it", async () => {
    const schema = { type: "object", properties: { ripe: { type: "boolean" } }, required: ["ripe"] };
    const format = { type: "json_schema", name: "fruit", schema: { ...schema, additionalProperties: false } };
    const answer = await ask({ ...question, max_output_tokens: 60, text: { format } });
    expect(JSON.parse(textOf(bodyOf(answer)) ?? "")).toEqual({ ripe: expect.any(Boolean) });
    expect(JSON.parse(answer.text)).toMatchObject({ text: { format } });
  });

  it("gives log probabilities when they are included", async () => {
    const asked = { ...question, include: ["message.output_text.logprobs"], top_logprobs: 2 };
    const body = bodyOf(await ask(asked));
    const part = body.output[0]?.content[0];
    expect(part?.logprobs.length).toBeGreaterThan(0);
    expect(Buffer.from(part?.logprobs.flatMap(({ bytes }) => bytes) ?? []).toString("utf8")).toBe(part?.text);
    const alone = await ask({ ...question, top_logprobs: 2 });
    expect([alone.status, errorOf(alone).param]).toEqual([400, "top_logprobs"]);
  });

  it("tells a failure before the first token by its status, and one half-way by response.failed", async () => {
    scripted.script = { failure: { at: 0, error: new ToastError("engine_failed", "The engine run failed.") } };
    const early = await ask({ ...question, model: "scripted", stream: true });
    expect([early.status, errorOf(early).code]).toEqual([500, "engine_failed"]);
    scripted.script = { failure: { at: 1, error: new ToastError("engine_failed", "The engine run failed.") } };
    const last = eventsOf(await ask({ ...question, model: "scripted", stream: true })).at(-1);
    expect(last?.type).toBe("response.failed");
    expect(last?.response).toMatchObject({
      status: "failed",
      error: { code: "server_error", message: "The engine run failed." },
    });
  });

  it.each([
    ["previous_response_id", "resp_1", "previous_response_id"],
    ["conversation", "conv_1", "conversation"],
    ["background", true, "background"],
    ["truncation", "middle", "truncation"],
    ["tools", [{ type: "web_search" }], "tools[0].type"],
    ["prompt", { id: "p" }, "prompt"],
    ["max_tokens", 4, "max_tokens"],
    ["input", [], "input"],
    ["input", [{ type: "item_reference", id: "x" }], "input[0].type"],
    ["input", [{ role: "user", content: [{ type: "input_image" }] }], "input[0].content[0]"],
    ["input", "word ".repeat(2000), "input"],
    ["include", ["everything"], "include[0]"],
    ["metadata", { a: 1 }, "metadata.a"],
    ["text", { format: { type: "yaml" } }, "text.format.type"],
    ["text", { format: { type: "json_schema", name: "x" } }, "text.format.schema"],
    ["text", { format: { type: "json_schema", name: "x", schema: { type: "colour" } } }, "text.format"],
    ["n", 2, "n"],
    ["steering", { strength: 9 }, "steering.strength"],
  ])("refuses %s: %j by name", async (field, value, param) => {
    const answer = await ask({ ...question, [field]: value });
    expect([answer.status, errorOf(answer).param]).toEqual([400, param]);
  });

  it("takes the forms that ask for nothing", async () => {
    const neutral = {
      store: true,
      previous_response_id: null,
      background: false,
      truncation: "auto",
      tools: [],
      tool_choice: "auto",
      parallel_tool_calls: true,
      reasoning: { effort: "high", summary: null },
      text: { format: { type: "text" } },
      include: ["reasoning.encrypted_content"],
      service_tier: "auto",
      user: "somebody",
    };
    expect((await ask({ ...question, ...neutral })).status).toBe(200);
  });

  it("works with the official client, streamed and not", async () => {
    const whole = await server.openai.responses.create(question);
    expect(whole.output_text).toBe(textOf(bodyOf(await ask(question))));
    const stream = server.openai.responses.stream(question);
    let text = "";
    stream.on("response.output_text.delta", ({ delta }) => {
      text += delta;
    });
    const final = await stream.finalResponse();
    expect(text).toBe(whole.output_text);
    expect(final.output_text).toBe(whole.output_text);
    expect(final.usage).toEqual(whole.usage);
  });
});
