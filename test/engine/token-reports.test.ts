import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { convert } from "../../src/convert/convert.js";
import { ordinaryText } from "../../src/engine/generation-request.js";
import { type LoadedModel, loadModel, releaseModel } from "../../src/engine/load-model.js";
import type { AdmittedRequest } from "../../src/engine/loop/admission.js";
import { EngineLoop } from "../../src/engine/loop/engine-loop.js";
import type { TokenReport } from "../../src/engine/token-report.js";
import type { LayerRange, Steering } from "../../src/steering/steering.js";
import { Golden } from "../convert/golden.js";

interface Answer {
  readonly prompt: TokenReport[];
  readonly reports: TokenReport[];
  readonly finished: string[];
}

const topTokens = 5;
const everything = { logprobs: topTokens, promptLogprobs: topTokens, explain: true };

describe.each(["gqa", "head-dim-8", "llama3-rope"])("reports of the model %s", (variant) => {
  const source = new URL(`../tiny/${variant}/`, import.meta.url).pathname;
  const golden = new Golden(join(source, "golden.safetensors"));
  const prompt = golden.ids("input_ids");
  let scratch: string;
  let model: LoadedModel;
  let layers: number;

  beforeAll(async () => {
    scratch = await mkdtemp(join(tmpdir(), "toast-serve-reports-"));
    const out = join(scratch, "model");
    await convert({
      source,
      out,
      quantize: "none",
      adapters: [{ file: join(source, "adapter.safetensors"), name: "tiny" }],
    });
    model = await loadModel(out, { threads: 1 }, () => {});
    layers = model.folder.manifest.architecture.layers;
  });
  afterAll(async () => {
    await releaseModel(model);
    await rm(scratch, { recursive: true, force: true });
  });

  const steered = (strength = 1, range: LayerRange = [0, layers - 1]): Steering => ({
    kind: "steered",
    adapter: "tiny",
    strength,
    layers: range,
    vectors: [],
  });

  function startLoop(overrides: { readonly prefixBytes?: number; readonly chunkTokens?: number } = {}) {
    const answers = new Map<string, Answer>();
    const answerOf = (requestId: string): Answer => {
      const known = answers.get(requestId) ?? { prompt: [], reports: [], finished: [] };
      answers.set(requestId, known);
      return known;
    };
    const loop = new EngineLoop(
      {
        ...model,
        eosIds: new Set(),
        limits: {
          maxRunning: 4,
          maxWaiting: 64,
          cacheBytes: 1 << 30,
          prefixBytes: 0,
          chunkTokens: 16,
          schedule: "draftAhead",
          guesses: 0,
          ...overrides,
        },
      },
      {
        started: () => {},
        layerMeans: () => {},
        prompt: (requestId, reports) => answerOf(requestId).prompt.push(...reports),
        delta: ({ requestId }, _, __, reports) => answerOf(requestId).reports.push(...reports),
        finished: ({ requestId }, reason, usage) =>
          answerOf(requestId).finished.push(`${reason}, ${usage.cachedTokens} cached`),
        errored: (requestId, error) => answerOf(requestId).finished.push(error.message),
      },
    );
    const ask = async (...requests: readonly Partial<AdmittedRequest>[]): Promise<Answer[]> => {
      for (const [index, request] of requests.entries()) {
        answers.delete(String(index));
        loop.add({
          requestId: String(index),
          promptIds: prompt,
          textContext: [],
          maxTokens: 64,
          steering: { kind: "plain" },
          stack: null,
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
          stopStrings: [],
          ignoreEos: false,
          ...ordinaryText,
          report: everything,
          ...request,
        });
      }
      do await nextTurn();
      while (loop.status().running + loop.status().waiting > 0);
      expect(loop.status().violations).toEqual([]);
      return requests.map((_, index) => answerOf(String(index)));
    };
    return { ask };
  }

  it.each(["bottom_up", "steered"])("finds the prompt as likely as PyTorch does: %s", async (pass) => {
    const steering: Steering = pass === "steered" ? steered() : { kind: "plain" };
    const logprobs = golden.floats(`${pass}_logprobs`);
    const topIds = golden.ids(`${pass}_top_ids`);
    const topLogprobs = golden.floats(`${pass}_top_logprobs`);
    for (const chunkTokens of [7, 128]) {
      const [answer] = await startLoop({ chunkTokens }).ask({ steering, maxTokens: 0 });
      expect(answer?.finished).toEqual(["length, 0 cached"]);
      expect(answer?.prompt.map(({ id }) => id)).toEqual(prompt);
      expect(answer?.prompt[0]).toMatchObject({ logprob: null, top: [] });
      for (const [at, { logprob, top }] of answer?.prompt.slice(1).entries() ?? []) {
        expect(logprob).toBeCloseTo(logprobs[at] ?? 0, 3);
        expect(top.map(({ id }) => id)).toEqual(topIds.slice(at * topTokens, (at + 1) * topTokens));
        for (const [rank, other] of top.entries()) {
          expect(other.logprob).toBeCloseTo(topLogprobs[at * topTokens + rank] ?? 0, 3);
        }
      }
      const bytes = answer?.prompt.flatMap((report) => [...report.bytes]) ?? [];
      const text = model.tokenizer.decode(prompt, { skipSpecialTokens: true });
      expect(new TextDecoder().decode(Uint8Array.from(bytes))).toBe(text);
    }
  });

  it("explains prompt and answer as PyTorch computes them, with strength and layers applied", async () => {
    const cases: [Steering, (layer: number) => number][] = [
      [steered(), () => 1],
      [steered(0.5), () => 0.5],
      [steered(-2, [1, 1]), (layer) => (layer === 1 ? 2 : 0)],
    ];
    const relevance = golden.floats("relevance");
    const gains = golden.floats("layer_gains");
    for (const [steering, factor] of cases) {
      const [answer] = await startLoop().ask({ steering, maxTokens: 2 });
      for (const [at, { steering: told }] of answer?.prompt.entries() ?? []) {
        expect(told?.relevance).toBeCloseTo(relevance[at] ?? 0, 4);
        for (let layer = 0; layer < layers; layer++) {
          expect(told?.layerGains[layer]).toBeCloseTo(factor(layer) * (gains[at * layers + layer] ?? 0), 3);
        }
      }
      expect(answer?.reports[0]?.steering).toEqual(answer?.prompt.at(-1)?.steering);
    }
  });

  it("reports of each generated token what PyTorch gives at the place that predicts it", async () => {
    const [answer] = await startLoop().ask({ steering: steered() });
    const logprobs = golden.floats("greedy_steered_logprobs");
    const relevance = golden.floats("greedy_relevance");
    const gains = golden.floats("greedy_layer_gains");
    expect(answer?.reports.map(({ id }) => id)).toEqual(golden.ids("greedy_steered_ids"));
    for (const [at, { logprob, top, steering: told, id }] of answer?.reports.entries() ?? []) {
      expect(logprob).toBeCloseTo(logprobs[at] ?? 0, 3);
      expect(top[0]).toMatchObject({ id, logprob });
      expect(told?.relevance).toBeCloseTo(relevance[at] ?? 0, 4);
      for (let layer = 0; layer < layers; layer++) {
        expect(told?.layerGains[layer]).toBeCloseTo(gains[at * layers + layer] ?? 0, 3);
      }
    }
    expect(new Set(answer?.reports.map(({ draft }) => draft)).size).toBeGreaterThan(1);
  });

  it("reports probabilities of the model, whatever bias, penalties and temperature make of them", async () => {
    const asked = { steering: steered(), maxTokens: 1 };
    const sampling = {
      temperature: 1.5,
      topP: 0.9,
      topK: 3,
      minP: 0,
      presencePenalty: 1,
      frequencyPenalty: 1,
      repetitionPenalty: 1.3,
      logitBias: [[77, 100]] as const,
      seed: 1,
    };
    const { ask } = startLoop();
    const [[bare], [bent]] = [await ask(asked), await ask({ ...asked, sampling })];
    expect(bent?.reports[0]?.top).toEqual(bare?.reports[0]?.top);
    expect(bent?.reports[0]?.id).toBe(77);
    expect(bent?.reports[0]?.logprob).toBeLessThan(bare?.reports[0]?.top.at(-1)?.logprob ?? 0);
  });

  it("tells the same of a prompt in company, and of one that was computed before", async () => {
    // Several blocks of the prefix cache.
    const promptIds = [...prompt, ...prompt, ...prompt, ...prompt, ...prompt, ...prompt, ...prompt].slice(0, 270);
    const requests = [
      { promptIds, steering: steered(), maxTokens: 5, report: { ...everything, promptLogprobs: null } },
      { promptIds, steering: steered(), maxTokens: 3 },
      { promptIds: promptIds.slice(3), maxTokens: 7 },
      { promptIds: promptIds.slice(0, 40), steering: steered(2), maxTokens: 30 },
    ];
    const told = ({ prompt, reports }: Answer) => ({
      prompt,
      reports: reports.map((report) => ({ ...report, draft: "none" })),
    });
    const together = startLoop({ prefixBytes: 1 << 30 });
    const first = await together.ask(...requests);
    const again = await together.ask(...requests);
    expect(again.map(({ finished }) => finished)).toEqual([
      ["length, 256 cached"],
      ["length, 0 cached"],
      ["length, 0 cached"],
      ["length, 0 cached"],
    ]);
    for (const [index, request] of requests.entries()) {
      const [alone] = await startLoop().ask(request);
      if (alone === undefined) throw new Error("no answer");
      for (const answers of [first, again]) expectNear(told(answers[index] as Answer), told(alone));
    }
  });

  it("gives a prompt the same bits whether others like it were computed before, to within 16 tokens", async () => {
    const text = [...prompt, ...prompt, ...prompt].slice(0, 90);
    const rest = [...prompt].reverse().slice(0, 30);
    const report = { ...everything, promptLogprobs: null };
    for (const steering of [steered(), { kind: "plain" } as const]) {
      const { ask } = startLoop({ prefixBytes: 1 << 30, chunkTokens: 128 });
      await ask({ promptIds: text, steering, maxTokens: 1 });
      for (const [promptIds, cached] of [
        [text, 80],
        [[...text.slice(0, 50), ...rest], 48],
        [text.slice(0, 65), 48],
        [[...text, ...rest, ...rest], 80],
      ] as const) {
        const request = { promptIds, steering, maxTokens: 12, report };
        const [warm] = await ask(request);
        const [cold] = await startLoop({ chunkTokens: 128 }).ask(request);
        expect(warm?.finished).toEqual([`length, ${cached} cached`]);
        expect(warm?.reports).toEqual(cold?.reports);
      }
    }
  });
});

/** Equal in everything but the last bits of numbers: in float32 products depend on what else is in the batch. */
function expectNear(actual: unknown, expected: unknown): void {
  const rounded = (value: unknown) =>
    JSON.parse(JSON.stringify(value, (_, part) => (typeof part === "number" ? Number(part.toPrecision(3)) : part)));
  expect(rounded(actual)).toEqual(rounded(expected));
}
