import { join } from "node:path";
import {
  type AdapterManifest,
  type Architecture,
  adapterManifestSchema,
  adapterVersion,
  type BackboneManifest,
  backboneManifestSchema,
  backboneVersion,
  type ManifestFile,
  type Quantization,
  type SamplingDefaults,
} from "../model/manifest.js";
import { adaptersFolderName, manifestFileName } from "../model/model-folder.js";
import { type AdapterWeights, adapterGraph, adapterQuantization } from "./adapter-graph.js";
import type { Calibration } from "./calibration/calibration.js";
import type { ReportTo } from "./convert-progress.js";
import { decoderGraph } from "./decoder-graph.js";
import { residualRotation } from "./decoder-weights.js";
import type { LlamaConfig } from "./llama-config.js";
import { OutputFile } from "./output-file.js";
import { createFolder, makeFolder, writeJson } from "./output-folder.js";
import type { SourceValueProjections } from "./source-model.js";
import type { WeightsFile } from "./weight-layout.js";
import type { TensorRows } from "./weight-source.js";
import { writeWeights } from "./weights-file.js";

/** What an adapter has to know of a backbone's shape. */
export type AdapterConfig = Pick<LlamaConfig, "layers" | "hiddenSize" | "kvHeads" | "headDim">;

/** What an adapter folder takes from the backbone it is made for. */
export interface AdapterBinding {
  readonly config: AdapterConfig;
  readonly backboneSha256: string;
  readonly quantization: Quantization;
}

/** Everything that a backbone's folder is made of, wherever it comes from. */
export interface BackboneParts extends AdapterBinding {
  readonly config: LlamaConfig;
  /** The served model id. */
  readonly id: string;
  /** Under Hugging Face's names (llama-tensors.ts). */
  readonly tensors: TensorRows;
  readonly tokens: BackboneManifest["tokens"];
  /** The bytes of tokenizer.json. */
  readonly tokenizer: Uint8Array;
  readonly chatTemplate: string | null;
  readonly sampling: SamplingDefaults;
  readonly licence: string | null;
  /** What a text told of its layers (int8), or null. */
  readonly calibration: Calibration | null;
  /**
   * The source whose value projections stay beside the backbone, for adapters that come later; absent for random
   * weights.
   */
  readonly valueProjections?: SourceValueProjections;
}

/** Everything that an adapter's folder is made of. */
export interface AdapterParts
  extends Pick<
    AdapterManifest,
    "name" | "kind" | "rank" | "stage" | "features" | "chatTemplate" | "licence" | "presentation"
  > {
  readonly weights: AdapterWeights;
}

/**
 * Makes a model folder, whole or not at all.
 * @throws ToastError as `createFolder` and `writeWeights`.
 */
export async function createModelFolder(
  out: string,
  backbone: BackboneParts,
  adapters: readonly AdapterParts[],
  reportTo: ReportTo,
): Promise<{ readonly manifest: BackboneManifest; readonly adapters: readonly AdapterManifest[] }> {
  return createFolder(out, async (unfinished) => {
    const files = await writeBackbone(unfinished, backbone, reportTo);
    const values =
      backbone.valueProjections === undefined
        ? {}
        : { valueProjections: await backbone.valueProjections.copyTo(unfinished) };
    const written: AdapterManifest[] = [];
    for (const adapter of adapters) {
      const path = join(unfinished, adaptersFolderName, adapter.name);
      written.push(await writeAdapter(path, adapter, backbone, reportTo));
    }
    const manifest = backboneManifestSchema.parse({
      format: "toast-serve/backbone",
      version: backboneVersion,
      id: backbone.id,
      backboneSha256: backbone.backboneSha256,
      architecture: architectureOf(backbone.config),
      quantization: backbone.quantization,
      rotation: residualRotation(backbone.config, backbone.quantization),
      tokens: backbone.tokens,
      chatTemplate: backbone.chatTemplate,
      sampling: backbone.sampling,
      licence: backbone.licence,
      files: { ...files, ...values },
    } satisfies BackboneManifest);
    await writeJson(unfinished, manifestFileName, manifest);
    return { manifest, adapters: written };
  });
}

/** Fills the folder `path`, which is made for it. @throws ToastError as `writeWeights`. */
export async function writeAdapter(
  path: string,
  { weights, ...description }: AdapterParts,
  { config, backboneSha256, quantization: backboneQuantization }: AdapterBinding,
  reportTo: ReportTo,
): Promise<AdapterManifest> {
  await makeFolder(path);
  const quantization = adapterQuantization(backboneQuantization);
  const shape = { layers: config.layers, hiddenSize: config.hiddenSize, kvSize: config.kvHeads * config.headDim };
  const plan = adapterGraph({ shape, features: description.features }, weights, quantization, "adapter.onnx.data");
  const report = reportTo(`Folding adapter ${description.name}`, totalBytes(plan.files));
  const graph = await writeWhole(join(path, "adapter.onnx"), plan.graph);
  const [weightsFile] = await writeWeights(path, plan.files, noTensors, report);
  if (weightsFile === undefined) throw new Error("an adapter has one file of weights");
  const manifest = adapterManifestSchema.parse({
    format: "toast-serve/adapter",
    version: adapterVersion,
    ...description,
    backboneSha256,
    shape,
    quantization,
    files: { graph, weights: weightsFile },
  } satisfies AdapterManifest);
  await writeJson(path, manifestFileName, manifest);
  return manifest;
}

async function writeBackbone(
  path: string,
  { config, quantization, calibration, tensors, tokenizer }: BackboneParts,
  reportTo: ReportTo,
): Promise<BackboneManifest["files"]> {
  const plan = decoderGraph(config, quantization, calibration);
  const report = reportTo("Writing weights", totalBytes(plan.files));
  return {
    graph: await writeWhole(join(path, "decoder.onnx"), plan.graph),
    weights: await writeWeights(path, plan.files, tensors, report),
    tokenizer: await writeWhole(join(path, "tokenizer.json"), tokenizer),
  };
}

/** An adapter's weights are all computed. */
const noTensors: TensorRows = {
  floatRows(name) {
    throw new Error(`an adapter's graph has no tensor ${name}`);
  },
};

async function writeWhole(path: string, bytes: Uint8Array): Promise<ManifestFile> {
  return OutputFile.create(path, (file) => file.append(bytes));
}

function architectureOf(config: LlamaConfig): Architecture {
  const { layers, hiddenSize, heads, kvHeads, headDim, vocabSize, contextLength } = config;
  return { layers, hiddenSize, heads, kvHeads, headDim, vocabSize, contextLength };
}

function totalBytes(files: readonly WeightsFile[]): number {
  return files.flatMap(({ weights }) => weights).reduce((sum, { bytes }) => sum + bytes, 0);
}
