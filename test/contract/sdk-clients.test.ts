import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { type AIMessageChunk, HumanMessage, SystemMessage } from "@langchain/core/messages";
import { ChatOpenAI, OpenAI as OpenAICompletion } from "@langchain/openai";
import { APICallError, generateText, streamText } from "ai";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { EngineClient } from "../../src/engine/thread/engine-client.js";
import { openTestModel } from "./open-test-model.js";
import { startTestServer, type TestServer, type WireUsage } from "./start-test-server.js";

let engine: EngineClient;
let server: TestServer;
let closeModel: () => Promise<void>;

beforeAll(async () => {
  ({ engine, close: closeModel } = await openTestModel());
  server = await startTestServer([engine]);
});
afterEach(async () => {
  await expect.poll(() => server.running.count).toBe(0);
  await expect.poll(() => engine.inspect()).toMatchObject({ waiting: 0, running: 0, lanesInUse: 0, violations: [] });
  expect(server.departures).toEqual([]);
});
afterAll(async () => {
  await server.shutdown(0);
  await closeModel();
});

const prompt = "Name three fruits.";

/** What the server itself says to the same question. */
async function expected(fields: object = {}): Promise<{ text: string; usage: WireUsage }> {
  const answer = await server.chat({
    model: "tiny:alpaca",
    messages: [{ role: "user", content: prompt }],
    temperature: 0,
    max_tokens: 10,
    ...fields,
  });
  const { choices, usage } = JSON.parse(answer.text) as {
    choices: { message: { content: string } }[];
    usage: WireUsage;
  };
  return { text: choices[0]?.message.content ?? "", usage };
}

describe("the Vercel AI SDK", () => {
  const provider = () =>
    createOpenAICompatible({
      name: "toast",
      baseURL: `${server.url}/v1`,
      apiKey: "none",
      fetch: server.fetch,
      includeUsage: true,
    });
  const question = () => ({
    model: provider()("tiny:alpaca"),
    prompt,
    temperature: 0,
    maxOutputTokens: 10,
    maxRetries: 0,
  });

  it("gets a text and its usage", async () => {
    const { text, usage } = await generateText(question());
    const own = await expected();
    expect(text).toBe(own.text);
    expect(usage).toMatchObject({
      inputTokens: own.usage.prompt_tokens,
      outputTokens: own.usage.completion_tokens,
    });
  });

  it("streams the same text, with usage and the reason of its end", async () => {
    const result = streamText(question());
    let text = "";
    for await (const delta of result.textStream) text += delta;
    const own = await expected();
    expect(text).toBe(own.text);
    expect((await result.usage).outputTokens).toBe(own.usage.completion_tokens);
    expect(["stop", "length"]).toContain(await result.finishReason);
  });

  it("completes a text", async () => {
    const { text } = await generateText({ ...question(), model: provider().completionModel("tiny:alpaca") });
    expect(text.length).toBeGreaterThan(0);
  });

  it("steers through the provider's options", async () => {
    const steered = await generateText({
      ...question(),
      providerOptions: { toast: { steering: { strength: 0 } } },
    });
    expect(steered.text).toBe((await expected({ model: "tiny" })).text);
  });

  it("throws errors that say what was wrong, and are not tried again", async () => {
    const failing = generateText({ ...question(), model: provider()("gpt-4") });
    await expect(failing).rejects.toSatisfy(
      (error) => APICallError.isInstance(error) && error.statusCode === 404 && !error.isRetryable,
    );
    await expect(failing).rejects.toThrow(/is not served here/);
  });

  it("aborts a stream, and the engine stops working for it", async () => {
    const controller = new AbortController();
    const result = streamText({
      ...question(),
      maxOutputTokens: 400,
      abortSignal: controller.signal,
      onError: () => {},
    });
    let text = "";
    for await (const delta of result.textStream) {
      text += delta;
      controller.abort();
    }
    expect(text).not.toBe("");
  });
});

describe("LangChain", () => {
  const options = () => ({
    model: "tiny:alpaca",
    temperature: 0,
    maxTokens: 10,
    apiKey: "none",
    maxRetries: 0,
    configuration: { baseURL: `${server.url}/v1`, fetch: server.fetch },
  });

  it("gets a message and its usage", async () => {
    const message = await new ChatOpenAI(options()).invoke([new HumanMessage(prompt)]);
    const own = await expected();
    expect(message.content).toBe(own.text);
    expect(message.usage_metadata).toMatchObject({
      input_tokens: own.usage.prompt_tokens,
      output_tokens: own.usage.completion_tokens,
    });
  });

  it("streams the same message in chunks", async () => {
    const own = await expected();
    const chunks: AIMessageChunk[] = [];
    for await (const chunk of await new ChatOpenAI(options()).stream(prompt)) chunks.push(chunk);
    expect(chunks.length).toBeGreaterThan(3);
    expect(chunks.map(({ content }) => content).join("")).toBe(own.text);
    const usages = chunks.map((chunk) => chunk.usage_metadata as { output_tokens: number } | undefined);
    expect(Math.max(...usages.map((usage) => usage?.output_tokens ?? 0))).toBe(own.usage.completion_tokens);
  });

  it("reads log probabilities, and sends system messages", async () => {
    const model = new ChatOpenAI({ ...options(), logprobs: true, topLogprobs: 2 });
    const message = await model.invoke([new SystemMessage("Be brief."), new HumanMessage(prompt)]);
    const { logprobs } = message.response_metadata as { logprobs: { content: { bytes: number[] }[] } };
    expect(Buffer.from(logprobs.content.flatMap(({ bytes }) => bytes)).toString("utf8")).toBe(message.content);
  });

  it("speaks the Responses API", async () => {
    const message = await new ChatOpenAI({ ...options(), useResponsesApi: true }).invoke(prompt);
    expect(message.text).toBe((await expected()).text);
  });

  it("completes a text", async () => {
    expect((await new OpenAICompletion(options()).invoke("Once upon a time")).length).toBeGreaterThan(0);
  });

  it("throws errors that say what was wrong", async () => {
    const failing = new ChatOpenAI({ ...options(), model: "gpt-4" }).invoke(prompt);
    await expect(failing).rejects.toThrow(/is not served here/);
  });

  it("aborts a stream, and the engine stops working for it", async () => {
    const controller = new AbortController();
    const model = new ChatOpenAI({ ...options(), maxTokens: 400 });
    const reading = (async () => {
      for await (const _ of await model.stream(prompt, { signal: controller.signal })) controller.abort();
    })();
    await expect(reading).rejects.toThrow();
  });
});
