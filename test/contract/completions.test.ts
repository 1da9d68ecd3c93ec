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
  await expect.poll(() => server.running.count).toBe(0);
  await expect.poll(() => engine.inspect()).toMatchObject({ waiting: 0, running: 0, lanesInUse: 0, violations: [] });
});
afterAll(async () => {
  await server.shutdown(0);
  await closeModel();
});

interface Logprobs {
  readonly tokens: string[];
  readonly token_logprobs: (number | null)[];
  readonly top_logprobs: (Record<string, number> | null)[];
  readonly text_offset: number[];
}

interface Choice {
  readonly index: number;
  readonly text: string;
  readonly finish_reason: string | null;
  readonly logprobs: Logprobs | null;
}

interface Completion {
  readonly choices: Choice[];
  readonly usage: { readonly prompt_tokens: number; readonly completion_tokens: number };
}

const greedy = { model: "tiny:alpaca", prompt: "Once upon a time", temperature: 0, max_tokens: 8 };
const complete = (body: object) => server.post("/v1/completions", body);
const bodyOf = ({ text }: Exchange) => JSON.parse(text) as Completion;
const choicesOf = async (body: object) => bodyOf(await complete(body)).choices;
const textsOf = async (body: object) => (await choicesOf(body)).map(({ text }) => text);
const chunksOf = (answer: Exchange) =>
  framesOf(answer)
    .filter((frame) => frame !== "data: [DONE]")
    .map((frame) => JSON.parse(frame.slice("data: ".length)) as Completion & { usage?: object | null });
const tokensOf = async (prompt: string) =>
  (JSON.parse((await server.post("/tokenize", { prompt })).text) as { tokens: number[] }).tokens;

describe("prompts", () => {
  it("go on as the same tokens do, whichever way they are written", async () => {
    const tokens = await tokensOf(greedy.prompt);
    const texts = await textsOf(greedy);
    expect(texts[0]).not.toBe("");
    expect(await textsOf({ ...greedy, prompt: tokens })).toEqual(texts);
    expect(await textsOf({ ...greedy, prompt: [greedy.prompt] })).toEqual(texts);
    expect(await textsOf({ ...greedy, prompt: [tokens, tokens] })).toEqual([...texts, ...texts]);
  });

  it("make n answers each, counted through prompt by prompt, and are counted once each", async () => {
    const prompts = ["Once upon", "The cat", "A dog"];
    const asked = { ...greedy, prompt: prompts, n: 2, temperature: 1, seed: 4 };
    const { choices, usage } = bodyOf(await complete(asked));
    expect(choices.map(({ index }) => index)).toEqual([0, 1, 2, 3, 4, 5]);
    for (const [at, prompt] of prompts.entries()) {
      const alone = await textsOf({ ...asked, prompt });
      expect(choices.slice(2 * at, 2 * at + 2).map(({ text }) => text)).toEqual(alone);
    }
    const lengths = await Promise.all(prompts.map(async (prompt) => (await tokensOf(prompt)).length));
    expect(usage.prompt_tokens).toBe(lengths.reduce((sum, length) => sum + length));
    expect(usage.completion_tokens).toBe(6 * 8);
  });

  it("have 16 tokens written by default, as OpenAI's do", async () => {
    const { max_tokens: _, ...open } = greedy;
    const { usage, choices } = bodyOf(await complete({ ...open, ignore_eos: true }));
    expect([usage.completion_tokens, choices[0]?.finish_reason]).toEqual([16, "length"]);
  });

  it.each([
    ["no prompt", { prompt: undefined }, "prompt"],
    ["an empty list", { prompt: [] }, "prompt"],
    ["an object", { prompt: {} }, "prompt"],
    ["a mixed list", { prompt: [1, "a"] }, "prompt[1]"],
    ["a list of lists with a fault", { prompt: [[1], [2, -3]] }, "prompt[1][1]"],
    ["a token that there is not", { prompt: [1_000_000] }, "prompt"],
    ["too many answers", { prompt: new Array(65).fill("a"), n: 2 }, "prompt"],
    ["a prompt beyond the context", { prompt: "word ".repeat(2000) }, "prompt"],
    ["a suffix", { suffix: "end" }, "suffix"],
    ["best_of", { best_of: 3 }, "best_of"],
    ["max_completion_tokens", { max_completion_tokens: 3 }, "max_completion_tokens"],
    ["more logprobs than there are", { logprobs: 21 }, "logprobs"],
    ["a bias of a token that there is not", { logit_bias: { "1000000": 1 } }, "logit_bias"],
    ["explanations of two prompts", { prompt: ["a", "b"], steering: { explain: true } }, "steering.explain"],
  ])("refuse %s by name", async (_, fields, param) => {
    const answer = await complete({ ...greedy, ...fields });
    expect([answer.status, errorOf(answer).param]).toEqual([400, param]);
  });

  it("of which one is refused leave nothing of the others behind", async () => {
    const answer = await complete({ ...greedy, prompt: ["fine", "word ".repeat(2000), "fine"], max_tokens: 200 });
    expect([answer.status, errorOf(answer).code]).toEqual([400, "context_length_exceeded"]);
  });
});

