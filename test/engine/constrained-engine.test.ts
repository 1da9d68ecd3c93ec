import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type GenerationRequest, ordinaryText } from "../../src/engine/generation-request.js";
import { schedules } from "../../src/engine/loop/scheduler.js";
import { EngineClient } from "../../src/engine/thread/engine-client.js";
import type { Steering } from "../../src/steering/steering.js";
import { workerUrl } from "../contract/open-test-model.js";
import { toastTiny } from "../support/toast-tiny.js";

const engines = new Map<string, EngineClient>();
beforeAll(async () => {
  for (const schedule of schedules) {
    const engine = new EngineClient({ folder: toastTiny, threads: 1, workerUrl, limits: { schedule, prefixBytes: 0 } });
    engines.set(schedule, engine);
    await engine.ready();
  }
});
afterAll(async () => {
  for (const engine of engines.values()) await engine.close();
});

const schema = JSON.stringify({
  type: "object",
  properties: {
    name: { type: "string", maxLength: 16 },
    size: { type: "integer", minimum: 0, maximum: 500 },
    kind: { enum: ["α", "beta", "γ😀"] },
  },
  required: ["name", "size", "kind"],
});
const constraints: readonly NonNullable<GenerationRequest["constraint"]>[] = [
  { kind: "jsonSchema", schema, param: "response_format" },
  { kind: "regex", pattern: "[A-Z][a-z]{2,8}( [a-z]{1,8}){1,4}\\.", param: "guided_regex" },
  {
    kind: "textWithTags",
    trigger: "<tool_call>",
    tags: [
      {
        begin: '<tool_call>\n{"name": "f", "arguments": ',
        schema,
        isStrict: true,
        end: "}\n</tool_call>",
        param: "tools",
      },
    ],
    atMost: "any",
    param: "tools",
  },
];
const steered: Steering = { kind: "steered", adapter: "alpaca", strength: 1, layers: [0, 5], vectors: [] };

function request(seed: number): GenerationRequest {
  return {
    ...ordinaryText,
    prompt: { kind: "chat", messages: [{ role: "user", content: `Tell me of number ${seed}.` }] },
    steering: seed % 3 === 0 ? { kind: "plain" } : steered,
    sampling: {
      temperature: seed % 2 === 0 ? 1 : 0.7,
      topP: 0.95,
      topK: null,
      minP: 0,
      presencePenalty: 0,
      frequencyPenalty: seed % 4 === 0 ? 0.5 : 0,
      repetitionPenalty: 1,
      logitBias: [],
      seed,
    },
    choices: 1,
    maxTokens: 48,
    stopStrings: [],
    ignoreEos: false,
    constraint: constraints[seed % constraints.length] ?? null,
  };
}

async function textOf(engine: EngineClient, asked: GenerationRequest): Promise<string> {
  const { events } = await engine.generate(asked, new AbortController().signal);
  let text = "";
  for await (const event of events) {
    if (event.kind === "delta") text += event.text;
    if (event.kind === "finished") text += ` [${event.reason}]`;
  }
  return text;
}

const seeds = [1, 2, 3, 4, 5, 6, 7];

describe("a constrained text", () => {
  it("is the same alone and in company, drafted and not", async () => {
    const texts: string[][] = [];
    for (const engine of engines.values()) {
      const alone: string[] = [];
      for (const seed of seeds) alone.push(await textOf(engine, request(seed)));
      texts.push(alone, await Promise.all(seeds.map((seed) => textOf(engine, request(seed)))));
    }
    const [first, ...others] = texts;
    for (const other of others) expect(other).toEqual(first);
    const drafts = (await engines.get("draftAhead")?.inspect())?.drafts;
    expect(drafts?.accepted).toBeGreaterThan(20);
  });

  it("leaves nothing behind", async () => {
    for (const engine of engines.values()) {
      const status = await engine.inspect();
      expect(status.running + status.waiting + status.lanesInUse).toBe(0);
      expect(status.violations).toEqual([]);
    }
  });

  it("is refused before any token when its grammar cannot be compiled, and others go on", async () => {
    const [engine] = engines.values();
    if (engine === undefined) throw new Error("no engine");
    const bad: GenerationRequest = {
      ...request(1),
      constraint: { kind: "grammar", grammar: "root ::= x", param: "guided_grammar" },
    };
    const [refused, text] = await Promise.allSettled([textOf(engine, bad), textOf(engine, request(2))]);
    expect(refused).toMatchObject({ status: "rejected", reason: { code: "invalid_request", param: "guided_grammar" } });
    expect(text.status).toBe("fulfilled");
  });
});
