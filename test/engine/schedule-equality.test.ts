import { setImmediate as nextTurn } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ordinaryText } from "../../src/engine/generation-request.js";
import { type LoadedModel, loadModel, releaseModel } from "../../src/engine/load-model.js";
import type { AdmittedRequest, EngineLimits } from "../../src/engine/loop/admission.js";
import { EngineLoop } from "../../src/engine/loop/engine-loop.js";
import type { LoopAdapter } from "../../src/engine/loop/running-sequence.js";
import type { TokenReport } from "../../src/engine/token-report.js";
import type { Steering, VectorUse } from "../../src/steering/steering.js";
import { VectorStack } from "../../src/steering/vector-stack.js";
import { builtinTemplates } from "../../src/text/builtin-templates.js";
import { ChatTemplate } from "../../src/text/chat-template.js";
import { toastTiny } from "../support/toast-tiny.js";

const alone: EngineLimits = {
  maxRunning: 1,
  maxWaiting: 1000,
  cacheBytes: 1 << 30,
  prefixBytes: 0,
  chunkTokens: 128,
  schedule: "sequential",
  guesses: 0,
};

let model: LoadedModel;
beforeAll(async () => {
  model = await loadModel(toastTiny, {}, () => {});
});
afterAll(() => releaseModel(model));

/** mulberry32: one scenario a seed. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const sentences = [
  "Give three tips for staying healthy.",
  "Write a short story about a dog who finds a friend.",
  "Explain why the sky is blue, and what makes it red in the evening.",
  "Name the three primary colors. ",
  "The museum was opened in 1871 and has since been rebuilt twice; today it shows paintings of many countries.",
];

function requestsOf(next: () => number, count: number): readonly AdmittedRequest[] {
  const { bos, eos } = model.folder.manifest.tokens;
  const template = new ChatTemplate(builtinTemplates.alpaca, {
    bosToken: bos?.text ?? "",
    eosToken: eos[0]?.text ?? "",
  });
  const pick = <T>(values: readonly T[]): T => values[Math.floor(next() * values.length)] as T;
  const lastLayer = model.folder.manifest.architecture.layers - 1;
  return Array.from({ length: count }, (_, index): AdmittedRequest => {
    // Two to twenty sentences: some prompts are several chunks long, and many begin alike.
    const words = Array.from({ length: 2 + Math.floor(next() ** 2 * 19) }, (_, at) =>
      at < 2 ? (sentences[at] ?? "") : pick(sentences),
    );
    const content = words.join(" ");
    const prompt = template.render([{ role: "user", content }], { addGenerationPrompt: true });
    const vectors =
      next() < 0.4 ? [{ name: pick(["up", "down"]), strength: pick([0.5, -1]), layers: [1, lastLayer] as const }] : [];
    const steering: Steering =
      next() < 0.25
        ? vectors.length === 0
          ? { kind: "plain" }
          : { kind: "vectors", vectors }
        : {
            kind: "steered",
            adapter: pick(["alpaca", "alpaca", "mirror"]),
            strength: pick([0.5, 1, 1, 1.5]),
            layers: next() < 0.7 ? [0, lastLayer] : [1, 2],
            vectors,
          };
    return {
      requestId: String(index),
      caller: `caller ${index % 3}`,
      promptIds: model.tokenizer.encode(prompt, { addSpecialTokens: false }),
      textContext: [],
      maxTokens: 4 + Math.floor(next() ** 2 * 300),
      steering,
      stack: vectors.length === 0 ? null : stackOf(vectors),
      sampling: {
        temperature: pick([0, 0.7, 1]),
        topP: pick([1, 0.9]),
        topK: pick([null, 40]),
        minP: 0,
        presencePenalty: 0,
        frequencyPenalty: 0,
        repetitionPenalty: pick([1, 1.1]),
        logitBias: [],
        seed: index,
      },
      choices: next() < 0.15 ? 2 : 1,
      stopStrings: [],
      ignoreEos: next() < 0.8,
      ...ordinaryText,
      minTokens: next() < 0.2 ? 3 : 0,
      report: {
        logprobs: next() < 0.4 ? 3 : null,
        promptLogprobs: next() < 0.1 ? 2 : null,
        explain: next() < 0.4,
      },
    };
  });
}

/** Of two control vectors with a direction in every layer, about a third as long as what they are added to. */
function stackOf(uses: readonly VectorUse[]): VectorStack {
  const { layers, hiddenSize } = model.folder.manifest.architecture;
  const directionsOf = (name: string) =>
    new Map(
      Array.from({ length: layers }, (_, layer) => {
        const next = random(name.length + layer);
        return [layer, Float32Array.from({ length: hiddenSize }, () => (next() - 0.5) * (layer + 1))] as const;
      }),
    );
  const vectors = uses.map((use) => ({ ...use, directions: directionsOf(use.name) }));
  return new VectorStack(vectors, { layers, hiddenSize });
}

