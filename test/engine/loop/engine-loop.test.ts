import { setImmediate as nextTurn } from "node:timers/promises";
import { beforeAll, describe, expect, it } from "vitest";
import { ordinaryText } from "../../../src/engine/generation-request.js";
import type { AdmittedRequest, EngineLimits } from "../../../src/engine/loop/admission.js";
import { EngineLoop } from "../../../src/engine/loop/engine-loop.js";
import type { LoopAdapter } from "../../../src/engine/loop/running-sequence.js";
import type { LoopDecoder } from "../../../src/engine/loop/running-set.js";
import { schedules } from "../../../src/engine/loop/scheduler.js";
import type { TokenReport } from "../../../src/engine/token-report.js";
import { ToastError } from "../../../src/errors.js";
import type { DecoderRow, RowResult } from "../../../src/model/decoder.js";
import { KvCache, type Lane } from "../../../src/model/kv-cache.js";
import { type Steering, type VectorUse, vectorsOf } from "../../../src/steering/steering.js";
import { VectorStack } from "../../../src/steering/vector-stack.js";
import { Tokenizer } from "../../../src/text/tokenizer.js";

const architecture = {
  layers: 2,
  hiddenSize: 1,
  heads: 1,
  kvHeads: 1,
  headDim: 1,
  vocabSize: 64,
  contextLength: 512,
};
const { layers, vocabSize } = architecture;
const eosId = 3;

function mix(a: number, b: number): number {
  const x = Math.imul(a ^ Math.imul(b, 0x9e3779b1), 0x85ebca6b);
  return (x ^ (x >>> 15)) >>> 0;
}

/**
 * A decoder whose state is a hash of everything a lane was fed, kept where keys and values are kept: in the real cache.
 * Whatever the schedule does wrong (a token twice, a lane mixed up, a block copied wrongly, top-down values of another
 * sequence) changes the text. The two passes agree on the best token about every other time, as those of a trained
 * model do.
 */
class ScriptedDecoder implements LoopDecoder {
  readonly architecture = architecture;
  readonly takesGuesses = true;
  readonly resumesChunks = true;
  readonly graphMs = 0;
  readonly cache = new KvCache(architecture);
  failNext = false;
  widest = 0;
  tokensComputed = 0;

  async step(rows: readonly DecoderRow[]): Promise<RowResult[]> {
    await nextTurn();
    if (this.failNext) {
      this.failNext = false;
      throw new ToastError("engine_failed", "scripted failure");
    }
    this.widest = Math.max(this.widest, new Set(rows.map((row) => row.lane)).size);
    return rows.map((row): RowResult => {
      const hiddenStates = new Float32Array(row.tokenIds.length);
      const states: number[] = [];
      const layerOutputs = Array.from({ length: row.layerOutputs ? layers : 0 }, () => new Float32Array(hiddenStates));
      for (const [t, token] of row.tokenIds.entries()) {
        let state = mix(this.#stateOf(row.lane), token);
        if (row.topDown) {
          const { values, total, from } = row.topDown;
          const added = Array.from({ length: layers }, (_, l) => values[l * total + from + t] ?? 0);
          for (const value of added) state = mix(state, Math.round(value));
        }
        for (const value of row.addition ?? []) state = mix(state, Math.round(1000 * value));
        hiddenStates[t] = state % 9973;
        for (const [layer, outputs] of layerOutputs.entries()) {
          outputs[t] = ((state >>> layer) % 997) + (row.addition?.[layer] ?? 0);
        }
        states.push(state);
        this.#append(row.lane, state);
      }
      const logitsFrom = (first: number): Float32Array =>
        joined(states.slice(first).map((state, t) => logitsOf(row.tokenIds[first + t] ?? 0, state)));
      const first = { none: states.length, last: states.length - 1, all: 0 }[row.logits];
      return { hiddenStates, logits: logitsFrom(first), layerOutputs };
    });
  }

  /** Halves of 16 bits, which a float32 holds exactly: the upper one as key, the lower one as value. */
  #append(lane: Lane, state: number): void {
    this.cache.reserve(lane, 1);
    for (let layer = 0; layer < layers; layer++) {
      this.cache.write([lane], layer, 1, Float32Array.of(state >>> 16), Float32Array.of(state & 0xffff));
    }
    this.cache.advance(lane, 1);
    this.tokensComputed++;
  }

  #stateOf(lane: Lane): number {
    if (lane.computed === 0) return 1;
    // [L,2,KV,1,Hd] of the last token; all layers hold the same.
    const copies = this.cache.copyOut(lane, lane.computed - 1, 1);
    expect(copies.slice(0, 2)).toEqual(copies.slice(2, 4));
    return ((copies[0] ?? 0) * 0x10000 + (copies[1] ?? 0)) >>> 0;
  }
}

/** Mostly what follows the token, in part what the pass makes of everything before it. */
function logitsOf(token: number, state: number): Float32Array {
  return Float32Array.from(
    { length: vocabSize },
    (_, id) => (mix(token, id + 1) % 1000) / 100 + (mix(state, id + 1) % 1000) / 500,
  );
}

function joined(rows: readonly Float32Array[]): Float32Array {
  const all = new Float32Array(rows.length * vocabSize);
  for (const [t, row] of rows.entries()) all.set(row, t * vocabSize);
  return all;
}

