import { stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import { ToastError } from "../errors.js";
import {
  type AdapterManifest,
  adapterNamePattern,
  type BackboneManifest,
  modelIdPattern,
  type Quantization,
} from "../model/manifest.js";
import { adaptersFolderName, readModelFolder } from "../model/model-folder.js";
import { Tokenizer } from "../text/tokenizer.js";
import { AdapterSource, adapterParts, type NamedAdapter } from "./adapter-source.js";
import { Calibration } from "./calibration/calibration.js";
import { calibrationText } from "./calibration/calibration-text.js";
import { type ConvertProgress, type ReportTo, reporter } from "./convert-progress.js";
import type { LlamaConfig } from "./llama-config.js";
import {
  type AdapterBinding,
  type AdapterParts,
  type BackboneParts,
  createModelFolder,
  writeAdapter,
} from "./model-writer.js";
import { openSourceModel } from "./open-source-model.js";
import { inScratchFolder, isEmptyFolder, makeFolder, publishFolder, removeFolder } from "./output-folder.js";
import type { SourceModel } from "./source-model.js";
import { tryTemplate } from "./template-trial.js";

/** Raised whenever the same source becomes another folder: copies that were made earlier are then made anew. */
export const conversionVersion = 2;

export interface ConvertOptions {
  /**
   * A GGUF file, any part of a split one, a folder with one, or a Hugging Face folder (config.json, tokenizer.json,
   * safetensors).
   */
  readonly source: string;
  /** The folder to make. If it holds this very backbone already, the adapters are added to it. */
  readonly out: string;
  readonly quantize: Quantization;
  /** The served model id; default: the source's name. */
  readonly modelId?: string | undefined;
  readonly adapters: readonly AdapterRequest[];
  /** Jinja source; default: the source's. */
  readonly chatTemplate?: string | undefined;
  /** Default: the one that the source names. */
  readonly licence?: string | undefined;
  /** The text that int8 and int4 are calibrated on; default: one of ours. */
  readonly calibrationText?: string | undefined;
  /** Positions to serve at most; default: all that the source allows. */
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

export interface ConvertResult {
  readonly out: string;
  /** `added`: the backbone was there already. */
  readonly kind: "created" | "added";
  readonly manifest: BackboneManifest;
  /** Those of this conversion. */
  readonly adapters: readonly AdapterManifest[];
  /** What of the source was left out, in sentences. */
  readonly warnings: readonly string[];
}

/**
 * Turns a model's weights and its steering adapters into a folder that the engine serves. The output appears whole or
 * not at all: it is built beside its place, flushed to the disk and renamed.
 *
 * @throws ToastError with the reason: `file_missing`, `unsupported_architecture`, `unsupported_rope`,
 *   `unsupported_tokenizer`, `invalid_config`, `missing_tensor`, `misshapen_tensor`, `corrupt_safetensors`,
 *   `corrupt_gguf`, `not_finite_weights`, `adapter_mismatch`, `invalid_adapter`, `output_exists`, `disk_full`,
 *   `write_failed`, `invalid_option`.
 */
export async function convert(options: ConvertOptions): Promise<ConvertResult> {
  const out = resolve(options.out);
  checkNames(options.modelId, options.adapters);
  const existing = await readExisting(out, options.adapters);
  const source = await openSourceModel(options.source);
  const adapters: NamedAdapter[] = [];
  let calibration: Calibration | null = null;
  try {
    const modelId = options.modelId ?? source.name;
    checkNames(modelId, []);
    const config = capContext(source.config, options.contextLength);
    const reportTo = reporter(options);
    for (const { file, name } of options.adapters) {
      adapters.push({ name, source: await AdapterSource.open(file, config) });
    }
    const backboneSha256 = await source.hash(reportTo("Reading weights", source.bytes));
    for (const adapter of adapters) adapter.source.checkBackbone(backboneSha256);

    const { valueProjections } = source;
    const chatTemplate = options.chatTemplate ?? source.chatTemplate;
    const tried = chatTemplate === null || existing !== null ? [] : tryTemplate(chatTemplate, source.tokens);
    const warnings = [...source.warnings, ...tried];
    const parts = adapters.map((adapter) => adapterParts(adapter, valueProjections, config));
    if (existing !== null) {
      checkSameBackbone(existing, backboneSha256, out);
      const binding = { config, backboneSha256, quantization: existing.quantization };
      const added = await addAdapters(out, parts, binding, reportTo);
      return { out, kind: "added", manifest: existing, adapters: added, warnings };
    }
    if (options.quantize !== "none") {
      const text = options.calibrationText ?? calibrationText;
      const tokens = calibrationTokens(source, text);
      // Rows of activations have a scale each beside int8 weights, and one for each block beside int4 ones.
      calibration = await Calibration.open(config, source.tensors, tokens, { smooths: options.quantize === "int8" });
    }
    const backbone: BackboneParts = {
      id: modelId,
      config,
      tensors: source.tensors,
      backboneSha256,
      quantization: options.quantize,
      tokens: source.tokens,
      tokenizer: source.tokenizer,
      chatTemplate,
      sampling: source.sampling,
      licence: options.licence ?? source.licence,
      calibration,
      valueProjections,
    };
    return { out, kind: "created", ...(await createModelFolder(out, backbone, parts, reportTo)), warnings };
  } finally {
    await calibration?.close();
    await source.close();
    for (const adapter of adapters) await adapter.source.close();
  }
}

/** @throws ToastError `invalid_option` for a text of too few tokens to tell anything. */
function calibrationTokens({ tokenizer, config }: SourceModel, text: string): number[] {
  const json = new TextDecoder().decode(tokenizer);
  const ids = Tokenizer.fromJson(json, "tokenizer.json").encode(text, { addSpecialTokens: true });
  // A tokenizer may know more tokens than the model has rows.
  const known = ids.filter((id) => id < config.vocabSize);
  if (known.length >= leastCalibrationTokens) return known;
  throw new ToastError(
    "invalid_option",
    `The calibration text has ${known.length} tokens; ${leastCalibrationTokens} are needed at least, and 1,024 are used.`,
    { param: "--calibration" },
  );
}

const leastCalibrationTokens = 128;

/** All of them appear, or none. They are built inside `out`, so that renaming never crosses file systems. */
async function addAdapters(
  out: string,
  adapters: readonly AdapterParts[],
  backbone: AdapterBinding,
  reportTo: ReportTo,
): Promise<AdapterManifest[]> {
  const folder = join(out, adaptersFolderName);
  const published: string[] = [];
  try {
    return await inScratchFolder(folder, async (unfinished) => {
      const written: AdapterManifest[] = [];
      for (const adapter of adapters) {
        written.push(await writeAdapter(join(unfinished, adapter.name), adapter, backbone, reportTo));
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

/** @throws ToastError `invalid_option` */
function checkNames(modelId: string | undefined, adapters: readonly AdapterRequest[]): void {
  const rule = "use letters, digits, '.', '_' and '-', 96 at most, a letter or digit first";
  const slash = "; one '/' may part an organisation from the name";
  if (modelId !== undefined && !modelIdPattern.test(modelId)) {
    throw new ToastError(
      "invalid_option",
      `The model id "${modelId}" cannot be served: ${rule}${slash}; --model-id names another.`,
    );
  }
  const seen = new Set<string>();
  for (const { name } of adapters) {
    if (!adapterNamePattern.test(name) || name.includes(".partial-")) {
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
