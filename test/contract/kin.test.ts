import { connect } from "node:net";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { EngineClient } from "../../src/engine/thread/engine-client.js";
import { openToastTiny } from "../support/toast-tiny.js";
import { answerOf, chunksOf, errorOf, startTestServer, streamedText, type TestServer } from "./start-test-server.js";

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

const question = {
  model: "toast-tiny",
  messages: [{ role: "user", content: "Name a city." }],
  temperature: 0,
  max_tokens: 12,
};
const json = async <Answer>(path: string, body: object): Promise<Answer> => {
  const answer = await server.post(path, body);
  expect([path, answer.status, answer.status === 200 ? "" : answer.text]).toEqual([path, 200, ""]);
  return JSON.parse(answer.text) as Answer;
};
const contentOf = async (fields: object) =>
  answerOf(await server.chat({ ...question, ...fields })).choices[0]?.message.content;

describe("fields that change nothing are taken, and change nothing:", () => {
  it.each([
    { reasoning_effort: "low", verbosity: "low", store: true, service_tier: "flex" },
    { prediction: { type: "content", content: "Oslo" }, cache_prompt: true, id_slot: -1, priority: 2 },
    { max_tokens: -1, max_completion_tokens: 12 },
    { extra_body: {}, return_token_ids: false, typical_p: 1 },
  ])("%j", async (fields) => {
    expect(await contentOf(fields)).toBe(await contentOf({}));
  });
});

