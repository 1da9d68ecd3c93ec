import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { messageRequestSchema } from "../../src/anthropic/message-request.js";
import type { ServingEngine } from "../../src/engine/engine.js";
import { ToastError } from "../../src/errors.js";
import { ollamaChatRequestSchema } from "../../src/ollama/chat-request.js";
import { embeddingsRequestSchema, embedRequestSchema } from "../../src/ollama/embed.js";
import { ollamaGenerateRequestSchema } from "../../src/ollama/generate-request.js";
import { chatCompletionRequestSchema } from "../../src/openai/chat-completion-request.js";
import { completionRequestSchema } from "../../src/openai/completion-request.js";
import { embeddingRequestSchema } from "../../src/openai/embedding-request.js";
import { responseRequestSchema } from "../../src/openai/response-request.js";
import * as text from "../../src/openai/text-endpoints.js";
import { inWireFields, wireFields } from "../../src/openai/wire-fields.js";

/** What each endpoint's requests may hold; /tokenizer_info has a query of one. */
const fieldsOf: Readonly<Record<keyof typeof wireFields, object>> = {
  chatCompletions: chatCompletionRequestSchema.shape,
  completions: completionRequestSchema.shape,
  responses: responseRequestSchema.shape,
  messages: messageRequestSchema.shape,
  countTokens: messageRequestSchema.shape,
  embeddings: embeddingRequestSchema.shape,
  ollamaChat: ollamaChatRequestSchema.shape,
  ollamaGenerate: ollamaGenerateRequestSchema.shape,
  ollamaEmbed: embedRequestSchema.shape,
  ollamaEmbeddings: embeddingsRequestSchema.shape,
  tokenize: text.tokenizeRequestSchema.shape,
  detokenize: text.detokenizeRequestSchema.shape,
  applyTemplate: text.applyTemplateRequestSchema.shape,
  inputTokens: responseRequestSchema.shape,
  tokenizerInfo: { model: null },
  props: { model: null },
};

describe("the words of the wire", () => {
  it.each(Object.keys(fieldsOf) as (keyof typeof wireFields)[])("for the engine's fields are fields of %s", (name) => {
    const words = Object.values(wireFields[name]).filter((word) => word !== null);
    expect(words).toContain("model");
    expect(Object.keys(fieldsOf[name])).toEqual(expect.arrayContaining(words.map((word) => word.split(".")[0])));
  });

  it("name what a client sent, whichever way it asked", async () => {
    const refusing: ServingEngine = {
      generate: () => Promise.reject(new ToastError("context_length_exceeded", "Too long.", { field: "prompt" })),
      ask: () => Promise.reject(new ToastError("invalid_request", "No such token.", { field: "prompt.ids" })),
    };
    const generate = (name: keyof typeof wireFields) =>
      inWireFields(name, refusing).generate({} as never, new AbortController().signal);
    const code = "context_length_exceeded";
    await expect(generate("chatCompletions")).rejects.toMatchObject({ code, message: "Too long.", param: "messages" });
    await expect(generate("completions")).rejects.toMatchObject({ code, param: "prompt" });
    await expect(generate("responses")).rejects.toMatchObject({ code, param: "input" });
    await expect(inWireFields("detokenize", refusing).ask({} as never)).rejects.toMatchObject({ param: "tokens" });
  });

  it("leave alone what names no field of the engine's", async () => {
    const error = new ToastError("invalid_request", "No JSON Schema.", { param: "response_format" });
    const refusing: ServingEngine = { generate: () => Promise.reject(error), ask: () => Promise.reject(error) };
    await expect(inWireFields("completions", refusing).ask({} as never)).rejects.toBe(error);
  });
});

describe("the rooms behind the wire", () => {
  it.each(["engine/loop", "engine/output", "engine", "text", "sampling", "steering", "model"])(
    "%s names the engine's fields, none of the wire's",
    (room) => {
      const files = readdirSync(join("src", room)).filter((name) => name.endsWith(".ts"));
      expect(files.length).toBeGreaterThan(0);
      const named = files.flatMap((file) =>
        [...readFileSync(join("src", room, file), "utf8").matchAll(/param: "([^"]*)"/g)].map(([, word]) => word),
      );
      // The registry is asked for the model that a request names; a control vector is checked as POST /v1/vectors
      // sends it.
      const others = room === "steering" ? ["name", "vector"] : ["model"];
      expect(named.filter((word) => word === undefined || !others.includes(word))).toEqual([]);
    },
  );
});
