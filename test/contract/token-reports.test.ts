import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { EngineClient } from "../../src/engine/thread/engine-client.js";
import { openTestModel } from "./open-test-model.js";
import { type Exchange, errorOf, framesOf, startTestServer, type TestServer } from "./start-test-server.js";

let engine: EngineClient;
let server: TestServer;
let closeModel: () => Promise<void>;

beforeAll(async () => {
  ({ engine, close: closeModel } = await openTestModel());
  server = await startTestServer([engine]);
});
afterEach(async () => {
  await expect.poll(() => engine.inspect()).toMatchObject({ waiting: 0, running: 0, lanesInUse: 0, violations: [] });
});
afterAll(async () => {
  await server.shutdown(0);
  await closeModel();
});

interface Entry {
  readonly token: string;
  readonly logprob: number;
  readonly bytes: number[];
  readonly top_logprobs: readonly Omit<Entry, "top_logprobs">[];
}

interface Explained {
  readonly id: number;
  readonly text: string;
  readonly bytes: number[];
  readonly relevance: number | null;
  readonly gains: number[];
  readonly draft?: string;
}

interface Choice {
  readonly message: { readonly content: string };
  readonly delta: { readonly content?: string };
  readonly logprobs: { readonly content: Entry[]; readonly refusal: null } | null;
  readonly explanation?: { readonly tokens: Explained[] };
  readonly finish_reason: string | null;
}

interface Answer {
  readonly choices: Choice[];
  readonly prompt_explanation?: { readonly tokens: Explained[] };
  readonly prompt_logprobs?: (Record<string, { logprob: number; rank: number | null; decoded_token: string }> | null)[];
  readonly usage: { readonly prompt_tokens: number; readonly completion_tokens: number };
}

const question = {
  model: "tiny:alpaca",
  messages: [{ role: "user", content: "Écris 你好 🙂" }],
  temperature: 1.4,
  seed: 11,
  max_tokens: 40,
};
const answerOf = ({ text }: Exchange) => JSON.parse(text) as Answer;
const chunksOf = (answer: Exchange) =>
  framesOf(answer)
    .filter((frame) => frame !== "data: [DONE]")
    .map((frame) => JSON.parse(frame.slice("data: ".length)) as Answer);
const textOf = (entries: readonly { bytes: number[] }[]) =>
  Buffer.from(entries.flatMap(({ bytes }) => bytes)).toString("utf8");

describe("log probabilities of chat", () => {
  it("wire row 16: the bytes of all tokens are the text, numbers only, streamed as unstreamed", async () => {
    const asked = { ...question, logprobs: true, top_logprobs: 4 };
    const [choice] = answerOf(await server.chat(asked)).choices;
    const entries = choice?.logprobs?.content ?? [];
    expect(entries.length).toBeGreaterThan(20);
    expect(textOf(entries)).toBe(choice?.message.content);
    expect(choice?.logprobs?.refusal).toBeNull();
    for (const entry of entries) {
      expect(entry.logprob).toBeLessThanOrEqual(0);
      expect(entry.top_logprobs).toHaveLength(4);
      const tops = entry.top_logprobs.map(({ logprob }) => logprob);
      expect(tops.toSorted((a, b) => b - a)).toEqual(tops);
    }
    // Bytes of no whole character are written out, so that a token's text is never a lie.
    const partial = entries.filter(({ bytes }) => Buffer.from(bytes).toString("utf8").includes("\ufffd"));
    expect(partial.length).toBeGreaterThan(0);
    expect(partial.every(({ token, bytes }) => token.startsWith("\\x") && token.length === 4 * bytes.length)).toBe(
      true,
    );
    const chunks = chunksOf(await server.chat({ ...asked, stream: true }));
    expect(chunks.flatMap(({ choices }) => choices[0]?.logprobs?.content ?? [])).toEqual(entries);
    for (const { choices } of chunks) {
      const { delta, logprobs } = choices[0] as Choice;
      if (logprobs !== null && !textOf(logprobs.content).includes("\ufffd")) {
        expect(textOf(logprobs.content)).toBe(delta.content);
      }
    }
  });

  it("wire row 16: without top_logprobs there are none, without logprobs there is null", async () => {
    const [only] = answerOf(await server.chat({ ...question, logprobs: true })).choices;
    expect(only?.logprobs?.content.every(({ top_logprobs }) => top_logprobs.length === 0)).toBe(true);
    const [none] = answerOf(await server.chat(question)).choices;
    expect(none?.logprobs).toBeNull();
    expect(none?.message.content).toBe(only?.message.content);
  });

  it.each([
    ["top_logprobs alone", { top_logprobs: 3 }, "top_logprobs"],
    ["too many", { logprobs: true, top_logprobs: 21 }, "top_logprobs"],
    ["logprobs of another type", { logprobs: 3 }, "logprobs"],
  ])("refuse %s by name", async (_, fields, param) => {
    const answer = await server.chat({ ...question, ...fields });
    expect([answer.status, errorOf(answer).param]).toEqual([400, param]);
  });

  it("of the prompt have vLLM's shape, null first", async () => {
    const { prompt_logprobs: told = [], usage } = answerOf(
      await server.chat({ ...question, prompt_logprobs: 2, max_tokens: 1 }),
    );
    expect(told).toHaveLength(usage.prompt_tokens);
    expect(told[0]).toBeNull();
    expect(told.slice(1).every((entry) => entry !== null && Object.keys(entry).length >= 2)).toBe(true);
  });
});

