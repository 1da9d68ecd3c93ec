import { type FileHandle, open, readdir, readFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { z } from "zod";
import { ToastError } from "../errors.js";
import { fileChunks } from "./file-chunks.js";
import { floatOfHalf } from "./half-float.js";
import type { TensorRows } from "./weight-source.js";

/** Where one tensor lies; nothing of it has been read. */
export interface TensorInfo {
  readonly name: string;
  /** As safetensors writes it: F32, BF16, I64 … */
  readonly dtype: string;
  readonly shape: readonly number[];
  /** Path of the file that holds it. */
  readonly file: string;
  /** First byte, counted from the start of the file. */
  readonly offset: number;
  readonly bytes: number;
}

const bytesPerElement: ReadonlyMap<string, number> = new Map([
  ["BOOL", 1],
  ["U8", 1],
  ["I8", 1],
  ["F8_E5M2", 1],
  ["F8_E4M3", 1],
  ["I16", 2],
  ["U16", 2],
  ["F16", 2],
  ["BF16", 2],
  ["I32", 4],
  ["U32", 4],
  ["F32", 4],
  ["F64", 8],
  ["I64", 8],
  ["U64", 8],
]);

/** The format's own limit on the header. */
const largestHeader = 100_000_000;
/** Bytes read at a time: large enough for full disk speed, small beside any weight. */
const chunkBytes = 8 << 20;

const entrySchema = z.object({
  dtype: z.string(),
  shape: z.array(z.int().nonnegative()),
  data_offsets: z.tuple([z.int().nonnegative(), z.int().nonnegative()]),
});
const indexSchema = z.looseObject({ weight_map: z.record(z.string(), z.string()) });

/**
 * Tensors of one or several safetensors files. Headers are read and checked when it is opened, tensors a chunk at a
 * time when they are asked for: a chunk is all that is ever in memory.
 *
 * @see https://github.com/huggingface/safetensors#format
 */
export class SafetensorsReader implements TensorRows {
  readonly #handles: ReadonlyMap<string, FileHandle>;
  readonly #tensors: ReadonlyMap<string, TensorInfo>;
  /** What stands in front of `model.` in the names as they are stored; null: `model.` itself is left out. */
  #prefix: string | null = "";

  private constructor(handles: ReadonlyMap<string, FileHandle>, tensors: ReadonlyMap<string, TensorInfo>) {
    this.#handles = handles;
    this.#tensors = tensors;
  }

  /**
   * Opens `model.safetensors.index.json` and its shards, or `model.safetensors`.
   * @throws ToastError `file_missing` when neither, or a shard, is there; `corrupt_safetensors` as `openFiles`, and
   *   when the index does not fit its shards.
   */
  static async openFolder(folder: string): Promise<SafetensorsReader> {
    const indexFile = join(folder, "model.safetensors.index.json");
    const text = await readIfThere(indexFile);
    if (text === null) {
      const names = await filesOf(folder);
      const shards = wholeSetOfShards(names);
      const files = shards.length > 0 ? shards : ["model.safetensors"];
      return SafetensorsReader.openFiles(
        files.map((name) => join(folder, name)),
        missingWeights(folder, names),
      );
    }
    const index = indexSchema.safeParse(parseJson(text));
    if (!index.success) {
      throw new ToastError(
        "corrupt_safetensors",
        `${indexFile}: no JSON object with a weight_map of tensors to files.`,
      );
    }
    const places = Object.entries(index.data.weight_map);
    const names = [...new Set(places.map(([, file]) => file))].sort();
    const foreign = names.find((name) => name !== basename(name) || name === "..");
    if (foreign !== undefined) {
      throw new ToastError(
        "corrupt_safetensors",
        `${indexFile}: ${foreign} is not the plain name of a file beside it.`,
      );
    }
    const reader = await SafetensorsReader.openFiles(names.map((name) => join(folder, name)));
    const lost = places.find(([tensor, file]) => reader.find(tensor)?.file !== join(folder, file));
    if (lost !== undefined) {
      await reader.close();
      throw new ToastError("corrupt_safetensors", `${indexFile}: tensor ${lost[0]} is not in ${lost[1]} as it says.`);
    }
    return reader;
  }

  /**
   * @param missing what to say when a file is not there.
   * @throws ToastError `file_missing`, or `corrupt_safetensors` for a header that is cut off, too large, no JSON, names
   *   a tensor twice, or whose tensors overlap, leave holes, have sizes that contradict their shapes, or do not end
   *   where the file ends.
   */
  static async openFiles(files: readonly string[], missing?: string): Promise<SafetensorsReader> {
    const handles = new Map<string, FileHandle>();
    const tensors = new Map<string, TensorInfo>();
    try {
      for (const file of files) {
        const handle = await openToRead(file, missing);
        handles.set(file, handle);
        for (const tensor of await readHeader(handle, file)) {
          const other = tensors.get(tensor.name);
          if (other !== undefined) throw corrupt(file, `tensor ${tensor.name} is also in ${other.file}`);
          tensors.set(tensor.name, tensor);
        }
      }
    } catch (error) {
      await closeAll(handles);
      throw error;
    }
    return new SafetensorsReader(handles, tensors);
  }

  get tensors(): Iterable<TensorInfo> {
    return this.#tensors.values();
  }

  /** Of all tensors together. */
  get bytes(): number {
    let sum = 0;
    for (const tensor of this.#tensors.values()) sum += tensor.bytes;
    return sum;
  }

  /** @param name under Hugging Face's name of a LlamaForCausalLM */
  find(name: string): TensorInfo | undefined {
    return this.#tensors.get(this.#stored(name));
  }

  /**
   * Models that were saved from inside another one (without their head, compiled, distributed) have names with
   * something more or less in front. From now on they are found under the plain names.
   */
  findUnderPlainNames(): void {
    const last = "embed_tokens.weight";
    const found = [...this.#tensors.keys()].filter((name) => name === last || name.endsWith(`.${last}`));
    const [only, ...others] = found;
    if (only === undefined || others.length > 0) return;
    const before = only.slice(0, only.length - last.length);
    this.#prefix = before.endsWith("model.") ? before.slice(0, -"model.".length) : before === "" ? null : "";
  }

  /** @returns the plain name of one that is stored. */
  plainName(stored: string): string {
    if (this.#prefix === null) return stored.startsWith("lm_head.") ? stored : `model.${stored}`;
    return stored.startsWith(this.#prefix) ? stored.slice(this.#prefix.length) : stored;
  }

  #stored(name: string): string {
    return this.#prefix === null ? name.replace(/^model\./, "") : this.#prefix + name;
  }

  /**
   * The tensor of this name and shape.
   * @throws ToastError `missing_tensor` or `misshapen_tensor`, also when its elements are no f32, f16 or bf16.
   */
  expect(name: string, shape: readonly number[]): TensorInfo {
    const tensor = this.find(name);
    if (tensor === undefined) {
      const files = [...this.#handles.keys()].map((file) => basename(file)).join(", ");
      const [first] = this.#tensors.keys();
      const there = first === undefined ? "It has no tensors." : `It has ${this.#tensors.size}, ${first} say.`;
      const message = `Tensor ${name} ${shapeText(shape)} is missing from ${files}. ${there}`;
      throw new ToastError("missing_tensor", message);
    }
    if (tensor.shape.join() !== shape.join()) {
      throw new ToastError(
        "misshapen_tensor",
        `${tensor.file}: tensor ${name} has shape ${shapeText(tensor.shape)}, expected ${shapeText(shape)}.`,
      );
    }
    if (!decoders.has(tensor.dtype)) {
      throw new ToastError(
        "misshapen_tensor",
        `${tensor.file}: tensor ${name} holds ${tensor.dtype}; F32, F16 and BF16 are supported.`,
      );
    }
    return tensor;
  }

  /**
   * A tensor's bytes as they lie in the file. Each view is valid until the next is asked for.
   * @throws ToastError `corrupt_safetensors` when the file ends before the tensor.
   */
  async *rawChunks(tensor: TensorInfo, size: number = chunkBytes): AsyncGenerator<Uint8Array> {
    const handle = this.#handles.get(tensor.file);
    if (handle === undefined) throw new Error(`${tensor.file} is not open`);
    yield* fileChunks(handle, tensor, size, () => corrupt(tensor.file, `the file ends inside tensor ${tensor.name}`));
  }

  /**
   * A tensor's elements as float32, in whole rows of its last dimension. Each view is valid until the next is asked
   * for.
   * @throws ToastError `not_finite_weights` at the first NaN or infinity; `corrupt_safetensors` as `rawChunks`.
   */
  async *floatChunks(tensor: TensorInfo): AsyncGenerator<Float32Array> {
    const decode = decoders.get(tensor.dtype);
    const elementBytes = bytesPerElement.get(tensor.dtype);
    if (decode === undefined || elementBytes === undefined) throw new Error(`${tensor.name} holds ${tensor.dtype}`);
    const rowBytes = Math.max(1, tensor.shape.at(-1) ?? 1) * elementBytes;
    const floats = new Float32Array(Math.min(tensor.bytes, Math.max(chunkBytes, rowBytes)) / elementBytes);
    let done = 0;
    for await (const raw of this.rawChunks(tensor, Math.max(1, Math.floor(chunkBytes / rowBytes)) * rowBytes)) {
      const count = raw.length / elementBytes;
      const bad = decode(raw, floats, count);
      if (bad !== -1) {
        throw new ToastError(
          "not_finite_weights",
          `${tensor.file}: tensor ${tensor.name} holds ${floats[bad]} at element ${done + bad}; weights must be finite.`,
        );
      }
      yield floats.subarray(0, count);
      done += count;
    }
  }

  /** The rows of a tensor that was expected before. @throws as `floatChunks`. */
  floatRows(name: string): AsyncGenerator<Float32Array> {
    const tensor = this.find(name);
    if (tensor === undefined) throw new Error(`${name} was not checked before it was read`);
    return this.floatChunks(tensor);
  }

  /** The whole tensor as float32; for those known to be small enough. @throws as `floatChunks`. */
  async readFloats(tensor: TensorInfo): Promise<Float32Array> {
    const values = new Float32Array(tensor.shape.reduce((product, size) => product * size, 1));
    let done = 0;
    for await (const chunk of this.floatChunks(tensor)) {
      values.set(chunk, done);
      done += chunk.length;
    }
    return values;
  }

  async close(): Promise<void> {
    await closeAll(this.#handles);
  }
}

async function filesOf(folder: string): Promise<readonly string[]> {
  return (await readdir(folder).catch(() => [])).toSorted();
}

/** Shards without an index, if all are there; else none. */
function wholeSetOfShards(names: readonly string[]): readonly string[] {
  const parts = names.flatMap((name) => {
    const [, , count] = /^model-(\d{5})-of-(\d{5})\.safetensors$/.exec(name) ?? [];
    return count === undefined ? [] : [{ name, count: Number(count) }];
  });
  const [first] = parts;
  const isWhole =
    first !== undefined && parts.length === first.count && parts.every(({ count }) => count === first.count);
  return isWhole ? parts.map(({ name }) => name) : [];
}

/** What a folder without weights that can be read has instead, and what to do about it. */
function missingWeights(folder: string, names: readonly string[]): string {
  const lacks = `${folder} has neither model.safetensors nor an index of shards (model.safetensors.index.json).`;
  const shown = (found: readonly string[]): string =>
    found.length > 3 ? `${found.slice(0, 3).join(", ")} …` : found.join(", ");
  const shards = names.filter((name) => name.endsWith(".safetensors"));
  if (names.includes("adapter_config.json")) {
    return `${lacks} It holds a PEFT adapter (adapter_config.json), which is no model: merge it into its base first (merge_and_unload of peft), and save that.`;
  }
  if (shards.length > 0) {
    return `${lacks} It has ${shown(shards)}: give the file of all weights that name, or bring the shards that are missing, or the index.`;
  }
  const pickles = names.filter(
    (name) => /\.(bin|pt|pth|ckpt|pkl|pickle)$/i.test(name) && !/^(training_args|optimizer|scheduler)/.test(name),
  );
  if (pickles.length > 0) {
    return `${lacks} Its weights are pickles (${shown(pickles)}), and reading one can run any code. Look for a safetensors or GGUF copy of the model, or make one: save_pretrained of transformers writes safetensors.`;
  }
  const others = names.filter((name) => /\.(h5|msgpack|onnx|ot|gguf|npz)$/i.test(name));
  const found = others.length > 0 ? others : names;
  const has = found.length === 0 ? "It is empty, or not there." : `It has ${shown(found)}.`;
  return `${lacks} ${has} Bring the model's .safetensors files or a GGUF file.`;
}

/** Fills `floats` with `count` little-endian elements. @returns the index of the first that is not finite, or -1. */
type Decoder = (raw: Uint8Array, floats: Float32Array, count: number) => number;

const decoders: ReadonlyMap<string, Decoder> = new Map<string, Decoder>(
  Object.entries({
    F32(raw: Uint8Array, floats: Float32Array, count: number) {
      const bits = new Uint32Array(raw.buffer, raw.byteOffset, count);
      floats.set(new Float32Array(raw.buffer, raw.byteOffset, count));
      return bits.findIndex((value) => (value & 0x7f800000) === 0x7f800000);
    },
    BF16(raw: Uint8Array, floats: Float32Array, count: number) {
      const halves = new Uint16Array(raw.buffer, raw.byteOffset, count);
      const bits = new Uint32Array(floats.buffer, floats.byteOffset, count);
      for (let i = 0; i < count; i++) bits[i] = (halves[i] ?? 0) << 16;
      return halves.findIndex((value) => (value & 0x7f80) === 0x7f80);
    },
    F16(raw: Uint8Array, floats: Float32Array, count: number) {
      const halves = new Uint16Array(raw.buffer, raw.byteOffset, count);
      for (let i = 0; i < count; i++) floats[i] = floatOfHalf(halves[i] ?? 0);
      return halves.findIndex((value) => (value & 0x7c00) === 0x7c00);
    },
  }),
);

async function readHeader(handle: FileHandle, file: string): Promise<TensorInfo[]> {
  const fileBytes = (await handle.stat()).size;
  const prefix = new Uint8Array(8);
  if (fileBytes < prefix.length) throw corrupt(file, `it has ${fileBytes} bytes, too few for a header`);
  await handle.read(prefix, 0, prefix.length, 0);
  const headerBytes = Number(new DataView(prefix.buffer).getBigUint64(0, true));
  if (headerBytes > largestHeader) {
    throw corrupt(file, `its header claims ${headerBytes} bytes, the limit is ${largestHeader}`);
  }
  const dataStart = prefix.length + headerBytes;
  if (dataStart > fileBytes) {
    throw corrupt(file, `its header claims ${headerBytes} bytes, but the file ends after ${fileBytes}`);
  }
  const header = new Uint8Array(headerBytes);
  await handle.read(header, 0, headerBytes, prefix.length);
  const text = new TextDecoder().decode(header);
  const json = parseJson(text);
  if (typeof json !== "object" || json === null || Array.isArray(json)) {
    throw corrupt(file, "its header is no JSON object");
  }
  const twice = findRepeatedKey(text);
  if (twice !== null) throw corrupt(file, `its header names tensor ${twice} twice`);

  const tensors = Object.entries(json)
    .filter(([name]) => name !== "__metadata__")
    .map(([name, entry]) => readEntry(name, entry, file, dataStart));
  tensors.sort((a, b) => a.offset - b.offset || a.bytes - b.bytes);
  let end = dataStart;
  let before = "the header";
  for (const tensor of tensors) {
    if (tensor.offset < end) throw corrupt(file, `tensor ${tensor.name} overlaps ${before}`);
    if (tensor.offset > end)
      throw corrupt(file, `${tensor.offset - end} bytes before tensor ${tensor.name} belong to none`);
    end = tensor.offset + tensor.bytes;
    before = `tensor ${tensor.name}`;
    if (end > fileBytes) {
      throw corrupt(file, `tensor ${tensor.name} ends at byte ${end}, but the file is cut off after ${fileBytes}`);
    }
  }
  if (end !== fileBytes) throw corrupt(file, `${fileBytes - end} bytes after the last tensor belong to none`);
  return tensors;
}

function readEntry(name: string, entry: unknown, file: string, dataStart: number): TensorInfo {
  const parsed = entrySchema.safeParse(entry);
  if (!parsed.success) throw corrupt(file, `tensor ${name} has no valid dtype, shape and data_offsets`);
  const { dtype, shape, data_offsets: offsets } = parsed.data;
  const elementBytes = bytesPerElement.get(dtype);
  if (elementBytes === undefined) throw corrupt(file, `tensor ${name} has the unknown dtype ${dtype}`);
  const bytes = shape.reduce((product, size) => product * size, elementBytes);
  const [begin, end] = offsets;
  if (end - begin !== bytes) {
    throw corrupt(file, `tensor ${name} takes ${end - begin} bytes, but ${dtype} ${shapeText(shape)} are ${bytes}`);
  }
  return { name, dtype, shape, file, offset: dataStart + begin, bytes };
}

/**
 * The first key that stands twice in a JSON object, not looking into nested ones. `JSON.parse` would silently keep the
 * last, and two readers could see two different models in one file.
 */
function findRepeatedKey(text: string): string | null {
  const seen = new Set<string>();
  let depth = 0;
  for (const [token, key] of text.matchAll(/("[^"\\]*(?:\\.[^"\\]*)*")\s*:|"[^"\\]*(?:\\.[^"\\]*)*"|[{}[\]]/g)) {
    if (key !== undefined) {
      if (depth !== 1) continue;
      const name = String(JSON.parse(key));
      if (seen.has(name)) return name;
      seen.add(name);
    } else if (token === "{" || token === "[") depth++;
    else if (token === "}" || token === "]") depth--;
  }
  return null;
}

async function openToRead(file: string, missing = `${file} is missing.`): Promise<FileHandle> {
  try {
    return await open(file, "r");
  } catch (error) {
    throw new ToastError("file_missing", isNotFound(error) ? missing : `${file} cannot be opened.`, { cause: error });
  }
}

async function readIfThere(file: string): Promise<string | null> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    if (isNotFound(error)) return null;
    throw new ToastError("file_missing", `${file} cannot be read.`, { cause: error });
  }
}

async function closeAll(handles: ReadonlyMap<string, FileHandle>): Promise<void> {
  await Promise.all([...handles.values()].map((handle) => handle.close()));
}

function isNotFound(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ENOENT";
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function corrupt(file: string, what: string): ToastError {
  return new ToastError("corrupt_safetensors", `${file} is damaged: ${what}.`);
}

function shapeText(shape: readonly number[]): string {
  return `[${shape.join(", ")}]`;
}
