import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { type LlamaConfig, parseLlamaConfig } from "../../src/convert/llama-config.js";
import { llamaTensors } from "../../src/convert/llama-tensors.js";
import { type FloatDtype, type PlainTensor, roundTo, withHeader, writeSafetensors } from "./safetensors-file.js";

export type Tensors = Record<string, PlainTensor>;

/** A random decoder on disk, and what is in it. */
export interface TinyFolder {
  readonly path: string;
  readonly config: LlamaConfig;
  /** As they read back from the file. */
  readonly tensors: Tensors;
}

/** Sizes without a common factor, so that a swapped dimension cannot pass. */
export const oddShape = {
  vocab_size: 53,
  hidden_size: 21,
  intermediate_size: 37,
  num_hidden_layers: 3,
  num_attention_heads: 6,
  num_key_value_heads: 2,
  head_dim: 10,
  max_position_embeddings: 64,
} as const;

/** A folder for the time of one test. */
export function temporaryFolder(): string {
  const path = mkdtempSync(join(tmpdir(), "toast-convert-"));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

export function configJson(overrides: Readonly<Record<string, unknown>> = {}): Record<string, unknown> {
  return {
    architectures: ["LlamaForCausalLM"],
    model_type: "llama",
    hidden_act: "silu",
    rms_norm_eps: 1e-5,
    rope_theta: 10000,
    bos_token_id: 1,
    eos_token_id: 2,
    ...oddShape,
    ...overrides,
  };
}

/** Writes a folder of random weights, large enough that every part of the decoder shows in the logits. */
export function makeTinyFolder(
  overrides: Readonly<Record<string, unknown>> = {},
  { seed = 1, dtype = "F32" as FloatDtype, path = temporaryFolder() } = {},
): TinyFolder {
  mkdirSync(path, { recursive: true });
  const json = configJson(overrides);
  const config = parseLlamaConfig(json, "config.json");
  const next = randomNormals(seed);
  const tensors: Tensors = {};
  for (const [name, shape] of llamaTensors(config)) {
    const size = shape.reduce((product, length) => product * length, 1);
    const isNorm = name.endsWith("norm.weight");
    const scale = name.endsWith(".bias") ? 0.3 : 1 / Math.sqrt(shape.at(-1) ?? 1);
    const values = Float32Array.from({ length: size }, () => (isNorm ? 1 + 0.2 * next() : scale * next()));
    tensors[name] = { shape, values: roundTo(dtype, values) };
  }
  writeFileSync(join(path, "config.json"), JSON.stringify(json));
  writeFileSync(join(path, "tokenizer.json"), JSON.stringify(tokenizerJson(config.vocabSize)));
  writeSafetensors(join(path, "model.safetensors"), tensors, dtype);
  return { path, config, tensors };
}

/** A folder of any size whose weights are all zero; on disk they take no room. */
export function makeHollowFolder(overrides: Readonly<Record<string, unknown>>, path: string): LlamaConfig {
  mkdirSync(path, { recursive: true });
  const json = configJson(overrides);
  const config = parseLlamaConfig(json, "config.json");
  const header: Record<string, unknown> = {};
  let end = 0;
  for (const [name, shape] of llamaTensors(config)) {
    const begin = end;
    end += shape.reduce((product, length) => product * length, 4);
    header[name] = { dtype: "F32", shape, data_offsets: [begin, end] };
  }
  writeFileSync(join(path, "config.json"), JSON.stringify(json));
  writeFileSync(join(path, "tokenizer.json"), JSON.stringify(tokenizerJson(config.vocabSize)));
  const file = join(path, "model.safetensors");
  const headerBytes = withHeader(JSON.stringify(header), new Uint8Array());
  writeFileSync(file, headerBytes);
  truncateSync(file, headerBytes.length + end);
  return config;
}

/** Writes a random adapter of the backbone into its folder, and its description; @returns its file and tensors. */
export function makeTinyAdapter(
  backbone: Pick<TinyFolder, "path" | "tensors"> & { readonly config: Pick<LlamaConfig, "layers" | "hiddenSize"> },
  {
    kind = "full" as "full" | "lite",
    seed = 9,
    describe = {} as Record<string, unknown>,
    bend = (_: Tensors) => {},
  } = {},
): { file: string; tensors: Tensors; alpha: number; rank: number } {
  const { hiddenSize: size, layers } = backbone.config;
  const rank = 3;
  const alpha = 2;
  const next = randomNormals(seed);
  const random = (shape: readonly number[], scale: number): PlainTensor => ({
    shape,
    values: Float32Array.from({ length: shape.reduce((product, length) => product * length, 1) }, () => scale * next()),
  });
  const tensors: Tensors = {
    "model.prompt": random([size], 1),
    "model.top_down_transform": random([size, size], 1 / Math.sqrt(size)),
  };
  for (let layer = 0; layer < layers; layer++) {
    for (const linear of ["linear", "linear2"]) {
      const name = `model.decoders.${layer}.${linear}`;
      tensors[`${name}.weight`] = random([size, size], 1 / Math.sqrt(size));
      if (kind === "full") continue;
      tensors[`${name}.lora_A`] = random([rank, size], 1 / Math.sqrt(size));
      tensors[`${name}.lora_B`] = random([size, rank], 1);
    }
  }
  bend(tensors);
  const file = join(backbone.path, `adapter-${seed}.safetensors`);
  writeSafetensors(file, tensors);
  const description = {
    format: "toast-adapter",
    version: 1,
    kind,
    rank: kind === "lite" ? rank : null,
    alpha: kind === "lite" ? alpha : null,
    hidden_size: size,
    num_hidden_layers: layers,
    backbone_sha256: hashOf(backbone.tensors),
    stage: "tuned",
    prompt_format: "alpaca",
    licence: null,
    ...describe,
  };
  writeFileSync(file.replace(".safetensors", ".json"), JSON.stringify(description));
  return { file, tensors, alpha, rank };
}

/** The backbone hash written down a second time, for F32 folders: name, dtype, shape and bytes by name. */
export function hashOf(tensors: Tensors): string {
  const hash = createHash("sha256");
  for (const name of Object.keys(tensors).sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))) {
    const { shape, values } = tensors[name] ?? { shape: [], values: new Float32Array() };
    hash.update(`${name}\0F32\0${shape.join(",")}\0`).update(new Uint8Array(values.buffer));
  }
  return hash.digest("hex");
}

/** A token for each of the commonest letters, and names nobody writes. */
function tokenizerJson(vocabSize: number): unknown {
  const words = ["<unk>", "<s>", "</s>"];
  const letters = " etaoinshrdlucmfwypvbgkjqxz.,";
  const textOf = (id: number): string => words[id] ?? letters[id - 20] ?? `w${id}`;
  const vocab = Object.fromEntries(Array.from({ length: vocabSize }, (_, id) => [textOf(id), id]));
  const added = words.map((content, id) => ({ id, content, special: true }));
  return {
    version: "1.0",
    added_tokens: added,
    normalizer: null,
    pre_tokenizer: null,
    post_processor: null,
    decoder: { type: "Fuse" },
    model: { type: "BPE", unk_token: "<unk>", vocab, merges: [] },
  };
}

/** Seeded standard normals (sum of uniforms from a 32-bit generator). */
export function randomNormals(seed: number): () => number {
  let state = seed * 2654435761;
  const uniform = (): number => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  return () => {
    let sum = 0;
    for (let i = 0; i < 12; i++) sum += uniform();
    return sum - 6;
  };
}