describe("fields of kin are honoured:", () => {
  it.each([
    { grammar: 'root ::= "yes"' },
    { ebnf: 'root ::= "yes"' },
    { regex: "yes" },
    { structured_outputs: { choice: ["yes"] } },
  ])("%j", async (fields) => {
    expect(await contentOf(fields)).toBe("yes");
  });

  it("json_schema", async () => {
    const schema = { type: "object", properties: { n: { enum: [7] } }, required: ["n"], additionalProperties: false };
    const text = await contentOf({ json_schema: schema, max_tokens: 40 });
    expect(JSON.parse(text ?? "")).toEqual({ n: 7 });
  });

  it("repeat_penalty is repetition_penalty, and both may not differ", async () => {
    expect(await contentOf({ repeat_penalty: 1.8 })).toBe(await contentOf({ repetition_penalty: 1.8 }));
    const both = await server.chat({ ...question, repeat_penalty: 1.8, repetition_penalty: 1.2 });
    expect([both.status, errorOf(both).param]).toEqual([400, "repeat_penalty"]);
  });

  it("allowed_token_ids are the only ones that are drawn", async () => {
    const { tokens } = await json<{ tokens: number[] }>("/tokenize", { prompt: " a b", add_special_tokens: false });
    const answer = answerOf(
      await server.chat({ ...question, temperature: 1, allowed_token_ids: tokens, logprobs: true }),
    );
    const { content } = (answer.choices[0] as unknown as { logprobs: { content: { token: string }[] } }).logprobs;
    const { token_strs } = await json<{ token_strs: string[] }>("/tokenize", {
      prompt: content.map(({ token }) => token).join(""),
      add_special_tokens: false,
      return_token_strs: true,
    });
    expect(content).toHaveLength(12);
    expect(token_strs.length).toBeGreaterThan(0);
    const drawn = new Set(content.map(({ token }) => token.trim()));
    expect([...drawn].every((token) => ["a", "b", ""].includes(token))).toBe(true);
    const outside = await server.chat({ ...question, allowed_token_ids: [999_999] });
    expect([outside.status, errorOf(outside).param]).toEqual([400, "allowed_token_ids"]);
  });

  it("include_stop_str_in_output", async () => {
    const whole = (await contentOf({})) ?? "";
    const stop = whole.slice(3, 6);
    const at = whole.indexOf(stop);
    expect(await contentOf({ stop })).toBe(whole.slice(0, at));
    expect(await contentOf({ stop, include_stop_str_in_output: true })).toBe(whole.slice(0, at + stop.length));
    const streamed = await server.chat({ ...question, stop, include_stop_str_in_output: true, stream: true });
    expect(streamedText(streamed)).toBe(whole.slice(0, at + stop.length));
  });

  it("truncate_prompt_tokens keeps the prompt's end", async () => {
    const { tokens } = await json<{ tokens: number[] }>("/tokenize", { prompt: "one two three four five" });
    const answer = await json<{ usage: { prompt_tokens: number }; choices: { text: string }[] }>("/v1/completions", {
      model: "toast-tiny",
      prompt: "one two three four five",
      truncate_prompt_tokens: 3,
      temperature: 0,
    });
    const same = await json<{ choices: { text: string }[] }>("/v1/completions", {
      model: "toast-tiny",
      prompt: tokens.slice(-3),
      temperature: 0,
    });
    expect(answer.usage.prompt_tokens).toBe(3);
    expect(answer.choices[0]?.text).toBe(same.choices[0]?.text);
    const long = await json<{ usage: { prompt_tokens: number } }>("/v1/completions", {
      model: "toast-tiny",
      prompt: "word ".repeat(3000),
      truncate_prompt_tokens: -1,
      max_tokens: 4,
    });
    const { max_model_len } = await json<{ max_model_len: number }>("/tokenize", { prompt: "a" });
    expect(long.usage.prompt_tokens).toBe(max_model_len - 4);
  });

  it("return_token_ids tells those of the prompt and of all that was sampled, streamed too", async () => {
    interface Told {
      readonly prompt_token_ids?: number[];
      readonly usage: { readonly prompt_tokens: number; readonly completion_tokens: number };
      readonly choices: { index: number; token_ids?: number[]; prompt_token_ids?: number[]; text: string }[];
    }
    const prompt = await json<{ tokens: number[] }>("/tokenize", { messages: question.messages });
    // Held-back text: the stop string cuts tokens off, which were sampled all the same.
    const stop = (await contentOf({}))?.slice(5, 8);
    const cut = { ...question, stop };
    for (const asked of [question, cut, { ...question, n: 2, temperature: 1, seed: 4 }]) {
      const told = await json<Told>("/v1/chat/completions", { ...asked, return_token_ids: true });
      expect(told.prompt_token_ids).toEqual(prompt.tokens);
      const ids = told.choices.map(({ token_ids: own = [] }) => own);
      expect(ids.flat()).toHaveLength(told.usage.completion_tokens);
      const streamed = await server.chat({ ...asked, return_token_ids: true, stream: true });
      const chunks = chunksOf(streamed) as unknown as Told[];
      expect(chunks.flatMap(({ prompt_token_ids: own = [] }) => own)).toEqual(prompt.tokens);
      const inPieces = ids.map((_, choice) =>
        chunks.flatMap(({ choices }) => choices.flatMap((one) => (one.index === choice ? (one.token_ids ?? []) : []))),
      );
      expect(inPieces).toEqual(ids);
    }
    const { tokens } = await json<{ tokens: number[] }>("/tokenize", { prompt: "one two" });
    const body = { model: "toast-tiny", prompt: [tokens, [5, 6]], temperature: 0, max_tokens: 4 };
    const { choices } = await json<Told>("/v1/completions", { ...body, return_token_ids: true });
    expect(choices.map((choice) => choice.prompt_token_ids)).toEqual([tokens, [5, 6]]);
    const first = choices[0] as Told["choices"][number];
    const { prompt: text } = await json<{ prompt: string }>("/detokenize", { tokens: first.token_ids });
    expect(first.text.trim()).toBe(text.trim());
    const plain = await json<Told>("/v1/completions", body);
    expect([plain.choices[0]?.token_ids, plain.choices[0]?.prompt_token_ids]).toEqual([undefined, undefined]);
  });

  it("return_token_ids tells the token that ends the text", async () => {
    const { eos_token } = JSON.parse((await server.exchange("/tokenizer_info")).text) as { eos_token: string };
    const { tokens } = await json<{ tokens: number[] }>("/tokenize", { prompt: eos_token, add_special_tokens: false });
    const ended = { ...question, allowed_token_ids: tokens, return_token_ids: true };
    const { choices } = await json<{ choices: object[] }>("/v1/chat/completions", ended);
    expect(choices).toMatchObject([{ token_ids: tokens, finish_reason: "stop" }]);
    const chunks = chunksOf(await server.chat({ ...ended, stream: true })) as unknown as { choices: object[] }[];
    expect(chunks.flatMap(({ choices: some }) => some.flatMap((one) => Reflect.get(one, "token_ids") ?? []))).toEqual(
      tokens,
    );
  });

  it("typical_p draws from the tokens that are left, and 1 from all", async () => {
    const drawn = { temperature: 1, seed: 7, max_tokens: 24 };
    expect(await contentOf({ ...drawn, typical_p: 1 })).toBe(await contentOf(drawn));
    expect(await contentOf({ ...drawn, typical_p: 0.2 })).not.toBe(await contentOf(drawn));
    expect(await contentOf({ ...drawn, typical_p: 0.2 })).toBe(await contentOf({ ...drawn, typical_p: 0.2 }));
  });

  it("more than four stop strings", async () => {
    expect(await contentOf({ stop: ["§1", "§2", "§3", "§4", "§5", "§6"] })).toBe(await contentOf({}));
  });

  it("skip_special_tokens false writes them out", async () => {
    const { eos_token } = JSON.parse((await server.exchange("/tokenizer_info")).text) as { eos_token: string };
    const eos = { ignore_eos: true, skip_special_tokens: false, max_tokens: 3 };
    const { tokens } = await json<{ tokens: number[] }>("/tokenize", { prompt: eos_token, add_special_tokens: false });
    expect(await contentOf({ ...eos, allowed_token_ids: tokens })).toBe(eos_token.repeat(3));
    expect(await contentOf({ ...eos, skip_special_tokens: true, allowed_token_ids: tokens })).toBe("");
  });
});

