import { ToastError } from "../../errors.js";
import type { LlamaConfig, RopeScaling } from "../llama-config.js";
import type { GgufMetadata } from "./gguf-metadata.js";
import { ropeFactorsName } from "./gguf-names.js";
import type { GgufReader } from "./gguf-reader.js";

/** Of the keys `llama.…`: those that are read here, and those that change nothing in the forward pass. */
const knownKeys: ReadonlySet<string> = new Set([
  "block_count",
  "context_length",
  "embedding_length",
  "feed_forward_length",
  "vocab_size",
  "tensor_data_layout",
  "attention.head_count",
  "attention.head_count_kv",
  "attention.key_length",
  "attention.value_length",
  "attention.layer_norm_rms_epsilon",
  "attention.layer_norm_epsilon",
  "rope.dimension_count",
  "rope.freq_base",
  "rope.scale_linear",
  "rope.scaling.type",
  "rope.scaling.factor",
  "rope.scaling.original_context_length",
  "rope.scaling.finetuned",
]);
const largestSize = 1 << 24;
/** May be there, and say that there are none. */
const keysOfExperts: ReadonlySet<string> = new Set(["llama.expert_count", "llama.expert_used_count"]);

/**
 * Shape and constants of the decoder in a GGUF file of architecture `llama`. A key that says something which the
 * decoder does not compute is refused by its name, known or not, as is a tensor without a place (gguf-tensors.ts).
 *
 * @throws ToastError `unsupported_architecture`, `unsupported_rope`, `invalid_config`, `missing_tensor`,
 *   `misshapen_tensor`, `not_finite_weights`, `corrupt_gguf`
 * @see https://github.com/ggml-org/llama.cpp/blob/master/src/models/llama.cpp
 */
export async function readGgufConfig(reader: GgufReader): Promise<LlamaConfig> {
  const { metadata } = reader;
  checkKind(metadata);
  const hiddenSize = size(metadata, "embedding_length");
  const layers = size(metadata, "block_count");
  const heads = size(metadata, "attention.head_count");
  const kvHeads = size(metadata, "attention.head_count_kv", heads);
  if (heads % kvHeads !== 0) {
    throw metadata.invalid(`${heads} query heads cannot share ${kvHeads} key/value heads evenly`);
  }
  const headDim = size(metadata, "attention.key_length", hiddenSize / heads);
  if (!Number.isInteger(headDim) || headDim % 2 !== 0) {
    throw metadata.invalid(`heads of ${headDim} elements cannot be rotated; an even number can`);
  }
  for (const key of ["attention.value_length", "rope.dimension_count"]) {
    const stated = size(metadata, key, headDim);
    if (stated === headDim) continue;
    throw new ToastError(
      "unsupported_architecture",
      `${metadata.file}: llama.${key} ${stated} is not the head size ${headDim}; other sizes are not supported.`,
    );
  }
  const contextLength = size(metadata, "context_length");
  const names = Array.from(reader.tensors, ({ name }) => name);
  if (layers > names.length) {
    throw new ToastError(
      "missing_tensor",
      `${metadata.file} names ${layers} layers, and holds ${names.length} tensors.`,
    );
  }
  return {
    layers,
    hiddenSize,
    intermediateSize: size(metadata, "feed_forward_length"),
    heads,
    kvHeads,
    headDim,
    vocabSize: vocabularySize(reader),
    contextLength,
    rmsNormEps: positive(metadata, "attention.layer_norm_rms_epsilon"),
    ropeTheta: positive(metadata, "rope.freq_base", 10000),
    ropeScaling: await ropeScaling(reader, headDim),
    tiedEmbeddings: reader.find("output.weight") === undefined,
    attentionBias: names.some((name) => /^blk\.\d+\.attn_\w+\.bias$/.test(name)),
    mlpBias: names.some((name) => /^blk\.\d+\.ffn_\w+\.bias$/.test(name)),
    bosTokenId: metadata.optional("tokenizer.ggml.bos_token_id", "integer") ?? null,
    eosTokenIds: [metadata.optional("tokenizer.ggml.eos_token_id", "integer") ?? []].flat(),
    padTokenId: metadata.optional("tokenizer.ggml.padding_token_id", "integer") ?? null,
  };
}