/** Top-down values that depend on the token's hidden state, the adapter and the gains. */
function scriptedAdapter(factor: number): LoopAdapter {
  return {
    graphMs: 0,
    async topDown(hiddenStates, gains) {
      await nextTurn();
      const tokens = hiddenStates.length;
      const topDownValues = new Float32Array(layers * tokens);
      for (let l = 0; l < layers; l++) {
        for (let n = 0; n < tokens; n++) {
          topDownValues[l * tokens + n] = (hiddenStates[n] ?? 0) * factor * (gains[n * layers + l] ?? 0);
        }
      }
      return { relevance: hiddenStates.map((state) => (state % 101) / 100), topDownValues };
    },
  };
}

interface Outcome {
  text: string;
  tokens: number;
  end: string;
  readonly prompt: TokenReport[];
  readonly reports: TokenReport[];
}

const nothingYet = (): Outcome => ({ text: "", tokens: 0, end: "", prompt: [], reports: [] });

const limits: EngineLimits = {
  maxRunning: 4,
  maxWaiting: 100,
  cacheBytes: 1 << 30,
  prefixBytes: 1 << 30,
  chunkTokens: 4,
  schedule: "sequential",
  guesses: 0,
};
let tokenizer: Tokenizer;

beforeAll(async () => {
  tokenizer = await Tokenizer.fromFile(new URL("../../tiny/gqa/tokenizer.json", import.meta.url).pathname);
});

const nameOf = (requestId: string, choice: number) => (choice === 0 ? requestId : `${requestId}#${choice}`);

function startLoop(overrides: Partial<EngineLimits> = {}) {
  const decoder = new ScriptedDecoder();
  const outcomes = new Map<string, Outcome>();
  const means = new Map<string, Float32Array>();
  const vectors = new Map<string, Float32Array>();
  /** Request ids, in the order in which they left the queue. */
  const starts: string[] = [];
  const drafts: string[] = [];
  const outcome = (id: string): Outcome => {
    const known = outcomes.get(id) ?? nothingYet();
    outcomes.set(id, known);
    return known;
  };
  const loop = new EngineLoop(
    {
      decoder,
      adapters: new Map([
        ["one", scriptedAdapter(1)],
        ["two", scriptedAdapter(3)],
      ]),
      tokenizer,
      eosIds: new Set([eosId]),
      // Two numbers of one, so that vectors of length 1 differ.
      finalNorm: { of: (states) => Float32Array.from([...states].flatMap((state) => [state, 5000])) },
      limits: { ...limits, ...overrides },
    },
    {
      started: (requestId, queueMs) => {
        starts.push(requestId);
        expect(queueMs).toBeGreaterThanOrEqual(0);
      },
      layerMeans: (requestId, values) => means.set(requestId, values),
      prompt: (requestId, reports) => {
        expect(outcome(requestId)).toEqual(nothingYet());
        outcome(requestId).prompt.push(...reports);
      },
      delta: ({ requestId, choice }, text, tokens, reports) => {
        const id = nameOf(requestId, choice);
        outcome(id).text += text;
        outcome(id).tokens += tokens;
        drafts.push(...reports.map(({ draft }) => draft));
        // Whether there was a draft is the schedule's affair, and a preemption's.
        outcome(id).reports.push(...reports.map((report) => ({ ...report, draft: "none" as const })));
      },
      finished: ({ requestId, choice }, reason, usage, pooled) => {
        if (pooled !== null) vectors.set(requestId, pooled);
        outcome(nameOf(requestId, choice)).end = `${reason} ${usage.promptTokens}+${usage.completionTokens}`;
      },
      errored: (requestId, error) => {
        outcome(requestId).end = `error ${error.code}`;
      },
    },
  );
  const idle = async (): Promise<void> => {
    do await nextTurn();
    while (loop.status().running + loop.status().waiting > 0);
  };
  return { loop, decoder, outcomes, starts, drafts, means, vectors, idle };
}

const directions = {
  happy: new Map([
    [0, Float32Array.of(3)],
    [1, Float32Array.of(5)],
  ]),
  sad: new Map([[1, Float32Array.of(-7)]]),
};

/** What the engine makes of a request's control vectors when it is admitted. */
function stackOf(steering: Steering): VectorStack | null {
  const uses = vectorsOf(steering);
  if (uses.length === 0) return null;
  const vectors = uses.map((use) => ({ ...use, directions: directions[use.name as keyof typeof directions] }));
  return new VectorStack(vectors, architecture);
}

const happy: VectorUse = { name: "happy", strength: 0.5, layers: [0, 1] };
const sad: VectorUse = { name: "sad", strength: -2, layers: [1, 1] };