describe("what cannot be honoured is refused by name:", () => {
  it.each([
    [{ extra_body: { top_k: 1 } }, "extra_body"],
    [{ typical_p: 0 }, "typical_p"],
    [{ mirostat: 2 }, "mirostat"],
    [{ bad_words: ["x"] }, "bad_words"],
    [{ allowed_token_ids: [5], grammar: 'root ::= "a"' }, "allowed_token_ids"],
  ])("%j", async (fields, param) => {
    const refused = await server.chat({ ...question, ...fields });
    expect([refused.status, errorOf(refused).param]).toEqual([400, param]);
  });
});

describe("histories of agents are taken:", () => {
  const around = (turn: object) => ({ messages: [question.messages[0], turn, question.messages[0]] });
  it.each([
    { role: "assistant", content: null, tool_calls: [] },
    { role: "assistant", content: null },
    { role: "assistant" },
    { role: "assistant", content: [] },
  ])("%j is an answer of nothing", async (turn) => {
    expect(await contentOf(around(turn))).toBe(await contentOf(around({ role: "assistant", content: "" })));
  });

  it("a refusal is what was said", async () => {
    const refusal = { role: "assistant", content: [{ type: "refusal", refusal: "no" }] };
    expect(await contentOf(around(refusal))).toBe(await contentOf(around({ role: "assistant", content: "no" })));
  });
});

describe("stop strings do not cut calls:", () => {
  const save = {
    type: "function",
    function: {
      name: "save",
      parameters: {
        type: "object",
        properties: {
          note: { type: "string", pattern: "^[A-Za-z ]{1,20}$" },
          n: { type: "integer", maximum: 9, minimum: 0 },
        },
        required: ["note", "n"],
      },
    },
  };
  interface Called {
    readonly choices: { message: { tool_calls?: { function: { arguments: string } }[] }; finish_reason: string }[];
  }

  it.each(["}", ", ", '"n"', "\n", "<", "tool_call"])("%j", async (stop) => {
    const request = {
      ...question,
      max_tokens: 120,
      tools: [save],
      tool_choice: "required",
      parallel_tool_calls: false,
    };
    const { choices } = await json<Called>("/v1/chat/completions", { ...request, stop: [stop] });
    expect(choices[0]?.finish_reason).toBe("tool_calls");
    const called = choices[0]?.message.tool_calls?.[0]?.function.arguments ?? "";
    expect(JSON.parse(called)).toMatchObject({ note: expect.any(String), n: expect.any(Number) });
    const chunks = chunksOf(await server.chat({ ...request, stop: [stop], stream: true }));
    const pieces = chunks.flatMap(({ choices: [choice] }) =>
      ((choice?.delta as { tool_calls?: { function: { arguments: string } }[] })?.tool_calls ?? []).map(
        (one) => one.function.arguments,
      ),
    );
    expect(pieces.join("")).toBe(called);
  });
});

