import { stat } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { ToastError } from "../errors.js";
import {
  type AdapterManifest,
  type Architecture,
  adapterManifestSchema,
  type BackboneManifest,
  backboneManifestSchema,
  manifestVersion,
  modelIdPattern,
  type Quantization,
} from "../model/manifest.js";
import { adaptersFolderName, manifestFileName, readModelFolder } from "../model/model-folder.js";
import { adapterGraph, adapterQuantization } from "./adapter-graph.js";
import { AdapterSource } from "./adapter-source.js";
import { backboneHash } from "./backbone-hash.js";
import { decoderGraph } from "./decoder-graph.js";
import type { PlacedWeight } from "./graph-builder.js";
import type { LlamaConfig } from "./llama-config.js";
import { checkLlamaTensors } from "./llama-tensors.js";
import { OutputFile } from "./output-file.js";
import {
  createFolder,
  inScratchFolder,
  isEmptyFolder,
  makeFolder,
  publishFolder,
  removeFolder,
  writeJson,
} from "./output-folder.js";
import { SafetensorsReader } from "./safetensors-reader.js";
import { readSourceFolder, type SourceFolder } from "./source-folder.js";
import { writeWeights } from "./weights-file.js";

export interface ConvertOptions {
  /** A Hugging Face folder: config.json, tokenizer.json, safetensors. */
  readonly source: string;
  /** The folder to make. If it holds this very backbone already, the adapters are added to it. */
  readonly out: string;
  readonly quantize: Quantization;
  /** The served model id; default: the source folder's name. */
  readonly modelId?: string | undefined;
  readonly adapters: readonly AdapterRequest[];
  /** Jinja source; default: the source folder's. */
  readonly chatTemplate?: string | undefined;
  /** Default: the one that the source folder's model card names. */
  readonly licence?: string | undefined;
  /** Positions to serve at most; default: all that config.json allows. */
  readonly contextLength?: number | undefined;
  readonly onProgress?: ((progress: ConvertProgress) => void) | undefined;
  /** Ends the conversion with the signal's reason; nothing is left behind. */
  readonly signal?: AbortSignal | undefined;
}

export interface AdapterRequest {
  /** The .safetensors file; its description stands beside it under the same name with .json. */
  readonly file: string;
  /** Served as `<modelId>:<name>`. */
  readonly name: string;
}

export interface ConvertProgress {
  /** What is being done, for people. */
  readonly stage: string;
  /** Bytes. */
  readonly done: number;
  readonly total: number;
}

export interface ConvertResult {
  readonly out: string;
  /** `added`: the backbone was there already. */
  readonly kind: "created" | "added";
  readonly manifest: BackboneManifest;
  /** Those of this conversion. */
  readonly adapters: readonly AdapterManifest[];
}

/** One adapter on its way from a source file to its folder. */
interface NamedAdapter {
  readonly name: string;
  readonly source: AdapterSource;
}

/** What every step of one conversion needs. */
interface Conversion {
  readonly config: LlamaConfig;
  readonly weights: SafetensorsReader;
  readonly backboneSha256: string;
  readonly reportTo: ReportTo;
}

/** Opens a stage of `total` bytes; the function it returns is told how many more are done. */
type ReportTo = (stage: string, total: number) => (bytes: number) => void;

/**
 * Turns a Hugging Face folder and its steering adapters into a folder that the engine serves. The output appears whole or not
 * at all: it is built beside its place, flushed to the disk and renamed.
 *
 * @throws ToastError with the reason: `file_missing`, `unsupported_architecture`, `unsupported_rope`, `unsupported_tokenizer`,
 * `invalid_config`, `missing_tensor`, `misshapen_tensor`, `corrupt_safetensors`, `not_finite_weights`, `adapter_mismatch`,
 * `invalid_adapter`, `output_exists`, `disk_full`, `write_failed`, `invalid_option`.
 */
