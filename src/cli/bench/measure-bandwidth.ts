import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { ModelFolder } from "../../model/model-folder.js";
import { externalWeights } from "../../model/onnx-proto.js";
import type { BenchModel } from "./bench-model.js";
import { type DecodeSettings, decode } from "./measure-decode.js";
import { MemoryReader } from "./memory-reader.js";
import { type Ratio, spreadOf } from "./ratios.js";
import { inRounds } from "./rounds.js";
import { median } from "./statistics.js";
import { msPerStep } from "./stream-run.js";

/** How near a plain step of one stream comes to what memory gives. */
export interface Bandwidth {
  /** Bytes per second that onnxruntime's threads read from a large buffer. */
  readonly machine: number;
  /** Weights that every step reads; the cache of keys and values is not counted. */
  readonly weightBytesPerStep: number;
  /** weightBytesPerStep by the time of a step. */
  readonly achieved: number;
  readonly share: number;
}

/** Larger than the last cache of large servers. */
const bufferBytes = 2 ** 30;

/** @returns bytes of weights per second that a plain step of one stream reads, one figure a round. */
export async function measureWeightReading(
  model: BenchModel,
  settings: Pick<DecodeSettings, "tokens" | "temperature" | "seed" | "rounds">,
  stop: AbortSignal,
  onRun: (fraction: number) => void,
): Promise<{ readonly weightBytesPerStep: number; readonly achieved: readonly number[] }> {
  const weightBytesPerStep = await weightBytesOf(model.folder);
  const [result] = await inRounds(
    settings.rounds,
    ["achieved"] as const,
    async (_, round) => {
      const run = await decode(model, { way: "plain", streams: 1 }, round, settings, stop);
      return (1000 * weightBytesPerStep) / msPerStep(run);
    },
    onRun,
  );
  return { weightBytesPerStep, achieved: result?.values ?? [] };
}

/**
 * Compares that with what memory gives. To be called when no engine is loaded any more: threads of sessions that have
 * just run spin for a while, and what is read beside them is read at half the speed.
 */
export async function measureBandwidth(
  { weightBytesPerStep, achieved }: { readonly weightBytesPerStep: number; readonly achieved: readonly number[] },
  { threads, rounds }: { readonly threads: number | undefined; readonly rounds: number },
): Promise<{ readonly bandwidth: Bandwidth; readonly ratio: Ratio }> {
  const machine = await memoryRate(threads, rounds);
  const shares = achieved.map((bytes) => bytes / machine);
  return {
    bandwidth: { machine, weightBytesPerStep, achieved: median(achieved), share: median(shares) },
    ratio: spreadOf("share of the memory's bandwidth, plain step", 1, shares),
  };
}

/** Bytes per second that memory gives; median of `rounds` readings. */
async function memoryRate(threads: number | undefined, rounds: number): Promise<number> {
  const reader = await MemoryReader.open(bufferBytes, threads);
  try {
    // The first reading warms up.
    await reader.read();
    const rates: number[] = [];
    for (let round = 0; round < rounds; round++) rates.push(await reader.read());
    return median(rates);
  } finally {
    await reader.release();
  }
}

/**
 * All weights of the decoder but those that are looked up: rotary tables, and an embedding table that is not the head
 * as well.
 */
async function weightBytesOf({ path, manifest }: ModelFolder): Promise<number> {
  const weights = externalWeights(await readFile(join(path, manifest.files.graph.name)));
  const hasOwnHead = weights.some(({ name }) => name.startsWith("lm_head.weight"));
  const read = weights
    .filter(({ name }) => !name.startsWith("rotary."))
    .filter(({ name }) => !(hasOwnHead && name.startsWith("model.embed_tokens.weight")));
  // By place: a tied head and the embedding are one table under two names.
  return [...new Map(read.map(({ offset, bytes }) => [offset, bytes])).values()].reduce((sum, bytes) => sum + bytes, 0);
}