function request(index: number): AdmittedRequest {
  const steerings: Steering[] = [
    { kind: "plain" },
    { kind: "steered", adapter: "one", strength: 1, layers: [0, 1], vectors: [] },
    { kind: "steered", adapter: "two", strength: 2, layers: [0, 1], vectors: [] },
    { kind: "steered", adapter: "one", strength: 1, layers: [1, 1], vectors: [] },
    { kind: "vectors", vectors: [happy] },
    { kind: "vectors", vectors: [happy, sad] },
    { kind: "steered", adapter: "one", strength: 1, layers: [0, 1], vectors: [happy] },
  ];
  const steering = steerings[index % steerings.length] ?? { kind: "plain" };
  const maxTokens = 1 + (mix(index, 9) % 20);
  return {
    requestId: `request-${index}`,
    choices: 1,
    promptIds: Array.from({ length: 1 + (mix(index, 7) % 17) }, (_, i) => 4 + (mix(index, i) % 60)),
    textContext: [],
    maxTokens,
    steering,
    stack: stackOf(steering),
    sampling: {
      temperature: index % 3 === 0 ? 0 : 1,
      topP: 1,
      topK: null,
      minP: 0,
      presencePenalty: 0,
      frequencyPenalty: 0,
      repetitionPenalty: 1,
      logitBias:
        index % 5 === 1
          ? [
              [7, 3],
              [9, -100],
              [eosId, 2],
            ]
          : [],
      seed: index,
    },
    stopStrings: [],
    ignoreEos: false,
    ...ordinaryText,
    minTokens: Math.min(maxTokens, mix(index, 4) % 6),
    stopTokenIds: index % 4 === 3 ? [11, 12] : [],
    // Every second one wants to know all that can be known, half of these of the prompt as well.
    report: {
      logprobs: index % 2 === 1 ? 3 : null,
      promptLogprobs: index % 8 > 4 ? 2 : null,
      explain: index % 2 === 1,
    },
  };
}

/** What the plain sequential loop gives this request when it is served alone: the measure of everything else. */
async function alone(index: number): Promise<Outcome | undefined> {
  const { loop, outcomes, idle } = startLoop();
  loop.add(request(index));
  await idle();
  return outcomes.get(`request-${index}`);
}

