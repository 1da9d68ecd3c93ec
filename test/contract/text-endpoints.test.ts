import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openTestModel } from "./open-test-model.js";
import { errorOf, startTestServer, type TestServer } from "./start-test-server.js";

let server: TestServer;
let closeModel: () => Promise<void>;

beforeAll(async () => {
  const model = await openTestModel();
  closeModel = model.close;
  server = await startTestServer([model.engine]);
});
afterAll(async () => {
  await server.shutdown(0);
  await closeModel();
});

async function ask<Answer>(path: string, body: object): Promise<Answer> {
  const answer = await server.post(path, body);
  expect(answer.status).toBe(200);
  return JSON.parse(answer.text) as Answer;
}

interface Tokens {
  readonly tokens: number[];
  readonly count: number;
  readonly max_model_len: number;
  readonly token_strs: string[] | null;
}

const messages = [{ role: "user", content: "Hi" }];

describe("tokenize and detokenize", () => {
  it("undo each other, for text of any script", async () => {
    for (const prompt of ["Hello world", "Écris 你好 🙂", "  two  spaces\n\nand lines", "a\u0000b"]) {
      const { tokens, count } = await ask<Tokens>("/tokenize", { prompt, add_special_tokens: false });
      expect(count).toBe(tokens.length);
      expect(await ask("/detokenize", { tokens })).toEqual({ prompt });
    }
  });

  it("add the tokenizer's own tokens unless told not to, and tell pieces when asked", async () => {
    const { bos_token_id, bos_token } = JSON.parse((await server.exchange("/tokenizer_info")).text) as {
      bos_token_id: number;
      bos_token: string;
    };
    const withOwn = await ask<Tokens>("/tokenize", { prompt: "Hi", return_token_strs: true });
    const without = await ask<Tokens>("/tokenize", { prompt: "Hi", add_special_tokens: false });
    expect(withOwn.tokens).toEqual([bos_token_id, ...without.tokens]);
    expect(withOwn.token_strs?.[0]).toBe(bos_token);
    expect(withOwn.token_strs).toHaveLength(withOwn.count);
    expect(without.token_strs).toBeNull();
    expect(withOwn.max_model_len).toBeGreaterThan(0);
  });

  it("count messages as a chat completion does", async () => {
    const { count } = await ask<Tokens>("/tokenize", { model: "tiny:alpaca", messages });
    const chat = await server.chat({ model: "tiny:alpaca", messages, max_tokens: 1 });
    expect((JSON.parse(chat.text) as { usage: { prompt_tokens: number } }).usage.prompt_tokens).toBe(count);
  });

  it("write messages as the template does", async () => {
    const { prompt } = await ask<{ prompt: string }>("/apply-template", { messages });
    const asMessages = await ask<Tokens>("/tokenize", { messages });
    const asText = await ask<Tokens>("/tokenize", { prompt, add_special_tokens: false });
    expect(asText.tokens).toEqual(asMessages.tokens);
    const open = await ask<{ prompt: string }>("/apply-template", { messages, add_generation_prompt: false });
    expect(prompt.startsWith(open.prompt)).toBe(true);
    expect(prompt.length).toBeGreaterThan(open.prompt.length);
  });

  it.each([
    ["/tokenize", {}, "prompt"],
    ["/tokenize", { prompt: "a", messages }, "prompt"],
    ["/tokenize", { prompt: 3 }, "prompt"],
    ["/tokenize", { messages: [] }, "messages"],
    ["/tokenize", { prompt: "x".repeat(99_000) + "y".repeat(1_001) }, "prompt"],
    ["/detokenize", {}, "tokens"],
    ["/detokenize", { tokens: [1, -1] }, "tokens[1]"],
    ["/detokenize", { tokens: [10_000_000] }, "tokens"],
    ["/apply-template", { messages: "Hi" }, "messages"],
    ["/apply-template", { messages, chat_template: "{{ x }}" }, "chat_template"],
  ])("refuse at %s what they cannot take: %#", async (path, body, param) => {
    const answer = await server.post(path, body);
    expect([answer.status, errorOf(answer).param]).toEqual([400, param]);
  });

  it("know the models that there are", async () => {
    const answer = await server.post("/tokenize", { model: "gpt-4", prompt: "a" });
    expect([answer.status, errorOf(answer).code]).toEqual([404, "model_not_found"]);
    expect((await server.exchange("/tokenizer_info?model=gpt-4")).status).toBe(404);
  });
});
