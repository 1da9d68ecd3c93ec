import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { convert } from "../../src/convert/convert.js";
import { ordinaryText } from "../../src/engine/generation-request.js";
import type { AdmittedRequest } from "../../src/engine/loop/admission.js";
import { EngineLoop } from "../../src/engine/loop/engine-loop.js";
import type { LoopDecoder } from "../../src/engine/loop/running-set.js";
import type { Schedule } from "../../src/engine/loop/scheduler.js";
import { Decoder } from "../../src/model/decoder.js";
import { FinalNorm } from "../../src/model/final-norm.js";
import type { Lane } from "../../src/model/kv-cache.js";
import type { Quantization } from "../../src/model/manifest.js";
import { readModelFolder } from "../../src/model/model-folder.js";
import type { SamplingParams } from "../../src/sampling/sampling-params.js";
import { Adapter } from "../../src/steering/adapter.js";
import type { Steering } from "../../src/steering/steering.js";
import { Tokenizer } from "../../src/text/tokenizer.js";
import { Golden } from "../convert/golden.js";

const source = new URL("../tiny/gqa/", import.meta.url).pathname;
const greedy: SamplingParams = {
  temperature: 0,
  topP: 1,
  topK: null,
  minP: 0,
  presencePenalty: 0,
  frequencyPenalty: 0,
  repetitionPenalty: 1,
  logitBias: [],
  seed: 0,
};

let scratch: string;
const loaded = new Map<Quantization, Awaited<ReturnType<typeof load>>>();

async function load(quantize: Quantization) {
  const out = join(scratch, quantize);
  await convert({ source, out, quantize, adapters: [{ file: join(source, "adapter.safetensors"), name: "tiny" }] });
  const folder = await readModelFolder(out);
  const { manifest, adapters } = folder;
  const decoder = await Decoder.load(join(out, manifest.files.graph.name), manifest.architecture, { threads: 1 });
  const [adapterFolder] = adapters;
  if (adapterFolder === undefined) throw new Error("the adapter was not converted");
  const adapter = await Adapter.load(
    join(adapterFolder.path, adapterFolder.manifest.files.graph.name),
    adapterFolder.manifest,
    { threads: 1 },
  );
  const tokenizer = await Tokenizer.fromFile(join(out, manifest.files.tokenizer.name));
  const finalNorm = await FinalNorm.read(out, manifest);
  return { decoder, adapter, tokenizer, finalNorm, layers: manifest.architecture.layers };
}

beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), "toast-serve-engine-"));
  loaded.set("none", await load("none"));
  loaded.set("int8", await load("int8"));
});

afterAll(async () => {
  await rm(scratch, { recursive: true, force: true });
});

/**
 * Runs requests through one loop, all there at once.
 * @returns the sampled ids of each, read off what its bottom-up lane is fed; so the last one, which is fed to nobody, is not there.
 */
async function run(
  quantize: Quantization,
  requests: readonly Omit<AdmittedRequest, "requestId">[],
  schedule: Schedule = "sequential",
): Promise<number[][]> {
  const model = loaded.get(quantize);
  if (model === undefined) throw new Error("not loaded");
  const { decoder, adapter, tokenizer, finalNorm } = model;
  const fed = new Map<Lane, number[]>();
  const recorder: LoopDecoder = {
    architecture: decoder.architecture,
    takesGuesses: decoder.takesGuesses,
    resumesChunks: decoder.resumesChunks,
    graphMs: 0,
    cache: decoder.cache,
    step: (rows) => {
      for (const row of rows) {
        if (row.lane.kind !== "bottomUp") continue;
        // A draft that was wrong is fed again, rightly, in the same place.
        const ids = fed.get(row.lane) ?? [];
        ids.splice(row.lane.computed, ids.length, ...row.tokenIds);
        fed.set(row.lane, ids);
      }
      return decoder.step(rows);
    },
  };
  const errors: unknown[] = [];
  const loop = new EngineLoop(
    {
      decoder: recorder,
      adapters: new Map([["tiny", adapter]]),
      tokenizer,
      eosIds: new Set(),
      finalNorm,
      limits: {
        maxRunning: 8,
        maxWaiting: 64,
        cacheBytes: 1 << 30,
        prefixBytes: 1 << 30,
        chunkTokens: 16,
        schedule,
        guesses: 0,
      },
    },
    {
      started: () => {},
      prompt: () => {},
      layerMeans: () => {},
      delta: () => {},
      finished: () => {},
      errored: (_, error) => errors.push(error),
    },
  );
  for (const [index, request] of requests.entries()) loop.add({ requestId: String(index), ...request });
  do await nextTurn();
  while (loop.status().running + loop.status().waiting > 0);
  expect(errors).toEqual([]);
  expect(loop.status()).toMatchObject({ lanesInUse: 0, violations: [] });
  // Lanes are first fed in order of arrival.
  return [...fed.values()].map((ids, index) => ids.slice(requests[index]?.promptIds.length));
}

