import { createHash } from "node:crypto";
import { readdir } from "node:fs/promises";
import { ToastError } from "../errors.js";
import { type BackboneManifest, noPresentation, type Quantization } from "../model/manifest.js";
import { readModelFolder } from "../model/model-folder.js";
import { builtinTemplates } from "../text/builtin-templates.js";
import { type ConvertProgress, reporter } from "./convert-progress.js";
import { fillerTokenizer } from "./filler-tokenizer.js";
import { modelShapes, type ShapeName } from "./model-shapes.js";
import { createModelFolder } from "./model-writer.js";
import { RandomTensors, randomAdapterWeights } from "./random-tensors.js";

export interface RandomModelOptions {
  readonly shape: ShapeName;
  /** Unsigned 32-bit; the same seed gives the same folder. */
  readonly seed: number;
  readonly quantize: Quantization;
  readonly out: string;
  readonly onProgress?: ((progress: ConvertProgress) => void) | undefined;
  /** Ends the work with the signal's reason; nothing is left behind. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Makes a folder of random weights and one random adapter, named `random`, which the engine serves as it serves any
 * other: what it says means nothing, how fast it says it does. A folder that was made of the same shape, seed and
 * quantization is kept as it is.
 * @throws ToastError `output_exists` when `out` holds anything else, `disk_full`, `write_failed`.
 */
export async function makeRandomModel(options: RandomModelOptions): Promise<BackboneManifest> {
  const { shape, seed, quantize, out } = options;
  const config = modelShapes[shape];
  const backboneSha256 = identityOf(shape, seed);
  const existing = await readExisting(out);
  if (existing !== null) {
    if (existing.backboneSha256 === backboneSha256 && existing.quantization === quantize) return existing;
    const message = `${out} holds ${existing.id} with ${existing.quantization} weights, not ${shape} with ${quantize} weights of seed ${seed}. Remove it or choose another folder.`;
    throw new ToastError("output_exists", message);
  }
  const backbone = {
    id: shape,
    config,
    tensors: new RandomTensors(config, seed),
    backboneSha256,
    quantization: quantize,
    tokens: { bos: { id: 1, text: "<s>" }, eos: [{ id: 2, text: "</s>" }], pad: null },
    tokenizer: fillerTokenizer(config.vocabSize),
    chatTemplate: builtinTemplates.alpaca,
    sampling: {},
    licence: null,
    calibration: null,
  };
  const adapter = {
    name: "random",
    weights: randomAdapterWeights(config, seed),
    kind: "full",
    rank: null,
    stage: "initial",
    features: "raw",
    chatTemplate: null,
    licence: null,
    presentation: noPresentation,
  } as const;
  return (await createModelFolder(out, backbone, [adapter], reporter(options))).manifest;
}

/** Shape and seed say all there is to know of the weights; hashing gigabytes of them would say no more. */
function identityOf(shape: ShapeName, seed: number): string {
  return createHash("sha256")
    .update(JSON.stringify({ random: 1, config: modelShapes[shape], seed }))
    .digest("hex");
}

/** @throws ToastError `output_exists` for a folder with anything but a converted model in it */
async function readExisting(out: string): Promise<BackboneManifest | null> {
  const entries = await readdir(out).catch(() => []);
  if (entries.length === 0) return null;
  const { manifest } = await readModelFolder(out).catch((cause: unknown) => {
    throw new ToastError("output_exists", `${out} is there already and is not a converted model.`, { cause });
  });
  return manifest;
}
