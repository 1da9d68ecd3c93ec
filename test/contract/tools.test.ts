import { Ajv2020 } from "ajv/dist/2020.js";
import type OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { EngineClient } from "../../src/engine/thread/engine-client.js";
import { openToastTiny } from "../support/toast-tiny.js";
import { chunksOf, errorOf, startTestServer, type TestServer } from "./start-test-server.js";

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

const parameters = {
  weather: {
    type: "object",
    properties: { city: { type: "string", maxLength: 12 }, unit: { enum: ["°C", "°F"] } },
    required: ["city", "unit"],
    additionalProperties: false,
  },
  add: {
    type: "object",
    properties: { numbers: { type: "array", items: { type: "integer", minimum: -99, maximum: 99 }, maxItems: 3 } },
    required: ["numbers"],
    additionalProperties: false,
  },
};
const tools = [
  ...Object.entries(parameters).map(([name, schema]) => ({
    type: "function" as const,
    function: { name, description: `Does what ${name} says.`, parameters: schema },
  })),
  { type: "function" as const, function: { name: "now" } },
];
const ajv = new Ajv2020();
const validators: Record<string, (value: unknown) => boolean> = {
  weather: ajv.compile(parameters.weather),
  add: ajv.compile(parameters.add),
  now: (value) => JSON.stringify(value) === "{}",
};

type Request = OpenAI.ChatCompletionCreateParamsNonStreaming;
const ask = (model: string): Request => ({
  model,
  messages: [{ role: "user", content: "How is the weather in Oslo?" }],
  tools,
  max_tokens: 120,
});

interface Call {
  id: string;
  type: string;
  function: { name: string; arguments: string };
}

function expectValid(calls: readonly Call[]): void {
  expect(new Set(calls.map(({ id }) => id)).size).toBe(calls.length);
  for (const { id, type, function: called } of calls) {
    expect(id).toMatch(/^call_/);
    expect(type).toBe("function");
    expect(validators[called.name]?.(JSON.parse(called.arguments)), `${called.name} ${called.arguments}`).toBe(true);
  }
}

/** A streamed answer put together as clients do. */
async function streamed(request: Request) {
  const exchange = await server.chat({ ...request, stream: true });
  const choices: { content: string; calls: Call[]; reason: string | null; pieces: number }[] = [];
  for (const chunk of chunksOf(exchange)) {
    for (const { index, delta, finish_reason } of chunk.choices as unknown as {
      index: number;
      delta: {
        content?: string;
        tool_calls?: { index: number; id?: string; type?: string; function: { name?: string; arguments: string } }[];
      };
      finish_reason: string | null;
    }[]) {
      choices[index] ??= { content: "", calls: [], reason: null, pieces: 0 };
      const choice = choices[index];
      choice.content += delta.content ?? "";
      choice.reason = finish_reason ?? choice.reason;
      if (finish_reason !== null) expect(delta).toEqual({});
      for (const piece of delta.tool_calls ?? []) {
        choice.pieces++;
        const known = choice.calls[piece.index];
        if (known === undefined) {
          expect(piece.index).toBe(choice.calls.length);
          expect(piece.id).toMatch(/^call_/);
          choice.calls.push({
            id: piece.id ?? "",
            type: piece.type ?? "",
            function: { name: piece.function.name ?? "", arguments: "" },
          });
        } else {
          expect(piece).toEqual({ index: piece.index, function: { arguments: piece.function.arguments } });
          known.function.arguments += piece.function.arguments;
        }
      }
    }
  }
  return choices;
}

const withoutIds = (calls: readonly Call[]) => calls.map(({ function: called }) => called);

