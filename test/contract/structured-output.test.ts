import { Ajv2020 } from "ajv/dist/2020.js";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { EngineClient } from "../../src/engine/thread/engine-client.js";
import { openToastTiny } from "../support/toast-tiny.js";
import {
  answerOf,
  chunksOf,
  type Exchange,
  errorOf,
  startTestServer,
  streamedText,
  type TestServer,
} from "./start-test-server.js";

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

const schema = {
  type: "object",
  properties: {
    name: { type: "string", maxLength: 20 },
    population: { type: "integer", minimum: 1, maximum: 50_000_000 },
    share: { type: "number", minimum: 0, maximum: 1 },
    kind: { enum: ["town", "city", "Großstadt 🏙"] },
    mayor: { anyOf: [{ type: "null" }, { $ref: "#/$defs/person" }] },
    districts: { type: "array", items: { $ref: "#/$defs/person" }, maxItems: 2 },
  },
  required: ["name", "population", "share", "kind", "mayor", "districts"],
  additionalProperties: false,
  $defs: {
    person: {
      type: "object",
      properties: { name: { type: "string", pattern: "^[A-ZÄÖÜ][a-zéß]{1,8}$" }, old: { type: "boolean" } },
      required: ["name"],
      additionalProperties: false,
    },
  },
};
const validate = new Ajv2020().compile(schema);
const format = { type: "json_schema" as const, json_schema: { name: "city", schema, strict: true } };
const ask = (model: string) => ({
  model,
  messages: [{ role: "user" as const, content: "Describe a city." }],
  // A model of 11 million parameters takes its time to end a number.
  max_tokens: 480,
});