describe("responses", () => {
  const body = { model: "toast-tiny", input: "Name a city.", temperature: 0, max_output_tokens: 8 };
  interface Output {
    readonly output: { content: { text: string }[] }[];
    readonly usage: { input_tokens: number } | null;
  }
  const textOf = async (fields: object) =>
    (await json<Output>("/v1/responses", { ...body, ...fields })).output[0]?.content[0]?.text;

  it("take wishes of reasoning models, and items that such a model left", async () => {
    const plain = await textOf({});
    expect(await textOf({ reasoning: { effort: "low", summary: "auto" }, store: true, truncation: "auto" })).toBe(
      plain,
    );
    const items = [
      { type: "reasoning", id: "rs_1", summary: [] },
      { role: "user", content: "Name a city." },
    ];
    expect(await textOf({ input: items, text: { verbosity: "low" } })).toBe(plain);
  });

  it("refuse custom tools and references by name", async () => {
    const custom = await server.post("/v1/responses", { ...body, tools: [{ type: "custom", name: "x" }] });
    expect([custom.status, errorOf(custom).param]).toEqual([400, "tools[0].type"]);
    const reference = await server.post("/v1/responses", { ...body, input: [{ type: "item_reference", id: "msg_1" }] });
    expect([reference.status, errorOf(reference).param]).toEqual([400, "input[0].type"]);
  });

  it("have every key from the first event on, and null for what is not known yet", async () => {
    const stream = await server.post("/v1/responses", {
      ...body,
      stream: true,
      prompt_cache_key: "k",
      max_tool_calls: 3,
    });
    const created = /^data: (.*)$/m.exec(stream.text)?.[1] ?? "";
    const { response } = JSON.parse(created) as { response: Record<string, unknown> };
    expect(response).toMatchObject({
      usage: null,
      max_tool_calls: 3,
      reasoning: null,
      presence_penalty: 0,
      frequency_penalty: 0,
      prompt_cache_key: "k",
      safety_identifier: null,
    });
  });

  it("count their input beforehand", async () => {
    const { usage } = await json<Output>("/v1/responses", body);
    expect(await json("/v1/responses/input_tokens", { model: body.model, input: body.input })).toEqual({
      object: "response.input_tokens",
      input_tokens: usage?.input_tokens,
    });
  });

  it("with tools and a schema are a call or a text of the schema", async () => {
    const tools = [{ type: "function", name: "weather", parameters: { type: "object", properties: {} } }];
    const schema = { type: "object", properties: { a: { enum: [1] } }, required: ["a"], additionalProperties: false };
    const format = { type: "json_schema", name: "a", schema };
    const { output } = await json<{ output: { type: string; arguments?: string; content?: { text: string }[] }[] }>(
      "/v1/responses",
      { ...body, max_output_tokens: 60, tools, text: { format } },
    );
    for (const item of output)
      JSON.parse(item.type === "message" ? (item.content?.[0]?.text ?? "") : (item.arguments ?? ""));
    expect(output.length).toBeGreaterThan(0);
  });
});

describe("tool_choice allowed_tools", () => {
  const tools = ["one", "two"].map((name) => ({ type: "function", function: { name } }));
  const allowed = (mode: string, ...names: string[]) => ({
    type: "allowed_tools",
    allowed_tools: { mode, tools: names.map((name) => ({ type: "function", function: { name } })) },
  });

  it("lets no other be called", async () => {
    const fields = { tools, max_tokens: 60, tool_choice: allowed("required", "two"), parallel_tool_calls: false };
    const { choices } = await json<{ choices: { message: { tool_calls: { function: { name: string } }[] } }[] }>(
      "/v1/chat/completions",
      { ...question, ...fields },
    );
    expect(choices[0]?.message.tool_calls[0]?.function.name).toBe("two");
    const unknown = await server.chat({ ...question, tools, tool_choice: allowed("auto", "three") });
    expect([unknown.status, errorOf(unknown).param]).toEqual([400, "tool_choice"]);
  });
});

describe("prompt_logprobs of completions", () => {
  it("have the rank of each token, whatever is asked beside it", async () => {
    type Entry = Record<string, { logprob: number; rank: number }> | null;
    const ask = async (count: number) =>
      (
        await json<{ choices: { prompt_logprobs: Entry[] }[] }>("/v1/completions", {
          model: "toast-tiny",
          prompt: "Once upon a time",
          max_tokens: 1,
          prompt_logprobs: count,
        })
      ).choices[0]?.prompt_logprobs ?? [];
    const { tokens } = await json<{ tokens: number[] }>("/tokenize", { prompt: "Once upon a time" });
    const [alone, many] = [await ask(0), await ask(20)];
    expect(alone).toHaveLength(tokens.length);
    expect(alone[0]).toBeNull();
    for (const [at, id] of tokens.entries()) {
      if (at === 0) continue;
      const own = alone[at]?.[id];
      expect(Object.keys(alone[at] ?? {})).toEqual([String(id)]);
      const likelier = Object.values(many[at] ?? {}).filter(({ logprob }) => logprob > (own?.logprob ?? 0)).length;
      // Where it is not among the 20, its rank lies behind them.
      if (likelier < 20) expect(own?.rank).toBe(likelier + 1);
      else expect(own?.rank).toBeGreaterThan(20);
      expect(many[at]?.[id]).toEqual(own);
    }
  });
});