describe("wishes about single tokens", () => {
  const greedy = { ...question, temperature: 0, max_tokens: 6, ignore_eos: true };

  it("wire row 18: logit_bias is an object of ids in strings, -100 to 100, and decides what is drawn", async () => {
    const { tokens } = JSON.parse((await server.post("/tokenize", { prompt: "a" })).text) as { tokens: number[] };
    const id = String(tokens.at(-1));
    const [forced] = answerOf(await server.chat({ ...greedy, logit_bias: { [id]: 100 }, logprobs: true })).choices;
    // The first token of an answer is written without its leading space.
    const wordsOf = (choice: Choice | undefined) => choice?.logprobs?.content.map(({ token }) => token.trim()) ?? [];
    expect(wordsOf(forced)).toEqual(new Array(6).fill("a"));
    const [banned] = answerOf(
      await server.chat({ ...greedy, logit_bias: { [id]: -100 }, temperature: 1, logprobs: true }),
    ).choices;
    expect(wordsOf(banned)).toHaveLength(6);
    expect(wordsOf(banned)).not.toContain("a");
  });

  it.each([
    ["a list", [[5, 1]], "logit_bias"],
    ["a word for an id", { hello: 1 }, "logit_bias"],
    ["a negative id", { "-1": 1 }, "logit_bias"],
    ["a bias too large", { "5": 101 }, "logit_bias.5"],
    ["a bias in words", { "5": "1" }, "logit_bias.5"],
    ["a token that there is not", { "99999999": 1 }, "logit_bias"],
  ])("wire row 18: refuses %s", async (_, logit_bias, param) => {
    const answer = await server.chat({ ...greedy, logit_bias });
    expect([answer.status, errorOf(answer).param]).toEqual([400, param]);
  });

  it("min_tokens and stop_token_ids decide where the text ends", async () => {
    const [choice] = answerOf(await server.chat({ ...greedy, logprobs: true })).choices;
    const first = choice?.message.content ?? "";
    const { tokens } = JSON.parse((await server.post("/tokenize", { prompt: "a" })).text) as { tokens: number[] };
    const id = tokens.at(-1) ?? 0;
    const ended = answerOf(
      await server.chat({ ...greedy, ignore_eos: false, logit_bias: { [id]: 100 }, stop_token_ids: [id] }),
    );
    expect(ended.choices[0]).toMatchObject({ finish_reason: "stop", message: { content: "" } });
    const later = answerOf(
      await server.chat({
        ...greedy,
        ignore_eos: false,
        logit_bias: { [id]: 100 },
        stop_token_ids: [id],
        min_tokens: 3,
      }),
    );
    expect(later.usage.completion_tokens).toBe(4);
    expect(first).not.toBe("");
    const refused = await server.chat({ ...greedy, min_tokens: 7 });
    expect([refused.status, errorOf(refused).param]).toEqual([400, "min_tokens"]);
  });
});