/** @throws ToastError `unsupported_architecture`, `invalid_config` */
function checkKind(metadata: GgufMetadata): void {
  const architecture = metadata.needed("general.architecture", "string");
  if (architecture !== "llama") {
    throw new ToastError(
      "unsupported_architecture",
      `${metadata.file}: architecture ${architecture} is not supported; llama is.`,
    );
  }
  for (const key of metadata.keys) {
    if (!key.startsWith("llama.") || knownKeys.has(key.slice("llama.".length))) continue;
    const value = metadata.find(key)?.value;
    if (keysOfExperts.has(key) && value === 0) continue;
    const text = typeof value === "object" ? "a list" : String(value).slice(0, 100);
    throw new ToastError(
      "unsupported_architecture",
      `${metadata.file}: ${key} (${text}) is not supported; a plain LLaMA decoder has no such setting.`,
    );
  }
}

async function ropeScaling(reader: GgufReader, headDim: number): Promise<RopeScaling> {
  const { metadata } = reader;
  const kind = metadata.optional("llama.rope.scaling.type", "string") ?? "linear";
  if (kind !== "none" && kind !== "linear") {
    throw new ToastError(
      "unsupported_rope",
      `${metadata.file}: rope scaling ${kind} is not supported; none, linear and the factors in ${ropeFactorsName} are.`,
    );
  }
  const stated =
    metadata.optional("llama.rope.scaling.factor", "float") ??
    metadata.optional("llama.rope.scale_linear", "float") ??
    1;
  if (!Number.isFinite(stated) || stated < 0) {
    throw metadata.invalid(`a rope scaling factor of ${stated} is not possible`);
  }
  // llama.cpp writes 0 for none.
  const factor = kind === "none" || stated === 0 ? 1 : stated;
  if (reader.find(ropeFactorsName) === undefined) {
    return factor === 1 ? { kind: "default" } : { kind: "linear", factor };
  }
  const factors = Array.from(await reader.readFloats(reader.expect(ropeFactorsName, [headDim / 2])));
  const wrong = factors.find((value) => value <= 0);
  if (wrong !== undefined) throw metadata.invalid(`${ropeFactorsName} holds ${wrong}; factors are above 0`);
  return { kind: "factors", factors, factor };
}

/** Rows of the embedding table; the tokenizer may have fewer tokens. */
function vocabularySize(reader: GgufReader): number {
  const name = "token_embd.weight";
  const [, rows] = reader.find(name)?.dimensions ?? [];
  if (rows !== undefined) return rows;
  throw new ToastError("missing_tensor", `${reader.metadata.file}: there is no embedding table ${name}.`);
}

/** A whole number above 0: one for all layers, also where each has its own. */
function size(metadata: GgufMetadata, key: string, otherwise?: number): number {
  const name = `llama.${key}`;
  const found = metadata.find(name);
  if (found === undefined && otherwise !== undefined) return otherwise;
  if (found?.kind === "integers" && found.value.some((value) => value !== found.value[0])) {
    throw new ToastError(
      "unsupported_architecture",
      `${metadata.file}: ${name} differs between layers, which is not supported.`,
    );
  }
  const value = found?.kind === "integers" ? (found.value[0] ?? 0) : metadata.needed(name, "integer");
  if (!Number.isInteger(value) || value < 1 || value > largestSize)
    throw metadata.invalid(`${name} is ${value}; 1 to ${largestSize} is possible`);
  return value;
}

function positive(metadata: GgufMetadata, key: string, otherwise?: number): number {
  const name = `llama.${key}`;
  const value = metadata.optional(name, "float") ?? otherwise ?? metadata.needed(name, "float");
  if (!Number.isFinite(value) || value <= 0) throw metadata.invalid(`${name} is ${value}; it has to be above 0`);
  return value;
}