describe("EngineLoop", () => {
  it.each(schedules)(
    "gives the text of alone while memory runs out and sequences are preempted: %s",
    async (schedule) => {
      // Room for six blocks; a request of the longest kind takes six by itself.
      const cacheBytes = 6 * new KvCache(architecture).blockBytes;
      const { loop, outcomes, idle } = startLoop({ schedule, cacheBytes, maxRunning: 8 });
      const long = (index: number): AdmittedRequest => ({
        ...request(index),
        promptIds: Array.from({ length: 60 + (mix(index, 5) % 120) }, (_, i) => 4 + (mix(index % 3, i) % 60)),
        maxTokens: 60 + (mix(index, 9) % 150),
        ignoreEos: true,
      });
      for (let index = 0; index < 12; index++) {
        loop.add({ ...long(index), caller: `caller ${index % 5 < 3 ? 0 : index % 5}` });
        for (let turns = mix(index, 3) % 40; turns > 0; turns--) await nextTurn();
        if (index === 7) loop.cancel("request-5");
        expect(loop.status().violations).toEqual([]);
      }
      await idle();
      expect(loop.status().preemptions).toBeGreaterThan(2);
      for (let index = 0; index < 12; index++) {
        if (outcomes.get(`request-${index}`)?.end.startsWith("cancelled")) continue;
        const single = startLoop();
        single.loop.add(long(index));
        await single.idle();
        expect(outcomes.get(`request-${index}`)).toEqual(single.outcomes.get(`request-${index}`));
      }
      const { prefixBytes, ...status } = loop.status();
      expect(status).toMatchObject({ running: 0, waiting: 0, lanesInUse: 0, cacheBytes: 0, violations: [] });
      expect(prefixBytes).toBeLessThanOrEqual(cacheBytes);
    },
  );

  it("computes a repeated prompt and the history of a chat once, for the base and for each way of steering", async () => {
    const { loop, decoder, idle, outcomes } = startLoop({ chunkTokens: 64 });
    const promptIds = Array.from({ length: 300 }, (_, i) => 4 + (mix(1, i) % 60));
    const ask = async (name: string, steering: Steering, ids: readonly number[]) => {
      const before = decoder.tokensComputed;
      loop.add({
        ...request(0),
        requestId: name,
        promptIds: ids,
        maxTokens: 20,
        steering,
        stack: stackOf(steering),
        ignoreEos: true,
      });
      await idle();
      return decoder.tokensComputed - before;
    };
    const one: Steering = { kind: "steered", adapter: "one", strength: 1, layers: [0, 1], vectors: [] };
    const two: Steering = { kind: "steered", adapter: "two", strength: 1, layers: [0, 1], vectors: [] };
    expect(await ask("first", one, promptIds)).toBeGreaterThanOrEqual(600);
    // Two full blocks of 128 in both lanes and 32 tokens of a third; then 12 of the prompt and the answer.
    expect(await ask("again", one, promptIds)).toBeLessThan(2 * (12 + 20) + 20);
    // The bottom-up lane is everybody's.
    expect(await ask("another adapter", two, promptIds)).toBeLessThan(300 + 12 + 2 * 20 + 20);
    expect(await ask("base", { kind: "plain" }, promptIds)).toBeLessThan(12 + 20 + 1);
    expect(outcomes.get("again")).toEqual(outcomes.get("first"));
    expect(loop.status().prefixTokens).toEqual({ queried: 1200, hit: 288 + 0 + 288 });
    // Control vectors are one pass, whose keys and values are nobody else's; by content, not by name or order.
    const vectors: Steering = { kind: "vectors", vectors: [happy, sad] };
    expect(await ask("vectors", vectors, promptIds)).toBe(300 + 19);
    expect(await ask("vectors again", { kind: "vectors", vectors: [sad, happy] }, promptIds)).toBe(12 + 19);
    expect(await ask("other strength", { kind: "vectors", vectors: [happy] }, promptIds)).toBe(300 + 19);
    expect(await ask("over an adapter", { ...one, vectors: [happy] }, promptIds)).toBeGreaterThan(300);
    expect(outcomes.get("vectors again")).toEqual(outcomes.get("vectors"));
    expect(outcomes.get("over an adapter")?.text).not.toBe(outcomes.get("first")?.text);
    expect(loop.status().violations).toEqual([]);
  });

  it("goes on from a chat's history without computing it again, to the last token", async () => {
    const { loop, decoder, outcomes, idle } = startLoop({ chunkTokens: 64 });
    const promptIds = Array.from({ length: 50 }, (_, i) => 4 + (mix(2, i) % 60));
    const turn = { ...request(1), requestId: "turn 1", promptIds, maxTokens: 30, ignoreEos: true };
    // The ids of an answer are not told, but they are fed: all except the last.
    const fed: number[] = [];
    const step = decoder.step.bind(decoder);
    decoder.step = (rows) => {
      for (const row of rows) if (row.lane.kind === "steered") fed.push(...row.tokenIds);
      return step(rows);
    };
    loop.add(turn);
    await idle();
    const sampled = fed.slice(50);
    expect(sampled).toHaveLength(29);
    const before = decoder.tokensComputed;
    const nextTurnIds = [...promptIds, ...sampled, 7, 8, 9];
    loop.add({ ...turn, requestId: "turn 2", promptIds: nextTurnIds, maxTokens: 1 });
    await idle();
    expect(decoder.tokensComputed - before).toBe(2 * 3);
    const cold = startLoop({ chunkTokens: 64 });
    cold.loop.add({ ...turn, requestId: "turn 2", promptIds: nextTurnIds, maxTokens: 1 });
    await cold.idle();
    expect(outcomes.get("turn 2")).toEqual(cold.outcomes.get("turn 2"));
  });

  it.each(schedules)(
    "gives every request its text, and a small one its turn, while one caller asks for all there is: %s",
    async (schedule) => {
      const { loop, decoder, outcomes, idle } = startLoop({ schedule });
      const greedy = { ...request(1), caller: "a", promptIds: [5, 6, 7, 8, 9], maxTokens: 100, ignoreEos: true };
      loop.add({ ...greedy, choices: 20 });
      for (let index = 2; index < 20; index++) loop.add({ ...greedy, requestId: `request-${index}` });
      while (loop.status().running < limits.maxRunning) await nextTurn();
      const before = loop.status().forwards;
      loop.add({ ...request(7), requestId: "small", caller: "b", maxTokens: 8, minTokens: 0, ignoreEos: true });
      while ((outcomes.get("small")?.end ?? "") === "") await nextTurn();
      // Its prompt and its tokens, in turn with the others' prompts: no hundred tokens of anybody's.
      expect(loop.status().forwards - before).toBeLessThan(70);
      expect(loop.status().violations).toEqual([]);
      await idle();
      expect(decoder.widest).toBeGreaterThanOrEqual(limits.maxRunning);
      const single = startLoop({ maxRunning: 1 });
      single.loop.add({ ...greedy, choices: 20 });
      await single.idle();
      for (const [name, outcome] of single.outcomes) expect(outcomes.get(name)).toEqual(outcome);
      expect(outcomes.get("request-9")).toEqual(single.outcomes.get("request-1"));
      expect(loop.status()).toMatchObject({ running: 0, waiting: 0, lanesInUse: 0, cacheBytes: 0, violations: [] });
    },
  );

  it("computes a small prompt between the pieces of another caller's long ones", async () => {
    const { loop, outcomes, idle } = startLoop({ chunkTokens: 4, maxRunning: 8, prefixBytes: 0 });
    const long = { ...request(0), caller: "a", promptIds: Array.from({ length: 400 }, (_, i) => 4 + (i % 60)) };
    for (let index = 0; index < 3; index++) loop.add({ ...long, requestId: `long-${index}`, maxTokens: 1 });
    while (loop.status().running < 3) await nextTurn();
    loop.add({ ...request(0), requestId: "small", caller: "b", promptIds: [5, 6, 7, 8], maxTokens: 1 });
    while ((outcomes.get("small")?.end ?? "") === "") await nextTurn();
    expect(loop.status().forwards).toBeLessThan(20);
    await idle();
  });

  it("takes a small request when one caller has filled the queue", async () => {
    const { loop, outcomes, idle } = startLoop({ maxWaiting: 4 });
    for (let index = 0; index < 4; index++) loop.add({ ...request(index), caller: "a" });
    expect(() => loop.add({ ...request(5), caller: "a" })).toThrow("4 requests are already waiting");
    loop.add({ ...request(6), caller: "b" });
    await idle();
    expect(outcomes.get("request-6")).toEqual(await alone(6));
  });

  it.each(schedules)(
    "gives every request the text that it gets alone, whoever comes and goes: %s",
    async (schedule) => {
      const { loop, decoder, outcomes, idle } = startLoop({ schedule });
      for (let index = 0; index < 40; index++) {
        // Of three callers, who get lanes from each other.
        loop.add({ ...request(index), caller: `caller ${mix(index, 8) % 3}` });
        for (let turns = mix(index, 3) % 12; turns > 0; turns--) await nextTurn();
        if (index % 7 === 6) loop.cancel(`request-${index - 2}`);
        expect(loop.status().violations).toEqual([]);
      }
      await idle();
      expect(decoder.widest).toBeGreaterThanOrEqual(limits.maxRunning);
      let compared = 0;
      for (let index = 0; index < 40; index++) {
        const served = outcomes.get(`request-${index}`);
        if (served?.end.startsWith("cancelled")) continue;
        expect(served).toEqual(await alone(index));
        compared++;
      }
      expect(compared).toBeGreaterThan(30);
      expect(loop.status()).toMatchObject({ running: 0, waiting: 0, lanesInUse: 0, cacheBytes: 0, violations: [] });
    },
  );

  it("computes the prompt of several choices once, and gives each choice a text of its own, the same every time", async () => {
    for (const schedule of schedules) {
      const asked = { ...request(2), promptIds: [5, 6, 7, 8, 9, 10, 11, 12, 13], maxTokens: 12, ignoreEos: true };
      const sampled = { ...asked, sampling: { ...asked.sampling, temperature: 1 } };
      const { loop, decoder, outcomes, idle } = startLoop({ schedule, maxRunning: 3 });
      loop.add({ ...sampled, choices: 5 });
      await idle();
      const texts = [0, 1, 2, 3, 4].map((choice) => outcomes.get(nameOf(asked.requestId, choice)));
      expect(new Set(texts.map((outcome) => outcome?.text)).size).toBe(5);
      expect(texts.map((outcome) => outcome?.end)).toEqual(new Array(5).fill("length 9+12"));
      // Two of the five had to wait for a place, and computed the prompt again; drafts that failed are computed twice.
      const { drafts, violations } = loop.status();
      const wrong = drafts.proposed - drafts.accepted;
      expect(decoder.tokensComputed).toBeLessThanOrEqual(2 * 9 * 3 + 2 * 5 * 11 + wrong);
      expect(violations).toEqual([]);
      const single = startLoop();
      single.loop.add(sampled);
      await single.idle();
      expect(texts[0]).toEqual(single.outcomes.get(asked.requestId));
    }
  });

  it("cancels every choice of a request, also those that have not begun", async () => {
    const { loop, outcomes, idle } = startLoop({ maxRunning: 2 });
    loop.add({ ...request(1), choices: 4, maxTokens: 400, ignoreEos: true });
    for (let turns = 0; turns < 40; turns++) await nextTurn();
    loop.cancel("request-1");
    await idle();
    for (const choice of [0, 1, 2, 3]) expect(outcomes.get(nameOf("request-1", choice))?.end).toMatch(/^cancelled/);
    expect(loop.status().lanesInUse).toBe(0);
    loop.add({ ...request(2), choices: 3 });
    loop.cancel("request-2");
    for (const choice of [0, 1, 2]) expect(outcomes.get(nameOf("request-2", choice))?.end).toMatch(/^cancelled/);
    await idle();
  });

  it("gives other text for another adapter, strength, layer range or stack of control vectors", async () => {
    const texts = new Set<string>();
    for (const { steering, stack } of [0, 1, 2, 3, 4, 5, 6].map(request)) {
      const { loop, outcomes, idle } = startLoop();
      loop.add({ ...request(5), maxTokens: 20, steering, stack });
      await idle();
      texts.add(outcomes.get("request-5")?.text ?? "");
    }
    expect(texts.size).toBe(7);
  });

  it("tells how far control vectors lie along the stream, before and behind what they add", async () => {
    const { loop, outcomes, idle } = startLoop({ chunkTokens: 64 });
    const steering: Steering = { kind: "vectors", vectors: [sad, happy] };
    const promptIds = Array.from({ length: 140 }, (_, i) => 4 + (mix(3, i) % 60));
    const asked = { ...request(1), promptIds, steering, stack: stackOf(steering), maxTokens: 5, ignoreEos: true };
    loop.add({ ...asked, requestId: "first" });
    await idle();
    const { prompt, reports } = outcomes.get("first") ?? nothingYet();
    expect([prompt.length, reports.length]).toEqual([140, 5]);
    for (const { vectors } of [...prompt, ...reports]) {
      // One channel: the unit of a positive direction is 1, of a negative one -1. Layer 1 gets 0.5 · 5 + 2 · 7.
      expect(vectors.map(({ name, before }) => [name, before.length])).toEqual([
        ["sad", 1],
        ["happy", 2],
      ]);
      const gaps = vectors.map(({ before, after }) => after.map((value, at) => (value ?? 0) - (before[at] ?? 0)));
      expect(gaps).toEqual([[-16.5], [1.5, 16.5]]);
    }
    // What the prefix cache has is computed again: it does not know what lay behind the layers.
    loop.add({ ...asked, requestId: "again" });
    await idle();
    expect(outcomes.get("again")).toEqual(outcomes.get("first"));
  });

  it("looks behind the layers at a prompt's last tokens, whatever is in the prefix cache", async () => {
    const { loop, decoder, outcomes, means, idle } = startLoop({ chunkTokens: 64 });
    const promptIds = Array.from({ length: 140 }, (_, i) => 4 + (mix(4, i) % 60));
    const look = async (requestId: string, layerMeans: number) => {
      const before = decoder.tokensComputed;
      const plain = { ...request(0), steering: { kind: "plain" }, stack: null } as const;
      loop.add({ ...plain, requestId, promptIds, maxTokens: 0, layerMeans });
      await idle();
      expect(outcomes.get(requestId)?.end).toBe("length 140+0");
      return decoder.tokensComputed - before;
    };
    expect(await look("all", 1000)).toBe(140);
    expect(await look("last", 1)).toBe(12);
    expect(await look("all again", 140)).toBe(140);
    expect(means.get("all again")).toEqual(means.get("all"));
    expect(means.get("last")).not.toEqual(means.get("all"));
    // Behind 112 tokens: 127 are of no interest, and a chunk is gone on with at multiples of 16.
    expect(await look("last thirteen", 13)).toBe(28);
  });

  it("pools a prompt's hidden states the same in company, under preemption and behind kept prefixes", async () => {
    const pooled = (index: number, pooling: "mean" | "last") => ({
      ...request(index),
      requestId: `${index} ${pooling}`,
      promptIds: Array.from({ length: 150 + index }, (_, i) => 4 + (mix(index, i) % 60)),
      maxTokens: 0,
      pooling,
    });
    const requests = [0, 1, 2, 4, 6].flatMap((index) => [pooled(index, "mean"), pooled(index, "last")]);
    const alone = new Map<string, Float32Array | undefined>();
    for (const one of requests) {
      const { loop, vectors, idle } = startLoop();
      loop.add(one);
      await idle();
      alone.set(one.requestId, vectors.get(one.requestId));
      expect(Math.hypot(...(vectors.get(one.requestId) ?? []))).toBeCloseTo(1, 6);
    }
    expect(new Set([...alone.values()].map(String)).size).toBe(requests.length);

    const cacheBytes = 6 * new KvCache(architecture).blockBytes;
    const { loop, vectors, outcomes, idle } = startLoop({ cacheBytes, maxRunning: 8 });
    // The same prompts are there already, and others' texts are written meanwhile.
    for (const { pooling: _, ...one } of requests) {
      loop.add({ ...one, requestId: `text ${one.requestId}`, maxTokens: 120, ignoreEos: true, caller: one.requestId });
    }
    for (const one of requests) {
      for (let turns = 0; turns < 30; turns++) await nextTurn();
      loop.add(one);
    }
    await idle();
    expect(Object.fromEntries(vectors)).toEqual(Object.fromEntries(alone));
    expect(loop.status().preemptions).toBeGreaterThan(0);
    expect(outcomes.get("1 mean")?.end).toBe("length 151+0");
  });

  it("keeps nothing of a prompt that is pooled, and takes what is kept where the last token is all that counts", async () => {
    const { loop, decoder, idle } = startLoop({ chunkTokens: 64 });
    const promptIds = Array.from({ length: 140 }, (_, i) => 4 + (mix(4, i) % 60));
    const computed = async (own: Partial<AdmittedRequest>) => {
      const before = decoder.tokensComputed;
      loop.add({ ...request(0), requestId: JSON.stringify(own), promptIds, maxTokens: 0, ...own });
      await idle();
      return decoder.tokensComputed - before;
    };
    expect(await computed({ pooling: "mean" })).toBe(140);
    expect(loop.status().prefixBytes).toBe(0);
    expect(await computed({ caller: "a text" })).toBe(140);
    expect(await computed({ pooling: "last" })).toBe(12);
    expect(await computed({ pooling: "mean", caller: "again" })).toBe(140);
  });

  it("computes control vectors alone in one pass", async () => {
    const { loop, idle } = startLoop({ schedule: "draftAhead" });
    loop.add({ ...request(4), promptIds: [5, 6, 7], maxTokens: 9, ignoreEos: true });
    await idle();
    const { forwards, rows, drafts } = loop.status();
    expect({ forwards, rows, drafts }).toEqual({
      forwards: 9,
      rows: { bottomUp: 0, steered: 9 },
      drafts: { proposed: 0, accepted: 0 },
    });
  });

  it("counts two forwards for a steered token and one for a plain one, in the sequential schedule", async () => {
    for (const [index, lanes] of [
      [0, 1],
      [1, 2],
    ] as const) {
      const { loop, idle, outcomes } = startLoop();
      loop.add({ ...request(index), promptIds: [9, 9], maxTokens: 6 });
      await idle();
      const tokens = Number(outcomes.get(`request-${index}`)?.end.split("+")[1]);
      expect(loop.status().forwards).toBe(lanes * tokens);
    }
  });

  it("tells of the prompt once, before all choices, and of each choice its own tokens", async () => {
    for (const promptLogprobs of [null, 2]) {
      const { loop, outcomes, idle } = startLoop({ schedule: "draftAhead", maxRunning: 3 });
      const asked = { ...request(1), promptIds: [5, 6, 7, 8, 9, 10, 11], maxTokens: 9, ignoreEos: true, minTokens: 0 };
      const report = { logprobs: 2, promptLogprobs, explain: true };
      loop.add({ ...asked, choices: 4, sampling: { ...asked.sampling, temperature: 1 }, report });
      await idle();
      const choices = [0, 1, 2, 3].map((choice) => outcomes.get(nameOf(asked.requestId, choice)));
      expect(choices.map((outcome) => outcome?.prompt.length)).toEqual([7, 0, 0, 0]);
      const last = choices[0]?.prompt.at(-1);
      expect(choices[0]?.prompt.map(({ logprob }) => logprob !== null)).toEqual(
        asked.promptIds.map((_, at) => promptLogprobs !== null && at > 0),
      );
      for (const choice of choices) {
        expect(choice?.reports).toHaveLength(9);
        expect(choice?.reports[0]?.steering).toEqual(last?.steering);
        const bytes = choice?.reports.flatMap((report) => [...report.bytes]) ?? [];
        expect(new TextDecoder().decode(Uint8Array.from(bytes))).toBe(choice?.text);
      }
      expect(new Set(choices.map((choice) => choice?.text)).size).toBe(4);
    }
  });

  it("computes the prompt alone when no tokens are asked for, and tells of it", async () => {
    const { loop, outcomes, idle, decoder } = startLoop({ schedule: "draftAhead" });
    const report = { logprobs: null, promptLogprobs: 1, explain: false };
    for (const index of [1, 4]) {
      loop.add({
        ...request(index),
        promptIds: [5, 6, 7, 8, 9, 10, 11],
        choices: 2,
        maxTokens: 0,
        minTokens: 0,
        report,
      });
      await idle();
      const [first, second] = [0, 1].map((choice) => outcomes.get(nameOf(`request-${index}`, choice)));
      expect(first).toMatchObject({ text: "", reports: [], end: "length 7+0" });
      expect(first?.prompt.map(({ top }) => top.length)).toEqual([0, 1, 1, 1, 1, 1, 1]);
      expect(second).toMatchObject({ text: "", reports: [], prompt: [], end: "length 7+0" });
    }
    expect(decoder.tokensComputed).toBe(2 * 7 + 7);
    expect(loop.status()).toMatchObject({ running: 0, waiting: 0, lanesInUse: 0, violations: [] });
  });

  it("tells the same of a prompt that it finds in the prefix cache, and computes again only what needs logits", async () => {
    const { loop, decoder, outcomes, idle } = startLoop({ chunkTokens: 64 });
    const promptIds = Array.from({ length: 300 }, (_, i) => 4 + (mix(1, i) % 60));
    const ask = async (requestId: string, index: number, promptLogprobs: number | null) => {
      const before = decoder.tokensComputed;
      const report = { logprobs: null, promptLogprobs, explain: true };
      loop.add({ ...request(index), requestId, promptIds, maxTokens: 0, minTokens: 0, report });
      await idle();
      return decoder.tokensComputed - before;
    };
    const promptOf = (requestId: string) => outcomes.get(requestId)?.prompt;
    expect(await ask("cold", 1, null)).toBe(600);
    expect(await ask("warm", 1, null)).toBe(2 * 12);
    expect(promptOf("warm")).toEqual(promptOf("cold"));
    expect(new Set(promptOf("cold")?.map(({ steering }) => steering?.relevance)).size).toBeGreaterThan(50);
    expect(await ask("scored", 1, 2)).toBe(300 + 12);
    const cold = startLoop({ chunkTokens: 64 });
    const report = { logprobs: null, promptLogprobs: 2, explain: true };
    cold.loop.add({ ...request(1), requestId: "scored", promptIds, maxTokens: 0, minTokens: 0, report });
    await cold.idle();
    expect(promptOf("scored")).toEqual(cold.outcomes.get("scored")?.prompt);
    expect(
      promptOf("scored")?.every(
        ({ steering }, at) => steering?.relevance === promptOf("cold")?.[at]?.steering?.relevance,
      ),
    ).toBe(true);
    expect(await ask("plain", 0, null)).toBe(12);
    expect(await ask("plain scored", 0, 2)).toBe(300);
    expect(promptOf("plain")?.every(({ steering }) => steering === null)).toBe(true);
  });

  it("takes what nobody asks the likelihood of from the prefix cache, and tells the same of the rest", async () => {
    const { loop, decoder, outcomes, idle } = startLoop({ chunkTokens: 64 });
    const promptIds = Array.from({ length: 300 }, (_, i) => 4 + (mix(1, i) % 60));
    const ask = async (requestId: string, index: number, promptLogprobsFrom?: number) => {
      const before = decoder.tokensComputed;
      const wanted = { logprobs: null, promptLogprobs: 2, explain: false };
      const report = promptLogprobsFrom === undefined ? wanted : { ...wanted, promptLogprobsFrom };
      loop.add({ ...request(index), requestId, promptIds, maxTokens: 0, minTokens: 0, report });
      await idle();
      return decoder.tokensComputed - before;
    };
    expect(await ask("whole", 0)).toBe(300);
    const whole = outcomes.get("whole")?.prompt ?? [];
    // A hit ends at a multiple of 16 tokens, and a token's logits are those of the place before it.
    for (const [from, computed] of [
      [257, 44],
      [256, 60],
      [299, 12],
      [0, 300],
    ] as const) {
      expect(await ask(`from ${from}`, 0, from)).toBe(computed);
      const told = outcomes.get(`from ${from}`)?.prompt;
      expect(told?.slice(from)).toEqual(whole.slice(from));
      expect(told?.slice(0, from).every(({ logprob, top }) => logprob === null && top.length === 0)).toBe(true);
    }
    const steered = await ask("steered", 1);
    expect(steered).toBe(600 - 288);
    expect(await ask("steered from 257", 1, 257)).toBe(44 + 12);
    expect(outcomes.get("steered from 257")?.prompt.slice(257)).toEqual(outcomes.get("steered")?.prompt.slice(257));
  });

  it("fails a request alone whose logits cannot be reported", async () => {
    const { loop, decoder, outcomes, idle } = startLoop();
    const step = decoder.step.bind(decoder);
    decoder.step = async (rows) => {
      const results = await step(rows);
      for (const [index, row] of rows.entries())
        if (row.logits === "all") results[index]?.logits.fill(Number.NaN, 0, 1);
      return results;
    };
    const report = { logprobs: null, promptLogprobs: 1, explain: false };
    loop.add({ ...request(4), promptIds: [5, 6, 7, 8, 9], report });
    loop.add(request(2));
    await idle();
    expect(outcomes.get("request-4")?.end).toBe("error engine_failed");
    expect(outcomes.get("request-2")).toEqual(await alone(2));
    expect(loop.status()).toMatchObject({ lanesInUse: 0, violations: [] });
  });

  it.each([0, 2])(
    "ends all choices of a request where one fails, with one error, and nobody else's: token %i",
    async (token) => {
      const { loop, decoder, outcomes, idle } = startLoop({ maxRunning: 3 });
      const step = decoder.step.bind(decoder);
      let sampled = 0;
      decoder.step = async (rows) => {
        const results = await step(rows);
        for (const [index, row] of rows.entries()) {
          if (row.lane.kind === "steered" && row.logits === "last" && sampled++ === token)
            results[index]?.logits.fill(Number.NaN);
        }
        return results;
      };
      loop.add({ ...request(1), choices: 5, maxTokens: 50, minTokens: 0, ignoreEos: true });
      loop.add(request(4));
      await idle();
      expect(outcomes.get("request-1")?.end).toBe("error engine_failed");
      for (const choice of [1, 2, 3, 4]) expect(outcomes.get(nameOf("request-1", choice))?.end ?? "").toBe("");
      expect(outcomes.get("request-4")).toEqual(await alone(4));
      expect(loop.status()).toMatchObject({ running: 0, waiting: 0, lanesInUse: 0, violations: [] });
      expect(loop.usesAdapter("one")).toBe(false);
    },
  );

  it("tells which tokens had been guessed", async () => {
    const { loop, drafts, idle } = startLoop({ schedule: "draftAhead" });
    const report = { logprobs: 0, promptLogprobs: null, explain: false };
    loop.add({ ...request(1), maxTokens: 100, ignoreEos: true, minTokens: 0, report });
    await idle();
    const { proposed, accepted } = loop.status().drafts;
    const count = (kind: string) => drafts.filter((draft) => draft === kind).length;
    expect(drafts).toHaveLength(100);
    expect([count("accepted"), count("refused")]).toEqual([accepted, proposed - accepted]);
    expect(accepted).toBeGreaterThan(10);
  });

  it("saves a forward with every draft that comes true", async () => {
    const { loop, idle, outcomes } = startLoop({ schedule: "draftAhead" });
    loop.add({ ...request(1), promptIds: [9, 9], maxTokens: 100 });
    await idle();
    const tokens = Number(outcomes.get("request-1")?.end.split("+")[1]);
    const { forwards, drafts } = loop.status();
    expect(drafts.accepted).toBeGreaterThan(tokens / 10);
    expect(drafts.accepted).toBeLessThan(drafts.proposed);
    expect(forwards).toBe(2 * tokens - drafts.accepted);
  });

  it("stops a cancelled request before its next forward and frees both lanes", async () => {
    const { loop, outcomes, idle } = startLoop();
    loop.add({ ...request(1), maxTokens: 400 });
    for (let turns = 0; turns < 20; turns++) await nextTurn();
    const before = loop.status();
    expect(before.lanesInUse).toBe(2);
    loop.cancel("request-1");
    await idle();
    const after = loop.status();
    expect(after.forwards - before.forwards).toBeLessThanOrEqual(1);
    expect(after.lanesInUse).toBe(0);
    expect(outcomes.get("request-1")?.end).toMatch(/^cancelled/);
  });

  it("cancels a request that still waits", async () => {
    const { loop, outcomes, idle } = startLoop({ maxRunning: 1 });
    loop.add(request(1));
    loop.add(request(2));
    loop.cancel("request-2");
    expect(outcomes.get("request-2")?.end).toMatch(/^cancelled \d+\+0$/);
    await idle();
    expect(outcomes.get("request-1")?.end).toMatch(/^(stop|length)/);
  });

  it("tells once of each request that it has left the queue, however many choices it has", async () => {
    const { loop, starts, idle } = startLoop({ maxRunning: 2 });
    loop.add({ ...request(1), choices: 3 });
    loop.add(request(2));
    loop.add(request(3));
    loop.cancel("request-3");
    await idle();
    expect(starts).toEqual(["request-1", "request-2"]);
  });

  it("refuses what would wait behind too many", () => {
    const { loop } = startLoop({ maxWaiting: 2 });
    loop.add(request(1));
    loop.add(request(2));
    expect(() => loop.add(request(3))).toThrow(/already waiting/);
  });

  it("tells the requests of a failed forward, frees their lanes and serves the next one", async () => {
    const { loop, decoder, outcomes, idle } = startLoop();
    decoder.failNext = true;
    loop.add(request(1));
    await idle();
    expect(outcomes.get("request-1")?.end).toBe("error engine_failed");
    expect(loop.status().lanesInUse).toBe(0);
    loop.add(request(2));
    await idle();
    expect(outcomes.get("request-2")).toEqual(await alone(2));
  });
});
