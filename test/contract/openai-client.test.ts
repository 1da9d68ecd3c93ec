import OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { EngineClient } from "../../src/engine/thread/engine-client.js";
import { openTestModel } from "./open-test-model.js";
import { startTestServer, type TestServer } from "./start-test-server.js";

let engine: EngineClient;
let server: TestServer;
let closeModel: () => Promise<void>;

beforeAll(async () => {
  ({ engine, close: closeModel } = await openTestModel());
  server = await startTestServer([engine]);
});
afterAll(async () => {
  await server.shutdown(0);
  await closeModel();
});

const question = {
  model: "tiny:alpaca",
  messages: [{ role: "user" as const, content: "Name three fruits." }],
  temperature: 0,
  max_completion_tokens: 10,
};

describe("the official openai client", () => {
  it("gets an answer in one piece", async () => {
    const answer = await server.openai.chat.completions.create(question);
    expect(answer.object).toBe("chat.completion");
    expect(answer.model).toBe("tiny:alpaca");
    expect(answer.choices[0]?.message.role).toBe("assistant");
    expect(typeof answer.choices[0]?.message.content).toBe("string");
    expect(answer.usage?.completion_tokens).toBeGreaterThan(0);
    expect(answer._request_id).toMatch(/^req_/);
  });

  it("streams the same text, with usage at the end", async () => {
    const whole = await server.openai.chat.completions.create(question);
    const stream = await server.openai.chat.completions.create({
      ...question,
      stream: true,
      stream_options: { include_usage: true },
    });
    let text = "";
    const usages: unknown[] = [];
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta.content ?? "";
      usages.push(chunk.usage);
    }
    expect(text).toBe(whole.choices[0]?.message.content);
    expect(usages.at(-1)).toEqual(whole.usage);
    expect(usages.length).toBeGreaterThan(3);
  });

  it("puts a stream together again with its own helper", async () => {
    const whole = await server.openai.chat.completions.create(question);
    const stream = server.openai.chat.completions.stream(question);
    const deltas: string[] = [];
    stream.on("content", (delta) => deltas.push(delta));
    const final = await stream.finalChatCompletion();
    expect(final.choices[0]?.message.content).toBe(whole.choices[0]?.message.content);
    expect(final.choices[0]?.finish_reason).toBe(whole.choices[0]?.finish_reason);
    expect(deltas.join("")).toBe(final.choices[0]?.message.content);
  });

  it("lists and finds models", async () => {
    const ids: string[] = [];
    for await (const model of server.openai.models.list()) {
      ids.push(model.id);
    }
    expect(ids).toEqual(["tiny", "tiny:alpaca"]);
    expect((await server.openai.models.retrieve("tiny:alpaca")).owned_by).toBe("toast-serve");
  });

  it("steers by an extra body field", async () => {
    const request = { ...question, model: "tiny", steering: { adapter: "alpaca", strength: 0.5 } };
    const answer = await server.openai.chat.completions.create(request);
    expect(answer).toMatchObject({ steering: { adapter: "alpaca", strength: 0.5, layers: [0, 1] } });
  });

  it("throws its own errors, with the field at fault", async () => {
    const { completions } = server.openai.chat;
    const missing = completions.create({ ...question, model: "gpt-4" });
    await expect(missing).rejects.toBeInstanceOf(OpenAI.NotFoundError);
    await expect(missing).rejects.toMatchObject({ code: "model_not_found", param: "model" });
    const bad = completions.create({ ...question, temperature: 9 });
    await expect(bad).rejects.toBeInstanceOf(OpenAI.BadRequestError);
    await expect(bad).rejects.toMatchObject({ param: "temperature", type: "invalid_request_error" });
    const refused = completions.create({ ...question, stream: true, functions: [{ name: "f" }] });
    await expect(refused).rejects.toMatchObject({ status: 400, code: "unsupported_parameter", param: "functions" });
  });

  it("aborts a stream, and the engine stops working for it", async () => {
    const stream = await server.openai.chat.completions.create({
      ...question,
      max_completion_tokens: 400,
      stream: true,
    });
    for await (const chunk of stream) {
      if (chunk.choices[0]?.delta.content !== "") {
        stream.controller.abort();
      }
    }
    await expect
      .poll(() => engine.inspect(), { timeout: 1000 })
      .toMatchObject({ waiting: 0, running: 0, lanesInUse: 0, violations: [] });
    await expect.poll(() => server.running.count).toBe(0);
  });
});