export async function convert(options: ConvertOptions): Promise<ConvertResult> {
  const out = resolve(options.out);
  const modelId = options.modelId ?? basename(resolve(options.source));
  checkNames(modelId, options.adapters);
  const existing = await readExisting(out, options.adapters);
  const folder = await readSourceFolder(options.source);
  const config = capContext(folder.config, options.contextLength);
  const reportTo = reporter(options);

  const weights = await SafetensorsReader.openFolder(options.source);
  const adapters: NamedAdapter[] = [];
  try {
    checkLlamaTensors(config, weights);
    for (const { file, name } of options.adapters) {
      adapters.push({ name, source: await AdapterSource.open(file, config) });
    }
    const backboneSha256 = await backboneHash(weights, reportTo("Reading weights", weights.bytes));
    for (const { source } of adapters) source.checkBackbone(backboneSha256);

    const conversion: Conversion = { config, weights, backboneSha256, reportTo };
    if (existing !== null) {
      checkSameBackbone(existing, backboneSha256, out);
      const added = await addAdapters(out, adapters, conversion, existing.quantization);
      return { out, kind: "added", manifest: existing, adapters: added };
    }
    return await createFolder(out, async (unfinished) => {
      const files = await writeBackbone(unfinished, folder, conversion, options.quantize);
      const written: AdapterManifest[] = [];
      for (const adapter of adapters) {
        const path = join(unfinished, adaptersFolderName, adapter.name);
        written.push(await writeAdapter(path, adapter, conversion, options.quantize));
      }
      const manifest = backboneManifestSchema.parse({
        format: "toast-serve/backbone",
        version: manifestVersion,
        id: modelId,
        backboneSha256,
        architecture: architectureOf(config),
        quantization: options.quantize,
        tokens: folder.tokens,
        chatTemplate: options.chatTemplate ?? folder.chatTemplate,
        licence: options.licence ?? folder.licence,
        files,
      } satisfies BackboneManifest);
      await writeJson(unfinished, manifestFileName, manifest);
      return { out, kind: "created", manifest, adapters: written };
    });
  } finally {
    await weights.close();
    for (const { source } of adapters) await source.close();
  }
}

async function writeBackbone(
  path: string,
  folder: SourceFolder,
  { config, weights, reportTo }: Conversion,
  quantization: Quantization,
): Promise<BackboneManifest["files"]> {
  const plan = decoderGraph(config, quantization, "decoder.onnx.data");
  const report = reportTo("Writing weights", totalBytes(plan.weights));
  return {
    graph: await writeWhole(join(path, "decoder.onnx"), plan.graph),
    weights: await writeWeights(join(path, "decoder.onnx.data"), plan.weights, weights, report),
    tokenizer: await writeWhole(join(path, "tokenizer.json"), folder.tokenizer),
  };
}

async function writeAdapter(
  path: string,
  { name, source }: NamedAdapter,
  { config, weights, backboneSha256, reportTo }: Conversion,
  backboneQuantization: Quantization,
): Promise<AdapterManifest> {
  await makeFolder(path);
  const quantization = adapterQuantization(backboneQuantization);
  const shape = { layers: config.layers, hiddenSize: config.hiddenSize, kvSize: config.kvHeads * config.headDim };
  const plan = adapterGraph(shape, source.weights(weights, config), quantization, "adapter.onnx.data");
  const report = reportTo(`Folding adapter ${name}`, totalBytes(plan.weights));
  const { description } = source;
  const manifest = adapterManifestSchema.parse({
    format: "toast-serve/adapter",
    version: manifestVersion,
    name,
    backboneSha256,
    kind: description.kind,
    rank: description.kind === "lite" ? description.rank : null,
    stage: description.stage,
    shape,
    quantization,
    chatTemplate: source.chatTemplate,
    licence: description.licence ?? null,
    files: {
      graph: await writeWhole(join(path, "adapter.onnx"), plan.graph),
      weights: await writeWeights(join(path, "adapter.onnx.data"), plan.weights, weights, report),
    },
  } satisfies AdapterManifest);
  await writeJson(path, manifestFileName, manifest);
  return manifest;
}

