// dependencies: ai@6.0.326 @ai-sdk/openai-compatible@2.0.92 zod@4.6.7
/** The Vercel AI SDK, as a provider of OpenAI's kind. */

import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { APICallError, embedMany, generateText, Output, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";

const [, , url = "http://127.0.0.1:8000/v1", model = "SmolLM2-135M-Instruct"] = process.argv;
const provider = createOpenAICompatible({
  name: "toast",
  baseURL: url,
  apiKey: "unused-by-a-server-without-keys",
  includeUsage: true,
  supportsStructuredOutputs: true,
});
/** Of an answer: what matters here is its shape. */
const maxOutputTokens = 48;
const question = { model: provider(model), prompt: "Name three colours.", maxOutputTokens, maxRetries: 0, seed: 1 };
const city = z.object({ name: z.string().max(20), inhabitants: z.int().min(0).max(100_000_000) });
const tools = {
  weather: tool({
    description: "Tells the weather.",
    inputSchema: z.object({ city: z.string().max(30), unit: z.enum(["celsius", "fahrenheit"]) }),
    execute: async ({ unit }) => ({ degrees: 12, unit }),
  }),
};

/** @type {{ name: string, run: () => Promise<void> }[]} */
const checks = [];
/** @param {string} name @param {() => Promise<void>} run fails when what the name says does not hold. */
function check(name, run) {
  checks.push({ name, run });
}

/** @param {unknown} condition @param {string} words */
function hold(condition, words) {
  if (!condition) throw new Error(words);
}

check("a text, with usage", async () => {
  const { text, usage } = await generateText(question);
  hold(text !== "" && (usage.inputTokens ?? 0) > 0 && (usage.outputTokens ?? 0) > 0, "no text or no usage");
});

check("streamed text is the unstreamed text, with usage and the reason of its end", async () => {
  const { text: whole } = await generateText(question);
  const result = streamText(question);
  let text = "";
  for await (const delta of result.textStream) text += delta;
  hold(text === whole, "another text");
  hold((await result.usage).outputTokens, "no usage");
  hold(["stop", "length"].includes(await result.finishReason), `finish reason ${await result.finishReason}`);
});

check("a completion of a model that does not chat", async () => {
  const { text } = await generateText({ ...question, model: provider.completionModel(model) });
  hold(text !== "", "no text");
});

check("an object of a schema, whole and streamed", async () => {
  const asked = { ...question, maxOutputTokens: 200, output: Output.object({ schema: city }) };
  city.parse((await generateText(asked)).output);
  const result = streamText(asked);
  let parts = 0;
  for await (const _ of result.partialOutputStream) parts++;
  hold(parts > 1, `${parts} parts`);
  city.parse(await result.output);
});

check("a forced tool, its result, and the answer", async () => {
  const forced = { ...question, maxOutputTokens: 200, tools, toolChoice: { type: "tool", toolName: "weather" } };
  const first = await generateText(forced);
  hold(first.finishReason === "tool-calls" && first.toolResults.length === 1, `finish reason ${first.finishReason}`);
  const { prompt, ...rest } = question;
  const messages = [{ role: "user", content: prompt }, ...first.response.messages];
  const second = await generateText({ ...rest, tools, toolChoice: "none", messages });
  hold(second.text !== "", "no text behind the result");
});

check("an agent's loop: a step with a call, and one without tools", async () => {
  const { steps, text } = await generateText({
    ...question,
    maxOutputTokens: 200,
    tools,
    stopWhen: stepCountIs(2),
    prepareStep: ({ stepNumber }) => ({ toolChoice: stepNumber === 0 ? "required" : "none" }),
  });
  hold(steps.length === 2 && steps[0]?.toolCalls.length === 1 && text !== "", `${steps.length} steps`);
});

check("embeddings", async () => {
  const { embeddings } = await embedMany({ model: provider.textEmbeddingModel(model), values: ["A cat.", "A dog."] });
  hold(embeddings.length === 2 && (embeddings[0]?.length ?? 0) > 100, `${embeddings.length} vectors`);
});

check("errors say what was wrong, and are not tried again", async () => {
  const error = await generateText({ ...question, model: provider("no-such-model") }).catch((caught) => caught);
  hold(APICallError.isInstance(error) && error.statusCode === 404 && !error.isRetryable, String(error));
});

check("a stream that is left early", async () => {
  const controller = new AbortController();
  const result = streamText({ ...question, abortSignal: controller.signal, onError: () => {} });
  let text = "";
  for await (const delta of result.textStream) {
    text += delta;
    controller.abort();
  }
  hold(text !== "", "no text");
  hold((await generateText(question)).text !== "", "nothing comes behind it");
});

for (const { name, run } of checks) {
  let reason = null;
  try {
    await run();
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.stack : error}\n`);
    reason = String(error).slice(0, 300);
  }
  process.stdout.write(`${JSON.stringify({ name, passed: reason === null, reason })}\n`);
}
