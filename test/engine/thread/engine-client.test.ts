import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { GenerationEvent } from "../../../src/engine/engine.js";
import { type GenerationRequest, ordinaryText } from "../../../src/engine/generation-request.js";
import type { EngineClient } from "../../../src/engine/thread/engine-client.js";
import { openTestModel } from "../../contract/open-test-model.js";

let engine: EngineClient;
let close: () => Promise<void>;

beforeAll(async () => {
  ({ engine, close } = await openTestModel());
});
afterAll(() => close());

const text = "The dog finds a friend";
const request: GenerationRequest = {
  prompt: { kind: "text", text, addSpecialTokens: true },
  steering: { kind: "steered", adapter: "alpaca", strength: 1, layers: [0, 1], vectors: [] },
  sampling: {
    temperature: 0,
    topP: 1,
    topK: null,
    minP: 0,
    presencePenalty: 0,
    frequencyPenalty: 0,
    repetitionPenalty: 1,
    logitBias: [],
    seed: 0,
  },
  choices: 1,
  maxTokens: 6,
  stopStrings: [],
  ignoreEos: true,
  ...ordinaryText,
};

async function ask(overrides: Partial<GenerationRequest>): Promise<GenerationEvent[]> {
  const generation = await engine.generate({ ...request, ...overrides }, new AbortController().signal);
  const events: GenerationEvent[] = [];
  for await (const event of generation.events) events.push(event);
  return events;
}

const textOf = (reports: readonly { bytes: Uint8Array }[]) =>
  new TextDecoder().decode(Uint8Array.from(reports.flatMap(({ bytes }) => [...bytes])));

describe("a request to the engine's thread", () => {
  it("brings back reports of the prompt, once and first, and of the tokens with their text", async () => {
    const events = await ask({ choices: 2, report: { logprobs: 2, promptLogprobs: 1, explain: true } });
    const [first, ...others] = events;
    if (first?.kind !== "prompt") throw new Error("the prompt comes first");
    expect(textOf(first.reports)).toBe(text);
    expect(first.reports.every(({ steering }) => steering !== null)).toBe(true);
    expect(others.every(({ kind }) => kind !== "prompt")).toBe(true);
    for (const choice of [0, 1]) {
      const deltas = others.flatMap((event) => (event.kind === "delta" && event.choice === choice ? [event] : []));
      expect(textOf(deltas.flatMap(({ reports }) => reports))).toBe(deltas.map((delta) => delta.text).join(""));
      expect(deltas.flatMap(({ reports }) => reports.map(({ top }) => top.length))).toEqual([2, 2, 2, 2, 2, 2]);
    }
  });

  it("brings back text alone when nothing else is asked for, and nothing but the end of a request for no tokens", async () => {
    const ordinary = await ask({});
    expect(ordinary.flatMap((event) => (event.kind === "delta" ? event.reports : []))).toEqual([]);
    const usage = { promptTokens: expect.any(Number), cachedTokens: 0, completionTokens: 0 };
    expect(await ask({ maxTokens: 0 })).toMatchObject([{ kind: "finished", choice: 0, reason: "length", usage }]);
  });

  it("honours bias, stop tokens and the least number of tokens", async () => {
    const forced = { ...request.sampling, logitBias: [[70, 100]] as const };
    const end = ({ kind }: GenerationEvent) => kind === "finished";
    const usageOf = async (overrides: Partial<GenerationRequest>) => (await ask(overrides)).find(end);
    expect(await usageOf({ sampling: forced, stopTokenIds: [70] })).toMatchObject({
      reason: "stop",
      usage: { completionTokens: 1 },
    });
    // What would end the text is not drawn, however much it is wanted.
    expect(await usageOf({ sampling: forced, stopTokenIds: [70], minTokens: 3 })).toMatchObject({
      reason: "stop",
      usage: { completionTokens: 4 },
    });
  });

  it.each([
    ["logit_bias", { sampling: { ...request.sampling, logitBias: [[99_999, 1]] as const } }],
    ["stop_token_ids", { stopTokenIds: [99_999] }],
    ["min_tokens", { minTokens: 7 }],
    ["prompt_logprobs", { report: { logprobs: null, promptLogprobs: 21, explain: false } }],
  ])("refuses a bad %s before anything is computed", async (param, overrides) => {
    await expect(ask(overrides)).rejects.toMatchObject({ code: "invalid_request", param });
  });
});