describe("a stream of completions", () => {
  it("interleaves choices, each with its own text and one finish chunk without text", async () => {
    const asked = { ...greedy, prompt: ["Once upon", "The cat"], n: 2, temperature: 1, seed: 9 };
    const whole = await choicesOf(asked);
    const answer = await complete({ ...asked, stream: true, stream_options: { include_usage: true } });
    expect(framesOf(answer).at(-1)).toBe("data: [DONE]");
    const chunks = chunksOf(answer);
    for (const { index, text, finish_reason } of whole) {
      const own = chunks.flatMap(({ choices }) => choices).filter((choice) => choice.index === index);
      expect(own.map((choice) => choice.text).join("")).toBe(text);
      expect(own.at(-1)).toMatchObject({ text: "", finish_reason });
      expect(own.slice(0, -1).every((choice) => choice.finish_reason === null)).toBe(true);
    }
    expect(chunks.at(-1)).toMatchObject({ choices: [], usage: { completion_tokens: 32 } });
    expect(chunks.slice(0, -1).every(({ usage }) => usage === null)).toBe(true);
    expect(answer.headers["content-type"]).toContain("text/event-stream");
  });

  it("stops at a stop string, and tells an error before the first token by its status", async () => {
    const [text = ""] = await textsOf(greedy);
    const stop = text.slice(3, 6);
    const expected = text.slice(0, text.indexOf(stop));
    const chunks = chunksOf(await complete({ ...greedy, stop, stream: true }));
    expect(chunks.map(({ choices }) => choices[0]?.text).join("")).toBe(expected);
    const refused = await complete({ ...greedy, prompt: "word ".repeat(2000), stream: true });
    expect(refused.status).toBe(400);
  });
});

describe("echo", () => {
  it("puts the prompt in front, of text and of tokens, streamed and not", async () => {
    const [text] = await textsOf(greedy);
    const expected = `${greedy.prompt}${text}`;
    expect(await textsOf({ ...greedy, echo: true })).toEqual([expected]);
    expect(await textsOf({ ...greedy, echo: true, prompt: await tokensOf(greedy.prompt) })).toEqual([expected]);
    const chunks = chunksOf(await complete({ ...greedy, echo: true, stream: true }));
    expect(chunks.map(({ choices }) => choices[0]?.text).join("")).toBe(expected);
  });

  it("without tokens to write gives the prompt back", async () => {
    const { choices, usage } = bodyOf(await complete({ ...greedy, echo: true, max_tokens: 0 }));
    expect(choices).toMatchObject([{ text: greedy.prompt, finish_reason: "length" }]);
    expect(usage.completion_tokens).toBe(0);
  });
});

describe("log probabilities of completions", () => {
  it("wire row 17: have the legacy shape; echo gives the prompt's too, the first null", async () => {
    const prompt = "Wörld 你好 🙂 ends";
    const asked = { ...greedy, prompt, logprobs: 3, echo: true };
    const [choice] = await choicesOf(asked);
    const { tokens, token_logprobs, top_logprobs, text_offset } = choice?.logprobs ?? ({} as Logprobs);
    const count = (await tokensOf(prompt)).length + greedy.max_tokens;
    expect([tokens, token_logprobs, top_logprobs, text_offset].map(({ length }) => length)).toEqual(
      new Array(4).fill(count),
    );
    expect([token_logprobs[0], top_logprobs[0]]).toEqual([null, null]);
    for (const [at, logprob] of token_logprobs.entries()) {
      if (at === 0) continue;
      expect(logprob).toBeLessThanOrEqual(0);
      const top = top_logprobs[at] ?? {};
      expect(top[tokens[at] ?? ""]).toBe(logprob);
      expect(Object.keys(top).length).toBeGreaterThanOrEqual(1);
      expect(Object.keys(top).length).toBeLessThanOrEqual(4);
    }
    const characters = [...(choice?.text ?? "")];
    for (const [at, token] of tokens.entries()) {
      if (token.startsWith("bytes:")) continue;
      const from = text_offset[at] ?? 0;
      expect(characters.slice(from, from + [...token].length).join("")).toBe(token);
    }
    expect(text_offset.toSorted((a, b) => a - b)).toEqual(text_offset);
    const streamed = chunksOf(await complete({ ...asked, stream: true })).flatMap(({ choices }) => choices);
    expect(streamed.flatMap(({ logprobs }) => logprobs?.tokens ?? [])).toEqual(tokens);
    expect(streamed.flatMap(({ logprobs }) => logprobs?.token_logprobs ?? [])).toEqual(token_logprobs);
    expect(streamed.flatMap(({ logprobs }) => logprobs?.text_offset ?? [])).toEqual(text_offset);
  });

  it("wire row 17: of a prompt alone are what its tokens get when they are generated", async () => {
    const [choice] = await choicesOf({ ...greedy, logprobs: 0 });
    const generated = choice?.logprobs?.token_logprobs ?? [];
    const prompt = [...(await tokensOf(greedy.prompt))];
    const [scored] = await choicesOf({
      ...greedy,
      prompt: `${greedy.prompt}${choice?.text}`,
      max_tokens: 0,
      echo: true,
      logprobs: 0,
    });
    const scores = scored?.logprobs?.token_logprobs ?? [];
    // Where the text splits into the same tokens again.
    if (scores.length === prompt.length + generated.length) {
      for (const [at, logprob] of generated.entries()) {
        expect(scores[prompt.length + at]).toBeCloseTo(logprob ?? 0, 3);
      }
    }
    expect(scores[0]).toBeNull();
    expect(scores.slice(1).every((score) => typeof score === "number" && score <= 0)).toBe(true);
  });
});

describe("steering of completions", () => {
  it("is what the id or the field says, and strength 0 is the base", async () => {
    const sampled = { ...greedy, temperature: 1, seed: 3, max_tokens: 24 };
    const steered = await textsOf(sampled);
    expect(await textsOf({ ...sampled, model: "tiny", steering: { adapter: "alpaca" } })).toEqual(steered);
    expect(await textsOf({ ...sampled, steering: { strength: 0 } })).toEqual(
      await textsOf({ ...sampled, model: "tiny" }),
    );
  });
});