describe("steering.explain", () => {
  const asked = { ...question, steering: { explain: true } };

  it("tells relevance and gains of each token of answer and prompt, in four digits", async () => {
    const answer = answerOf(await server.chat(asked));
    const told = answer.choices[0]?.explanation?.tokens ?? [];
    const prompt = answer.prompt_explanation?.tokens ?? [];
    expect(textOf(told)).toBe(answer.choices[0]?.message.content);
    expect(prompt).toHaveLength(answer.usage.prompt_tokens);
    for (const token of [...told, ...prompt]) {
      expect(token.relevance).toBeGreaterThanOrEqual(0);
      expect(token.relevance).toBeLessThanOrEqual(1);
      expect(token.gains).toHaveLength(2);
      for (const number of token.gains) expect(Number(number.toPrecision(4))).toBe(number);
    }
    expect(told.every(({ draft }) => ["accepted", "refused", "none"].includes(draft ?? ""))).toBe(true);
  });

  it("comes with each text of a stream, the prompt's once, on the first chunk after the opening", async () => {
    const whole = answerOf(await server.chat(asked));
    const chunks = chunksOf(await server.chat({ ...asked, stream: true }));
    const tokens = chunks.flatMap(({ choices }) => choices[0]?.explanation?.tokens ?? []);
    const strip = (list: readonly Explained[]) => list.map(({ draft: _, ...token }) => token);
    expect(strip(tokens)).toEqual(strip(whole.choices[0]?.explanation?.tokens ?? []));
    expect(chunks.map((chunk) => chunk.prompt_explanation !== undefined)).toEqual(chunks.map((_, at) => at === 1));
    expect(chunks[1]?.prompt_explanation).toEqual(whole.prompt_explanation);
  });

  it("does not change the text, and of a plain request tells that nothing steered", async () => {
    const { choices } = answerOf(await server.chat(question));
    const explained = answerOf(await server.chat(asked));
    expect(explained.choices[0]?.message.content).toBe(choices[0]?.message.content);
    const plain = answerOf(await server.chat({ ...asked, model: "tiny" }));
    expect(plain.choices[0]?.explanation?.tokens.every(({ relevance }) => relevance === null)).toBe(true);
  });

  it("comes on completions and responses too", async () => {
    const { messages: _, max_tokens, ...rest } = asked;
    const completion = answerOf(await server.post("/v1/completions", { ...rest, max_tokens, prompt: "Once" }));
    expect(completion.choices[0]?.explanation?.tokens.length).toBeGreaterThan(0);
    expect(completion.prompt_explanation?.tokens).toHaveLength(completion.usage.prompt_tokens);
    const response = JSON.parse(
      (await server.post("/v1/responses", { ...rest, input: "Once", max_output_tokens: 8 })).text,
    ) as { output: [{ content: [{ explanation: { tokens: unknown[] } }] }]; prompt_explanation: { tokens: unknown[] } };
    expect(response.output[0].content[0].explanation.tokens.length).toBeGreaterThan(0);
    expect(response.prompt_explanation.tokens.length).toBeGreaterThan(0);
  });
});

describe("how the template is asked to write", () => {
  const rendered = async (fields: object) =>
    (
      JSON.parse((await server.post("/apply-template", { messages: question.messages, ...fields })).text) as {
        prompt: string;
      }
    ).prompt;

  it("goes on with the last message when asked", async () => {
    const messages = [...question.messages, { role: "assistant", content: "Once upon" }];
    expect(await rendered({ messages, continue_final_message: true })).toMatch(/### Response:\nOnce upon$/);
    const answer = await server.chat({ ...question, messages, continue_final_message: true, temperature: 0 });
    const prompt = await rendered({ messages, continue_final_message: true });
    const completion = await server.post("/v1/completions", {
      model: question.model,
      prompt,
      add_special_tokens: false,
      temperature: 0,
      max_tokens: question.max_tokens,
    });
    const { choices } = JSON.parse(completion.text) as { choices: { text: string }[] };
    expect(answerOf(answer).choices[0]?.message.content).toBe(choices[0]?.text);
  });

  it("refuses what contradicts itself or takes the server's place", async () => {
    const both = await server.chat({ ...question, continue_final_message: true, add_generation_prompt: true });
    expect([both.status, errorOf(both).param]).toEqual([400, "add_generation_prompt"]);
    const taken = await server.chat({ ...question, chat_template_kwargs: { messages: "x" } });
    expect([taken.status, errorOf(taken).param]).toEqual([400, "chat_template_kwargs"]);
    const deep = await server.chat({ ...question, chat_template_kwargs: { a: { b: [] } } });
    expect(deep.status).toBe(400);
  });
});
