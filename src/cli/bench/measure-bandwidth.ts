import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { externalWeights } from "../../convert/onnx-proto.js";
import type { ModelFolder } from "../../model/model-folder.js";
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

export async function measureBandwidth(
  model: BenchModel,
  settings: Pick<DecodeSettings, "tokens" | "temperature" | "seed" | "rounds"> & {
    readonly threads: number | undefined;
  },
  stop: AbortSignal,
  onRun: (fraction: number) => void,
): Promise<{ readonly bandwidth: Bandwidth; readonly ratios: readonly Ratio[] }> {
  const weightBytesPerStep = await weightBytesOf(model.folder);
  const reader = await MemoryReader.open(bufferBytes, settings.threads);
  try {
    const results = await inRounds(
      settings.rounds,
      ["machine", "achieved"] as const,
      async (one, round) => {
        if (one === "machine") return reader.read();
        const run = await decode(model, { way: "plain", streams: 1 }, round, settings, stop);
        return (1000 * weightBytesPerStep) / msPerStep(run);
      },
      onRun,
    );
    const [machine = [], achieved = []] = results.map(({ values }) => values);
    const shares = achieved.map((bytes, round) => bytes / (machine[round] ?? Number.NaN));
    return {
      bandwidth: {
        machine: median(machine),
        weightBytesPerStep,
        achieved: median(achieved),
        share: median(shares),
      },
      ratios: [spreadOf("share of the memory's bandwidth, plain step", 1, shares)],
    };
  } finally {
    await reader.release();
  }
}

/** All weights of the decoder but those that are looked up: rotary tables, and an embedding table that is not the head as well. */
async function weightBytesOf({ path, manifest }: ModelFolder): Promise<number> {
  const weights = externalWeights(await readFile(join(path, manifest.files.graph.name)));
  const hasOwnHead = weights.some(({ name }) => name.startsWith("lm_head.weight"));
  return weights
    .filter(({ name }) => !name.startsWith("rotary."))
    .filter(({ name }) => !(hasOwnHead && name.startsWith("model.embed_tokens.weight")))
    .reduce((sum, { bytes }) => sum + bytes, 0);
}