/** All of them appear, or none. They are built inside `out`, so that renaming never crosses file systems. */
async function addAdapters(
  out: string,
  adapters: readonly NamedAdapter[],
  conversion: Conversion,
  quantization: Quantization,
): Promise<AdapterManifest[]> {
  const folder = join(out, adaptersFolderName);
  const published: string[] = [];
  try {
    return await inScratchFolder(folder, async (unfinished) => {
      const written: AdapterManifest[] = [];
      for (const adapter of adapters) {
        written.push(await writeAdapter(join(unfinished, adapter.name), adapter, conversion, quantization));
      }
      await makeFolder(folder);
      for (const { name } of adapters) {
        await publishFolder(join(unfinished, name), join(folder, name));
        published.push(join(folder, name));
      }
      return written;
    });
  } catch (error) {
    for (const path of published) await removeFolder(path);
    throw error;
  }
}

async function writeWhole(path: string, bytes: Uint8Array) {
  return OutputFile.create(path, (file) => file.append(bytes));
}

/** @throws ToastError `invalid_option` */
function checkNames(modelId: string, adapters: readonly AdapterRequest[]): void {
  const rule = "use letters, digits, '.', '_' and '-', 96 at most, a letter or digit first";
  if (!modelIdPattern.test(modelId)) {
    throw new ToastError("invalid_option", `The model id "${modelId}" cannot be served: ${rule}.`);
  }
  const seen = new Set<string>();
  for (const { name } of adapters) {
    if (!modelIdPattern.test(name) || name.includes(".partial-")) {
      throw new ToastError("invalid_option", `The adapter name "${name}" cannot be served: ${rule}.`);
    }
    if (seen.has(name)) throw new ToastError("invalid_option", `Two adapters are to be named ${name}; names differ.`);
    seen.add(name);
  }
}

/**
 * The backbone that `out` holds already, if adapters are to be added to it, or null when `out` is free.
 * @throws ToastError `output_exists`
 */
async function readExisting(out: string, adapters: readonly AdapterRequest[]): Promise<BackboneManifest | null> {
  const isThere = await stat(out).then(
    () => true,
    () => false,
  );
  if (!isThere || (await isEmptyFolder(out))) return null;
  const existing = await readModelFolder(out).catch((error: unknown) => {
    throw outputExists(out, "is there already and is not a converted model", error);
  });
  if (adapters.length === 0) throw outputExists(out, "holds a converted model already");
  const taken = adapters.find(({ name }) => existing.adapters.some((adapter) => adapter.manifest.name === name));
  if (taken !== undefined) throw outputExists(out, `has an adapter named ${taken.name} already`);
  return existing.manifest;
}

/** @throws ToastError `output_exists` */
function checkSameBackbone(existing: BackboneManifest, hash: string, out: string): void {
  if (existing.backboneSha256 === hash) return;
  const hashes = `${existing.backboneSha256.slice(0, 12)}, not ${hash.slice(0, 12)}`;
  throw outputExists(out, `holds another backbone (${hashes})`);
}

function outputExists(out: string, what: string, cause?: unknown): ToastError {
  return new ToastError("output_exists", `${out} ${what}. Remove it or choose another name; it was not touched.`, {
    cause,
  });
}

/** @throws ToastError `invalid_option` */
function capContext(config: LlamaConfig, contextLength: number | undefined): LlamaConfig {
  if (contextLength === undefined) return config;
  if (!Number.isInteger(contextLength) || contextLength < 1 || contextLength > config.contextLength) {
    throw new ToastError(
      "invalid_option",
      `A context length of ${contextLength} is not possible: the model knows 1 to ${config.contextLength} positions.`,
    );
  }
  return { ...config, contextLength };
}

function architectureOf(config: LlamaConfig): Architecture {
  const { layers, hiddenSize, heads, kvHeads, headDim, vocabSize, contextLength } = config;
  return { layers, hiddenSize, heads, kvHeads, headDim, vocabSize, contextLength };
}

function totalBytes(weights: readonly PlacedWeight[]): number {
  return weights.reduce((sum, weight) => sum + weight.bytes, 0);
}

function reporter({ onProgress, signal }: ConvertOptions): ReportTo {
  return (stage, total) => {
    let done = 0;
    const report = (bytes: number): void => {
      signal?.throwIfAborted();
      done += bytes;
      onProgress?.({ stage, done, total });
    };
    report(0);
    return report;
  };
}