describe.each(["toast-tiny", "toast-tiny:alpaca"])("structured output of %s", (model) => {
  it("is valid under its schema, for every seed, streamed and not", async () => {
    for (let seed = 0; seed < 3; seed++) {
      const request = { ...ask(model), seed, response_format: format };
      const whole = await server.openai.chat.completions.create(request);
      const [choice] = whole.choices;
      expect(choice?.finish_reason).toBe("stop");
      const value: unknown = JSON.parse(choice?.message.content ?? "");
      expect(validate(value), JSON.stringify(validate.errors)).toBe(true);
      const streamed = await server.chat({ ...request, stream: true });
      expect(streamedText(streamed)).toBe(choice?.message.content);
      expect(chunksOf(streamed).at(-1)?.choices[0]?.finish_reason).toBe("stop");
    }
  });

  it("is an object under json_object, wherever it is complete", async () => {
    let complete = 0;
    for (let seed = 0; seed < 8; seed++) {
      const { choices } = await server.openai.chat.completions.create({
        ...ask(model),
        seed,
        temperature: 1,
        response_format: { type: "json_object" },
      });
      const [choice] = choices;
      if (choice?.finish_reason !== "stop") continue;
      complete++;
      expect(JSON.parse(choice.message.content ?? "")).toBeTypeOf("object");
    }
    expect(complete).toBeGreaterThan(0);
  });

  it("gives n choices of their own, all valid", async () => {
    const { choices } = await server.openai.chat.completions.create({
      ...ask(model),
      n: 3,
      seed: 3,
      response_format: format,
    });
    const texts = choices.map(({ message }) => message.content ?? "");
    for (const text of texts) expect(validate(JSON.parse(text))).toBe(true);
    expect(new Set(texts).size).toBeGreaterThan(1);
  });

  it("keeps to vLLM's fields, under either name", async () => {
    const text = async (fields: object) =>
      answerOf(await server.chat({ ...ask(model), ...fields })).choices[0]?.message.content ?? "";
    expect(["yes", "no"]).toContain(await text({ structured_outputs: { choice: ["yes", "no"] } }));
    expect(["oui ✓", "nein"]).toContain(await text({ guided_choice: ["oui ✓", "nein"] }));
    expect(await text({ guided_regex: " [A-F]{3}\\d{2}" })).toMatch(/^ [A-F]{3}\d{2}$/);
    expect(await text({ structured_outputs: { regex: "\\d{3}" } })).toMatch(/^\d{3}$/);
    expect(["null", "true"]).toContain(await text({ guided_json: { enum: [null, true] } }));
    expect(await text({ structured_outputs: { json: '{"const":"é"}' } })).toBe('"é"');
    expect(await text({ guided_grammar: 'root ::= ("ab" | "c"){2}' })).toMatch(/^(ab|c){2}$/);
  });

  it.each([
    ["llama.cpp's json_object with a schema", { type: "json_object", schema }],
    ["a schema beside the type", { type: "json_schema", schema }],
    ["no name", { type: "json_schema", json_schema: { schema } }],
    ["a name with a blank", { type: "json_schema", json_schema: { name: "a city", schema } }],
  ])("takes the schema from where other servers' clients write it: %s", async (_, response_format) => {
    const [choice] = answerOf(await server.chat({ ...ask(model), seed: 1, response_format })).choices;
    expect(choice?.finish_reason).toBe("stop");
    expect(validate(JSON.parse(choice?.message.content ?? ""))).toBe(true);
  });

  it("writes constants digit for digit as the request's bytes have them", async () => {
    for (const digits of ["9007199254740993", "12345678901234567890", "1e400"]) {
      const bound = `{"type":"object","properties":{"t":{"enum":[${digits}]}},"required":["t"]}`;
      const format = `{"type":"json_schema","json_schema":{"name":"x","schema":${bound}}}`;
      const messages = '[{"role":"user","content":"x"}]';
      const body = `{"model":"${model}","max_tokens":60,"messages":${messages},"response_format":${format}}`;
      expect(answerOf(await server.chat(body)).choices[0]?.message.content).toContain(digits);
    }
  });

  it("goes together with tools: a turn is calls, or a text of the schema", async () => {
    const parameters = { type: "object", properties: { city: { enum: ["Oslo", "Bergen"] } }, required: ["city"] };
    const tools = [{ type: "function", function: { name: "weather", parameters } }];
    const answer = { type: "object", properties: { answer: { enum: ["<tool_call>", "no"] } }, required: ["answer"] };
    const format = { type: "json_schema", json_schema: { name: "a", schema: answer } };
    const request = { ...ask(model), seed: 1, tools, response_format: format };
    const call = answerOf(await server.chat({ ...request, logit_bias: { [await lastToken("a<")]: 100 } })).choices[0];
    const message = call?.message as { tool_calls?: { function: { arguments: string } }[] } | undefined;
    const called = message?.tool_calls?.[0];
    const { city } = JSON.parse(called?.function.arguments ?? "") as { city: string };
    expect(parameters.properties.city.enum).toContain(city);
    const bias = { logit_bias: { [await lastToken("a{")]: 100, [await lastToken("a<")]: 5 } };
    const text = answerOf(await server.chat({ ...request, ...bias })).choices[0];
    expect(text?.finish_reason).toBe("stop");
    const { answer: told } = JSON.parse(text?.message.content ?? "") as { answer: string };
    expect(answer.properties.answer.enum).toContain(told);
    expect(streamedText(await server.chat({ ...request, ...bias, stream: true }))).toBe(text?.message.content);
    const required = answerOf(
      await server.chat({ ...ask(model), tools, response_format: format, tool_choice: "required" }),
    );
    expect(required.choices[0]?.finish_reason).toMatch(/tool_calls|length/);
  });

  it("works for completions as well", async () => {
    const answer = await server.openai.completions.create({
      model,
      prompt: "Is it?",
      ...{ guided_choice: ["yes", "no"] },
    });
    expect(["yes", "no"]).toContain(answer.choices[0]?.text);
  });
});

async function lastToken(text: string): Promise<number> {
  const answer = await server.post("/tokenize", { model: "toast-tiny", prompt: text, add_special_tokens: false });
  const { tokens } = JSON.parse(answer.text) as { tokens: number[] };
  return tokens.at(-1) ?? -1;
}