function golden() {
  const file = new Golden(join(source, "golden.safetensors"));
  return {
    prompt: file.ids("input_ids"),
    plain: file.ids("greedy_plain_ids"),
    steered: file.ids("greedy_steered_ids"),
  };
}

function steered(strength = 1): Steering {
  return {
    kind: "steered",
    adapter: "tiny",
    strength,
    layers: [0, (loaded.get("none")?.layers ?? 1) - 1],
    vectors: [],
  };
}

function requestOf(promptIds: readonly number[], steering: Steering, maxTokens = 65) {
  return {
    promptIds,
    textContext: [],
    maxTokens,
    steering,
    stack: null,
    sampling: greedy,
    choices: 1,
    stopStrings: [],
    ignoreEos: false,
    ...ordinaryText,
  };
}

describe("the engine on a real small model", () => {
  it("continues as the PyTorch reference does, plain and steered, 64 greedy tokens", async () => {
    const { prompt, plain, steered: steeredIds } = golden();
    expect(await run("none", [requestOf(prompt, { kind: "plain" })])).toEqual([plain]);
    expect(await run("none", [requestOf(prompt, steered())])).toEqual([steeredIds]);
    expect(plain).not.toEqual(steeredIds);
  });

  it("drafts ahead without changing a token, greedy and sampled, alone and in company", async () => {
    const { prompt } = golden();
    const requests = Array.from({ length: 8 }, (_, index) => ({
      ...requestOf(prompt.slice(0, prompt.length - 3 * index), steered(0.25 + index / 4), 20 + 5 * index),
      sampling: { ...greedy, temperature: (index % 4) / 3, topP: 1 - index / 20, seed: index },
    }));
    const together = await run("int8", requests, "draftAhead");
    expect(together).toEqual(await run("int8", requests, "sequential"));
    for (const [index, request] of requests.entries()) {
      expect((await run("int8", [request], "draftAhead"))[0]).toEqual(together[index]);
    }
  });

  it("gives a request in a batch of 8 the tokens that it gets alone (greedy, int8)", async () => {
    const { prompt } = golden();
    const requests = Array.from({ length: 8 }, (_, index) =>
      requestOf(
        prompt.slice(0, prompt.length - 4 * index),
        index % 3 === 0 ? { kind: "plain" } : steered(index % 3 === 1 ? 1 : 0.5),
        20 + 7 * index,
      ),
    );
    const together = await run("int8", requests);
    for (const [index, request] of requests.entries()) {
      expect(together[index]).toEqual((await run("int8", [request]))[0]);
    }
  });

  it("samples the same text for the same seed, in company or alone, and another for another seed", async () => {
    const { prompt } = golden();
    const request = (seed: number) => ({
      ...requestOf(prompt, steered(), 40),
      sampling: { ...greedy, temperature: 0.9, topP: 0.95, seed },
    });
    const [first, second, again] = await run("int8", [request(1), request(2), request(1)]);
    expect(again).toEqual(first);
    expect(second).not.toEqual(first);
    expect(await run("int8", [request(1)])).toEqual([first]);
  });
});
