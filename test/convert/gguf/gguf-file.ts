import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { ggmlTypes } from "../../../src/convert/gguf/ggml-types.js";
import { ggufName } from "../../../src/convert/gguf/gguf-names.js";
import { type WrittenTensor, type WrittenValue, writeGguf } from "../../../src/convert/gguf/gguf-writer.js";
import { type LlamaConfig, parseLlamaConfig } from "../../../src/convert/llama-config.js";
import { llamaTensors } from "../../../src/convert/llama-tensors.js";
import { configJson, randomNormals, type Tensors, temporaryFolder } from "../tiny-folder.js";

/** A GGUF header spelled byte by byte, for files that lie. */
export interface SpelledFile {
  readonly magic?: string;
  readonly version?: Buffer;
  readonly tensorCount?: bigint;
  readonly keyCount?: bigint;
  readonly keys?: readonly Buffer[];
  readonly tensors?: readonly Buffer[];
  readonly data?: Buffer;
}

export function spell({ magic = "GGUF", version = u32(3), keys = [], tensors = [], ...rest }: SpelledFile): string {
  const counts = [u64(rest.tensorCount ?? BigInt(tensors.length)), u64(rest.keyCount ?? BigInt(keys.length))];
  const header = Buffer.concat([Buffer.from(magic), version, ...counts, ...keys, ...tensors]);
  const padding = Buffer.alloc((32 - (header.length % 32)) % 32);
  const path = join(temporaryFolder(), "spelled.gguf");
  writeFileSync(path, Buffer.concat([header, padding, rest.data ?? Buffer.alloc(0)]));
  return path;
}

export function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

export function u64(value: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(value);
  return bytes;
}

export function text(value: string | Buffer): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([u64(BigInt(bytes.length)), bytes]);
}

export function key(name: string, type: number, ...value: readonly Buffer[]): Buffer {
  return Buffer.concat([text(name), u32(type), ...value]);
}

export function tensorInfo(name: string, dimensions: readonly bigint[], type: number, offset: bigint): Buffer {
  return Buffer.concat([text(name), u32(dimensions.length), ...dimensions.map(u64), u32(type), u64(offset)]);
}

/** A tensor of float32 values. */
export function floatTensor(name: string, dimensions: readonly number[], values: Float32Array): WrittenTensor {
  const type = ggmlTypes.find((entry) => entry.name === "F32");
  if (type === undefined) throw new Error("F32 is gone");
  return { name, type, dimensions, chunks: () => [new Uint8Array(values.slice().buffer)] };
}

export interface TinyGguf {
  /** The file alone in a folder, with a tokenizer.json beside it. */
  readonly path: string;
  readonly config: LlamaConfig;
  /** Under Hugging Face's names, in Hugging Face's order of rows. */
  readonly tensors: Tensors;
}

/** Metadata of a decoder of the odd shape of tiny-folder.ts. */
export function tinyMetadata(): Map<string, WrittenValue> {
  const pieces = ["<unk>", "<s>", "</s>", ...Array.from({ length: 50 }, (_, index) => `w${index + 3}`)];
  return new Map<string, WrittenValue>([
    ["general.architecture", { kind: "string", value: "llama" }],
    ["llama.block_count", { kind: "uint32", value: 3 }],
    ["llama.context_length", { kind: "uint32", value: 64 }],
    ["llama.embedding_length", { kind: "uint32", value: 21 }],
    ["llama.feed_forward_length", { kind: "uint32", value: 37 }],
    ["llama.attention.head_count", { kind: "uint32", value: 6 }],
    ["llama.attention.head_count_kv", { kind: "uint32", value: 2 }],
    ["llama.attention.key_length", { kind: "uint32", value: 10 }],
    ["llama.attention.value_length", { kind: "uint32", value: 10 }],
    ["llama.rope.dimension_count", { kind: "uint32", value: 10 }],
    ["llama.attention.layer_norm_rms_epsilon", { kind: "float32", value: 1e-5 }],
    ["tokenizer.ggml.model", { kind: "string", value: "llama" }],
    ["tokenizer.ggml.tokens", { kind: "strings", value: pieces }],
    ["tokenizer.ggml.token_type", { kind: "int32s", value: pieces.map((_, id) => (id < 3 ? 3 : 1)) }],
    ["tokenizer.ggml.eos_token_id", { kind: "uint32", value: 2 }],
  ]);
}

/** Writes a random decoder of the odd shape. */
export async function makeTinyGguf(
  bend: (metadata: Map<string, WrittenValue>, tensors: WrittenTensor[]) => void = () => {},
  folder: string = temporaryFolder(),
): Promise<TinyGguf> {
  const config = parseLlamaConfig(configJson(), "config.json");
  const next = randomNormals(5);
  const tensors: Tensors = {};
  const written: WrittenTensor[] = [];
  for (const [name, shape] of llamaTensors(config)) {
    const values = Float32Array.from({ length: shape.reduce((product, size) => product * size, 1) }, next);
    tensors[name] = { shape, values };
    const heads = name.includes("q_proj") ? config.heads : name.includes("k_proj") ? config.kvHeads : 0;
    const stored = heads === 0 ? values : inPairs(values, config.headDim, config.hiddenSize);
    written.push(floatTensor(ggufName(name), shape.toReversed(), stored));
  }
  const metadata = tinyMetadata();
  bend(metadata, written);
  const path = join(folder, "tiny.gguf");
  await writeGguf(path, metadata, written);
  const tokens = metadata.get("tokenizer.ggml.tokens");
  const pieces = tokens?.kind === "strings" ? tokens.value : [];
  const vocab = Object.fromEntries(pieces.map((piece, id) => [piece, id]));
  const tokenizer = { added_tokens: [], model: { type: "BPE", vocab, merges: [] } };
  writeFileSync(join(folder, "tokenizer.json"), JSON.stringify(tokenizer));
  return { path, config, tensors };
}

/** Rows of whole heads in llama.cpp's order: row j of the first half, row j of the second, row j + 1 of the first … */
function inPairs(values: Float32Array, headDim: number, rowSize: number): Float32Array {
  const stored = new Float32Array(values.length);
  for (let row = 0; row < values.length / rowSize; row++) {
    const head = Math.floor(row / headDim) * headDim;
    const inHead = row - head;
    const from = head + (inHead % 2 === 0 ? inHead / 2 : (inHead - 1) / 2 + headDim / 2);
    stored.set(values.subarray(from * rowSize, (from + 1) * rowSize), row * rowSize);
  }
  return stored;
}
