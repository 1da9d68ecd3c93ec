import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { tool as langchainTool } from "@langchain/core/tools";
import { ChatOpenAI } from "@langchain/openai";
import { generateObject, generateText, streamObject, streamText, tool } from "ai";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import type { EngineClient } from "../../src/engine/thread/engine-client.js";
import { openToastTiny } from "../support/toast-tiny.js";
import { startTestServer, type TestServer } from "./start-test-server.js";

let engine: EngineClient;
let server: TestServer;
beforeAll(async () => {
  engine = await openToastTiny();
  server = await startTestServer([engine]);
});
afterAll(async () => {
  await server.shutdown(0);
  await engine.close();
});

const city = z.object({
  name: z.string().max(12),
  population: z.int().min(1).max(9_999_999),
  tags: z.array(z.enum(["old", "new"])).max(2),
});
const weather = z.object({ city: z.string().max(10), unit: z.enum(["C", "F"]) });
const prompt = "Describe a city.";

describe("the Vercel AI SDK", () => {
  const model = () =>
    createOpenAICompatible({
      name: "toast",
      baseURL: `${server.url}/v1`,
      supportsStructuredOutputs: true,
    })("toast-tiny:alpaca");

  it("generates objects", async () => {
    const { object, finishReason } = await generateObject({
      model: model(),
      schema: city,
      prompt,
      seed: 1,
      maxRetries: 0,
    });
    expect(city.parse(object)).toEqual(object);
    expect(finishReason).toBe("stop");
  });

  it("streams objects", async () => {
    const { object, partialObjectStream } = streamObject({
      model: model(),
      schema: city,
      prompt,
      seed: 2,
      maxRetries: 0,
    });
    let parts = 0;
    for await (const _ of partialObjectStream) parts++;
    expect(parts).toBeGreaterThan(1);
    expect(city.parse(await object)).toBeDefined();
  });

  it("calls tools, with their results sent back, streamed and not", async () => {
    const tools = {
      weather: tool({
        description: "The weather.",
        inputSchema: weather,
        execute: async ({ unit }) => ({ degrees: 12, unit }),
      }),
    };
    const asked = {
      model: model(),
      tools,
      toolChoice: { type: "tool", toolName: "weather" } as const,
      prompt,
      seed: 3,
      maxRetries: 0,
    };
    const whole = await generateText(asked);
    expect(whole.finishReason).toBe("tool-calls");
    expect(weather.parse(whole.toolCalls[0]?.input)).toBeDefined();
    expect(whole.toolResults[0]?.output).toMatchObject({ degrees: 12 });
    const stream = streamText(asked);
    const calls = await stream.toolCalls;
    expect(calls.map(({ toolName, input }) => ({ toolName, input }))).toEqual(
      whole.toolCalls.map(({ toolName, input }) => ({ toolName, input })),
    );
    const next = await generateText({
      model: model(),
      tools,
      toolChoice: "none",
      maxOutputTokens: 12,
      maxRetries: 0,
      messages: [{ role: "user", content: prompt }, ...whole.response.messages],
    });
    expect(next.text).toBeTypeOf("string");
  });
});

describe("LangChain", () => {
  const model = () =>
    new ChatOpenAI({
      model: "toast-tiny:alpaca",
      apiKey: "none",
      maxRetries: 0,
      maxTokens: 200,
      configuration: { baseURL: `${server.url}/v1` },
    });

  it.each(["jsonSchema", "functionCalling"] as const)("gives structured output by %s", async (method) => {
    const object = await model().withStructuredOutput(city, { name: "city", method }).invoke(prompt);
    expect(city.parse(object)).toEqual(object);
  });

  it("binds tools, streamed and not", async () => {
    const bound = model().bindTools(
      [langchainTool(async () => "12", { name: "weather", description: "The weather.", schema: weather })],
      { tool_choice: "weather" },
    );
    const message = await bound.invoke(prompt);
    expect(message.tool_calls?.[0]?.name).toBe("weather");
    expect(weather.parse(message.tool_calls?.[0]?.args)).toBeDefined();
    let sum: Awaited<ReturnType<typeof bound.invoke>> | undefined;
    for await (const chunk of await bound.stream(prompt)) sum = sum === undefined ? chunk : sum.concat(chunk);
    expect(weather.parse(sum?.tool_calls?.[0]?.args)).toBeDefined();
  });
});