describe.each(["toast-tiny", "toast-tiny:alpaca"])("tools of %s", (model) => {
  it("are called when required, with arguments that are valid, the same streamed and not", async () => {
    for (let seed = 0; seed < 2; seed++) {
      const request: Request = { ...ask(model), seed, tool_choice: "required", n: 2 };
      const whole = await server.openai.chat.completions.create(request);
      const parts = await streamed(request);
      for (const [index, { message, finish_reason }] of whole.choices.entries()) {
        const calls = (message.tool_calls ?? []) as Call[];
        expect(message.content).toBeNull();
        expect(calls.length).toBeGreaterThan(0);
        const complete = finish_reason === "length" ? calls.slice(0, -1) : calls;
        expect(["tool_calls", "length"]).toContain(finish_reason);
        expectValid(complete);
        expect(parts[index]?.reason).toBe(finish_reason);
        expect(parts[index]?.content).toBe("");
        expect(withoutIds(parts[index]?.calls ?? [])).toEqual(withoutIds(calls));
      }
    }
  });

  it("are called by name, and once at a time where asked", async () => {
    for (const name of ["weather", "add", "now"]) {
      const request: Request = { ...ask(model), seed: 1, tool_choice: { type: "function", function: { name } } };
      const { choices } = await server.openai.chat.completions.create(request);
      expect(choices[0]?.finish_reason).toBe("tool_calls");
      const calls = (choices[0]?.message.tool_calls ?? []) as Call[];
      expect(calls.map((call) => call.function.name)).toEqual([name]);
      expectValid(calls);
      const [first] = await streamed(request);
      expect(withoutIds(first?.calls ?? [])).toEqual(withoutIds(calls));
      if (name === "weather") expect(first?.pieces).toBeGreaterThan(3);
    }
    const single = { ...ask(model), seed: 2, tool_choice: "required" as const, parallel_tool_calls: false };
    const { choices } = await server.openai.chat.completions.create(single);
    expect(choices[0]?.message.tool_calls).toHaveLength(1);
  });

  it("leave the text free under auto, until it begins a call", async () => {
    const free = { ...ask(model), seed: 1, max_tokens: 40 };
    const plain = await server.openai.chat.completions.create(free);
    expect(plain.choices[0]?.message.tool_calls).toBeUndefined();
    expect(plain.choices[0]?.message.content).toBeTypeOf("string");
    // A stretch of text after which a model that knows tools would call.
    const opening = { ...ask(model), seed: 1, max_tokens: 60, logit_bias: await biasTowards("<tool_call>") };
    const { choices } = await server.openai.chat.completions.create(opening);
    expect(choices[0]?.message.content ?? "").not.toContain("<tool_call>");
  });

  it("are served beside one whose schema cannot be kept, unless that one is strict", async () => {
    const odd = {
      type: "object",
      properties: { ids: { type: "array", items: { type: "object" }, uniqueItems: true } },
    };
    const withOdd = (strict: boolean) => ({
      ...ask(model),
      max_tokens: 8,
      tools: [...tools, { type: "function", function: { name: "odd", parameters: odd, strict } }],
    });
    expect((await server.chat(withOdd(false))).status).toBe(200);
    const refused = await server.chat(withOdd(true));
    expect([refused.status, errorOf(refused).param]).toEqual([400, "tools[3].function.parameters"]);
  });

  it("are not called, nor read for, under none", async () => {
    const request: Request = { ...ask(model), seed: 4, tool_choice: "none", max_tokens: 30 };
    const { choices } = await server.openai.chat.completions.create(request);
    expect(choices[0]?.message.tool_calls).toBeUndefined();
    const { tools: _, tool_choice: __, ...bare } = request;
    const without = await server.openai.chat.completions.create(bare);
    expect(choices[0]?.message.content).toBe(without.choices[0]?.message.content);
  });

  it("take their results back into the conversation", async () => {
    const called = await server.openai.chat.completions.create({
      ...ask(model),
      seed: 5,
      tool_choice: "required",
      parallel_tool_calls: false,
    });
    const message = called.choices[0]?.message;
    const [call] = message?.tool_calls ?? [];
    if (message === undefined || call === undefined) throw new Error("nothing was called");
    const next = await server.openai.chat.completions.create({
      ...ask(model),
      max_tokens: 20,
      messages: [
        { role: "user", content: "How is the weather in Oslo?" },
        message,
        { role: "tool", tool_call_id: call.id, content: '{"degrees": 12}' },
      ],
    });
    expect(next.choices[0]?.message.role).toBe("assistant");
    expect(next.usage?.prompt_tokens).toBeGreaterThan(called.usage?.prompt_tokens ?? 0);
  });

  it("are not cut by stop strings, whatever stands in their arguments", async () => {
    const request: Request = {
      ...ask(model),
      seed: 6,
      stop: ['"unit"'],
      tool_choice: { type: "function", function: { name: "weather" } },
    };
    const whole = await server.openai.chat.completions.create(request);
    const calls = (whole.choices[0]?.message.tool_calls ?? []) as Call[];
    expect(JSON.parse(calls[0]?.function.arguments ?? "")).toBeTypeOf("object");
    const [first] = await streamed(request);
    expect(withoutIds(first?.calls ?? [])).toEqual(withoutIds(calls));
  });
});

async function biasTowards(text: string): Promise<Record<string, number>> {
  const answer = await server.post("/tokenize", { model: "toast-tiny", prompt: text, add_special_tokens: false });
  const { tokens } = JSON.parse(answer.text) as { tokens: number[] };
  return Object.fromEntries(tokens.map((id) => [String(id), 12]));
}

describe("tools", () => {
  it.each([
    ["tools[0].type", { tools: [{ type: "web_search" }] }],
    ["tools[0].function.name", { tools: [{ type: "function", function: { name: "a b" } }] }],
    [
      "tools[0].function.parameters",
      { tools: [{ type: "function", function: { name: "a", parameters: { type: "what" } } }] },
    ],
    ["tools", { tools: [tools[0], tools[0]] }],
    ["tool_choice", { tool_choice: { type: "function", function: { name: "unknown" } } }],
    ["tool_choice", { tools: [], tool_choice: "required" }],
    ["tool_choice", { tool_choice: "sometimes" }],
    ["functions", { functions: [{ name: "a" }] }],
    [
      "messages[1].tool_call_id",
      {
        messages: [
          { role: "user", content: "x" },
          { role: "tool", content: "x" },
        ],
      },
    ],
  ])("are refused with the field at fault: %s", async (param, fields) => {
    const answer = await server.chat({ ...ask("toast-tiny"), ...fields });
    expect(answer.status).toBe(400);
    expect(errorOf(answer).param).toBe(param);
  });
});