describe("structured output", () => {
  it("ends at max_tokens as every text does", async () => {
    const answer = answerOf(await server.chat({ ...ask("toast-tiny"), max_tokens: 3, response_format: format }));
    expect(answer.choices[0]?.finish_reason).toBe("length");
  });

  it("ends with its grammar even where an end of sequence is to be ignored, or tokens are missing", async () => {
    for (const fields of [{ ignore_eos: true }, { min_tokens: 50 }]) {
      const answer = answerOf(await server.chat({ ...ask("toast-tiny"), ...fields, guided_choice: ["yes", "no"] }));
      expect(answer.choices[0]?.finish_reason).toBe("stop");
      expect(["yes", "no"]).toContain(answer.choices[0]?.message.content);
    }
  });

  it.each([
    ["response_format.type", { response_format: { type: "yaml" } }],
    ["response_format.json_schema", { response_format: { type: "json_schema" } }],
    [
      "response_format",
      { response_format: { type: "json_schema", json_schema: { name: "a", schema: { type: "nothing" } } } },
    ],
    [
      "response_format",
      { response_format: { type: "json_schema", json_schema: { name: "a", schema: { not: { type: "null" } } } } },
    ],
    ["guided_regex", { guided_regex: "(a" }],
    ["guided_grammar", { guided_grammar: "root ::= nowhere" }],
    ["guided_choice", { guided_choice: [] }],
    ["structured_outputs.regex", { structured_outputs: { regex: "(?<=a)" } }],
    ["structured_outputs.xml", { structured_outputs: { xml: "a" } }],
    ["guided_json", { guided_json: "{" }],
    ["guided_regex", { response_format: { type: "json_object" }, guided_regex: "a" }],
    ["structured_outputs.choice", { structured_outputs: { regex: "a", choice: ["a"] } }],
  ])("is refused before any token, with its field: %s", async (param, fields) => {
    for (const stream of [false, true]) {
      const answer = await server.chat({ ...ask("toast-tiny"), ...fields, stream });
      expect(answer.status).toBe(400);
      expect(errorOf(answer).param).toBe(param);
    }
  });

  it("is refused, and not followed, when it is nested without measure", async () => {
    const deep = `${'{"type":"array","items":'.repeat(3_000)}{}${"}".repeat(3_000)}`;
    const body = `{"model":"toast-tiny","messages":[{"role":"user","content":"x"}],"guided_json":${deep}}`;
    const answer = await server.chat(body);
    expect(answer.status).toBe(400);
    expect(errorOf(answer).param).toBe("guided_json");
  });

  it.each([33, 40, 64])("is kept by each of %i requests at once that bring grammars of their own", async (count) => {
    const answers = await Promise.all(
      Array.from({ length: count }, (_, at) =>
        server.chat({ ...ask("toast-tiny"), max_tokens: 12, guided_regex: `[a-c]{3}${count}-${at}` }),
      ),
    );
    for (const [at, answer] of answers.entries()) {
      expect(answer.status, answer.text).toBe(200);
      expect(answerOf(answer).choices[0]?.message.content).toMatch(new RegExp(`^[a-c]{3}${count}-${at}$`));
    }
  });

  it("that leaves no room on the stack fails its own request alone", async () => {
    const good = { ...ask("toast-tiny"), guided_regex: "[A-F]{3}" };
    const answers = await Promise.all(
      [good, { ...ask("toast-tiny"), guided_choice: ["a".repeat(190_000)] }, good].map((body) => server.chat(body)),
    );
    expect(answers.map(({ status }) => status)).toEqual([200, 400, 200]);
    expect(errorOf(answers[1] as Exchange)).toMatchObject({
      param: "guided_choice",
      message: expect.stringContaining("too long, or nested too deep") as string,
    });
    expect((await server.chat(good)).status).toBe(200);
  });

  it("leaves nothing behind when its client goes while it is written", async () => {
    const controller = new AbortController();
    const gone = server.chat(
      { ...ask("toast-tiny"), guided_regex: "([a-z]{200,300}){3,300}" },
      { signal: controller.signal },
    );
    setTimeout(() => controller.abort(), 100);
    await expect(gone).rejects.toThrow();
    await expect.poll(() => server.running.count, { timeout: 10_000 }).toBe(0);
    const status = await engine.inspect();
    expect(status.running + status.waiting + status.lanesInUse).toBe(0);
    expect(status.violations).toEqual([]);
  });
});