describe("tools in text endpoints", () => {
  it("are written as a chat completion has them", async () => {
    const tools = [{ type: "function", function: { name: "frobnicate", parameters: { type: "object" } } }];
    const { messages } = question;
    const { prompt } = await json<{ prompt: string }>("/apply-template", { messages, tools });
    expect(prompt).toContain("frobnicate");
    const { count } = await json<{ count: number }>("/tokenize", { messages, tools });
    const { usage } = answerOf(await server.chat({ ...question, model: "toast-tiny", tools }));
    const { count: steered } = await json<{ count: number }>("/tokenize", { model: "toast-tiny", messages, tools });
    expect(count).toBeGreaterThan(0);
    expect(usage.prompt_tokens).toBe(steered);
  });
});

describe("what clients of kin look for", () => {
  it("is there: /version, /props, /models, a favicon", async () => {
    const get = async (path: string) => server.exchange(path);
    expect(JSON.parse((await get("/version")).text)).toEqual({ version: expect.stringMatching(/^\d+\.\d+\.\d+/) });
    expect(JSON.parse((await get("/props")).text)).toMatchObject({
      default_generation_settings: { n_ctx: expect.any(Number) },
    });
    expect((await get("/models")).text).toBe((await get("/v1/models")).text);
    expect((await get("/favicon.ico")).status).toBe(204);
  });

  it("a request without a model means the only one", async () => {
    const { model: _, ...nameless } = question;
    expect(answerOf(await server.chat(nameless)).model).toBe("toast-tiny");
  });

  it("what no tokenization can bring into the context is refused by its bytes, before it is tokenized", async () => {
    const long = " ".repeat(150_000);
    const message = { role: "user", content: long };
    const { model } = question;
    for (const [path, body, param] of [
      ["/v1/chat/completions", { model, messages: [message] }, "messages"],
      ["/v1/completions", { model, prompt: long }, "prompt"],
      ["/v1/completions", { model, prompt: long, truncate_prompt_tokens: 4 }, "prompt"],
      ["/v1/responses", { model, input: long }, "input"],
    ] as const) {
      const refused = await server.post(path, body);
      expect([refused.status, errorOf(refused).code, errorOf(refused).param]).toEqual([
        400,
        "context_length_exceeded",
        param,
      ]);
      expect(errorOf(refused).message).toMatch(
        /^This model's maximum context length is \d+ tokens.* your prompt has 15/,
      );
      expect(errorOf(refused).message).toContain("bytes");
    }
    const name = "f";
    const tools = [{ type: "function", function: { name, parameters: { type: "object", description: long } } }];
    const asked = await server.post("/tokenize", { model, messages: [{ role: "user", content: "x" }], tools });
    expect([asked.status, errorOf(asked).param]).toEqual([400, "messages"]);
    expect((await server.post("/tokenize", { model, prompt: long })).status).toBe(400);
    expect((await server.chat(question)).status).toBe(200);
  });

  it("the context error opens with OpenAI's words", async () => {
    const long = await server.chat({ ...question, messages: [{ role: "user", content: "word ".repeat(4000) }] });
    expect(errorOf(long).message).toMatch(/^This model's maximum context length is \d+ tokens\. However, /);
  });
});

/** Bytes as they are sent, and all that comes back. */
function talk(port: number, text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1", () => socket.write(text));
    let answer = "";
    socket.on("data", (chunk) => {
      answer += chunk.toString();
    });
    socket.on("close", () => resolve(answer));
    socket.on("error", reject);
  });
}

describe("probes and proxies", () => {
  it.each(["GET /livez HTTP/1.0\r\n\r\n", "GET /health HTTP/1.0\r\nHost:\r\n\r\n", "GET /readyz HTTP/1.0\r\n\r\n"])(
    "%j is answered",
    async (request) => {
      expect(await talk(server.port, request)).toMatch(/^HTTP\/1\.1 200 /);
    },
  );

  it("HTTP/1.1 without a host is refused in the envelope", async () => {
    const answer = await talk(server.port, "GET /livez HTTP/1.1\r\n\r\n");
    expect(answer).toMatch(/^HTTP\/1\.1 400 /);
    expect(answer).toContain('"type":"invalid_request_error"');
  });

  it("a compressed body is refused as such", async () => {
    const body = gzipSync(JSON.stringify(question));
    const refused = await server.chat(body, {
      headers: { "content-type": "application/json", "content-encoding": "gzip" },
    });
    expect([refused.status, errorOf(refused).code]).toEqual([415, "unsupported_encoding"]);
    expect(refused.headers["accept-encoding"]).toBe("identity");
  });
});
