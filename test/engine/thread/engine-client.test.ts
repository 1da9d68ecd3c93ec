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
    ["sampling.logitBias", { sampling: { ...request.sampling, logitBias: [[99_999, 1]] as const } }],
    ["stopTokenIds", { stopTokenIds: [99_999] }],
    ["minTokens", { minTokens: 7 }],
    ["report.promptLogprobs", { report: { logprobs: null, promptLogprobs: 21, explain: false } }],
  ])("refuses a bad %s before anything is computed", async (field, overrides) => {
    await expect(ask(overrides)).rejects.toMatchObject({ code: "invalid_request", field });
  });
});

describe("control vectors of an engine", () => {
  const plain = { kind: "plain" } as const;
  const signal = new AbortController().signal;
  const prompt = [1, 17, 40, 99, 5, 23, 301];
  const textAfter = async (steering: GenerationRequest["steering"]) => {
    const events = await ask({ prompt: { kind: "tokens", ids: prompt }, steering, maxTokens: 12 });
    return events.map((event) => (event.kind === "delta" ? event.text : "")).join("");
  };
  const model = () => {
    if (engine.phase.kind !== "ready") throw new Error("the engine is not ready");
    return engine.phase.model;
  };
  const vectorOf = (name: string, sign: number) => ({
    name,
    directions: new Map([[1, Float32Array.from({ length: model().hiddenSize }, (_, i) => sign * Math.sin(i) * 3)]]),
  });
  const use = (name: string, strength = 1) =>
    ({ kind: "vectors", vectors: [{ name, strength, layers: [0, 1] }] }) as const;

  it("come and go; who has one keeps it", async () => {
    const base = await textAfter(plain);
    await engine.addVector(vectorOf("wave", 1), "add");
    expect(model().vectors).toMatchObject([{ name: "wave", layers: [1, 1] }]);
    const waved = await textAfter(use("wave"));
    expect(waved).not.toBe(base);
    await expect(engine.addVector(vectorOf("wave", -1), "add")).rejects.toMatchObject({ code: "vector_exists" });
    await engine.addVector(vectorOf("wave", -1), "replace");
    expect(await textAfter(use("wave", -1))).toBe(waved);
    const { events } = await engine.generate(
      { ...request, prompt: { kind: "tokens", ids: prompt }, steering: use("wave", -1), maxTokens: 12 },
      signal,
    );
    await engine.removeVector("wave");
    let text = "";
    for await (const event of events) if (event.kind === "delta") text += event.text;
    expect(text).toBe(waved);
    expect(model().vectors).toEqual([]);
    await expect(textAfter(use("wave"))).rejects.toMatchObject({ code: "model_not_found" });
    await expect(engine.removeVector("wave")).rejects.toMatchObject({ code: "model_not_found" });
    expect(await textAfter(plain)).toBe(base);
  });

  it("are made of layer outputs, which are what the stream is at a prompt's end", async () => {
    const steps: number[] = [];
    const [last, again] = await engine.layerOutputs([prompt, prompt], {
      signal,
      onProgress: (done) => steps.push(done),
    });
    const size = model().layers * model().hiddenSize;
    expect([last?.length, steps]).toEqual([size, [1, 2]]);
    expect(again).toEqual(last);
    // What a vector adds behind the last layer is what lies there then, more than before.
    const vector = vectorOf("wave", 1);
    await engine.addVector(vector, "replace");
    const [steered] = await engine.layerOutputs([prompt], { signal, steering: use("wave", 2) });
    await engine.removeVector("wave");
    const hidden = model().hiddenSize;
    const gaps = Array.from({ length: hidden }, (_, i) => (steered?.[hidden + i] ?? 0) - (last?.[hidden + i] ?? 0));
    for (const [i, gap] of gaps.entries()) expect(gap).toBeCloseTo(2 * (vector.directions.get(1)?.[i] ?? 0), 4);
    // The mean over all tokens is the mean of the prompt's beginnings.
    const [mean] = await engine.layerOutputs([prompt], { signal, lastTokens: 100 });
    const beginnings = await engine.layerOutputs(
      prompt.map((_, i) => prompt.slice(0, i + 1)),
      { signal },
    );
    const expected = Array.from(mean ?? [], (_, i) => beginnings.reduce((sum, one) => sum + (one[i] ?? 0), 0) / 7);
    for (const [i, value] of expected.entries()) expect(mean?.[i]).toBeCloseTo(value, 3);
  });

  it("are given up when the signal aborts, between two prompts or in one", async () => {
    const controller = new AbortController();
    const reason = new Error("enough");
    const onProgress = () => controller.abort(reason);
    await expect(engine.layerOutputs([prompt, prompt], { signal: controller.signal, onProgress })).rejects.toBe(reason);
    const other = new AbortController();
    const work = engine.layerOutputs([prompt], { signal: other.signal });
    other.abort(reason);
    await expect(work).rejects.toBe(reason);
    expect(await engine.inspect()).toMatchObject({ running: 0, waiting: 0, lanesInUse: 0, violations: [] });
  });

  it.each([
    ["an id that the vocabulary does not have", [[99_999]], {}, "invalid_request"],
    ["no tokens", [[]], {}, "invalid_request"],
    ["means over no tokens", [prompt], { lastTokens: 0 }, "invalid_request"],
  ])("are not made of %s", async (_, prompts, options, code) => {
    await expect(engine.layerOutputs(prompts, { signal, ...options })).rejects.toMatchObject({ code });
  });

  it("are refused with a sentence when they cannot steer this model", async () => {
    const bad = { name: "bad", directions: new Map([[0, Float32Array.of(1, 2)]]) };
    await expect(engine.addVector(bad, "add")).rejects.toMatchObject({
      code: "invalid_vector",
      message: expect.stringContaining("2 numbers in layer 0"),
    });
  });
});