/** The adapter, and one that steers the other way: a second one for this backbone. */
function adaptersOf({ adapters }: LoadedModel): ReadonlyMap<string, LoopAdapter> {
  const alpaca = adapters.get("alpaca");
  if (alpaca === undefined) throw new Error("toast-tiny has no adapter alpaca");
  const mirror: LoopAdapter = {
    graphMs: 0,
    topDown: (hiddenStates, gains) =>
      alpaca.topDown(
        hiddenStates,
        gains.map((gain) => -gain),
      ),
  };
  return new Map<string, LoopAdapter>([
    ["alpaca", alpaca],
    ["mirror", mirror],
  ]);
}

/** All but whether there was a draft, which is the schedule's affair. */
function written(reports: readonly TokenReport[]): string {
  return reports.length === 0 ? "" : JSON.stringify(reports.map((report) => ({ ...report, draft: "" })));
}

function startLoop(limits: EngineLimits) {
  const texts = new Map<string, string>();
  const cancelled = new Set<string>();
  const errors: unknown[] = [];
  const nameOf = (requestId: string, choice: number) => `${requestId}#${choice}`;
  const eosIds = new Set(model.folder.manifest.tokens.eos.map(({ id }) => id));
  const loop = new EngineLoop(
    { ...model, adapters: adaptersOf(model), eosIds, limits },
    {
      started: () => {},
      layerMeans: () => {},
      // Reports are part of what has to be the same, to the last bit.
      prompt: (requestId, reports) => {
        const name = nameOf(requestId, 0);
        texts.set(name, (texts.get(name) ?? "") + written(reports));
      },
      delta: ({ requestId, choice }, text, _, reports) => {
        const name = nameOf(requestId, choice);
        texts.set(name, (texts.get(name) ?? "") + text + written(reports));
      },
      finished: ({ requestId, choice }, reason, usage) => {
        const name = nameOf(requestId, choice);
        texts.set(name, `${texts.get(name) ?? ""} [${reason}, ${usage.completionTokens}]`);
        if (reason === "cancelled") cancelled.add(name);
      },
      errored: (_, error) => errors.push(error),
    },
  );
  const idle = async (): Promise<void> => {
    do await nextTurn();
    while (loop.status().running + loop.status().waiting > 0);
    expect(errors).toEqual([]);
  };
  return { loop, texts, cancelled, idle };
}

describe("a small real model, int8", () => {
  it.each([1, 2])(
    "gives each request the text of the sequential loop alone, whatever the schedule makes of it (scenario %i)",
    async (seed) => {
      const next = random(seed);
      const requests = requestsOf(next, 14);
      const reference = startLoop(alone);
      for (const request of requests) {
        reference.loop.add(request);
        await reference.idle();
      }
      const compare = ({ texts, cancelled }: Pick<ReturnType<typeof startLoop>, "texts" | "cancelled">) => {
        for (const [name, text] of reference.texts) {
          if (!cancelled.has(name)) expect(texts.get(name), `request ${name}`).toBe(text);
        }
      };

      // One after the other again, with guesses wherever the text repeats itself.
      const guessing = startLoop({ ...alone, prefixBytes: 1 << 30, schedule: "draftAhead", guesses: 8 });
      for (const request of requests) {
        guessing.loop.add(request);
        await guessing.idle();
      }
      compare(guessing);
      expect(guessing.loop.status().guesses.accepted).toBeGreaterThan(50);
      expect(guessing.loop.status()).toMatchObject({ lanesInUse: 0, violations: [] });

      // Room for ten blocks: whoever is long pushes others out.
      const cacheBytes = 10 * model.decoder.cache.blockBytes;
      const tight = startLoop({
        ...alone,
        maxRunning: 8,
        cacheBytes,
        prefixBytes: cacheBytes,
        schedule: "draftAhead",
        guesses: 4,
      });
      for (const request of requests) {
        tight.loop.add(request);
        for (let turns = Math.floor(next() * 8); turns > 0; turns--) await nextTurn();
        if (next() < 0.1) tight.loop.cancel(String(Math.floor(next() * requests.length)));
      }
      await tight.idle();
      compare(tight);
      const pressed = tight.loop.status();
      expect(pressed.preemptions).toBeGreaterThan(0);
      expect(pressed.drafts.accepted).toBeGreaterThan(20);
      expect(pressed).toMatchObject({ running: 0, waiting: 0, lanesInUse: 0, cacheBytes: 0, violations: [] });

      // Room for all: everything twice, so that the second time finds what the first has kept.
      const roomy = startLoop({ ...alone, maxRunning: 8, prefixBytes: 1 << 30, schedule: "draftAhead" });
      for (let time = 0; time < 2; time++) {
        roomy.texts.clear();
        for (const request of requests) roomy.loop.add(request);
        await roomy.idle();
        compare(roomy);
      }
      const { prefixTokens, violations } = roomy.loop.status();
      expect(prefixTokens.hit).toBeGreaterThan(0.2 * prefixTokens.queried);
      expect(violations).toEqual([]);
    },
    180_000,
  );
});
