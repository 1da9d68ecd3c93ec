import { type FileHandle, open } from "node:fs/promises";
import { ToastError } from "../../errors.js";
import { fileChunks } from "../file-chunks.js";
import { type GgufHeader, type GgufTensor, readGgufHeader } from "./gguf-header.js";
import type { GgufMetadata } from "./gguf-metadata.js";
import { corruptGguf, HeaderCursor } from "./header-cursor.js";

/** Bytes read at a time. */
const chunkBytes = 4 << 20;
/** Values decoded at a time, if a row is not longer: 8 MiB of float32. */
const chunkValues = 2 << 20;

/**
 * Metadata and tensors of a model in one GGUF file or in the parts of a split one. Headers are read and checked when it
 * is opened, tensors a few rows at a time when they are asked for: those rows are all that is ever in memory.
 */
export class GgufReader {
  /** Of the first part, which describes the model. */
  readonly metadata: GgufMetadata;
  readonly #handles: ReadonlyMap<string, FileHandle>;
  readonly #tensors: ReadonlyMap<string, GgufTensor>;

  private constructor(
    metadata: GgufMetadata,
    handles: ReadonlyMap<string, FileHandle>,
    tensors: ReadonlyMap<string, GgufTensor>,
  ) {
    this.metadata = metadata;
    this.#handles = handles;
    this.#tensors = tensors;
  }

  /**
   * @param files all parts in order, as `ggufParts` finds them.
   * @throws ToastError `file_missing`; `corrupt_gguf` and `misshapen_tensor` as `readGgufHeader`, and when parts do not
   *   belong together.
   */
  static async open(files: readonly string[]): Promise<GgufReader> {
    const handles = new Map<string, FileHandle>();
    const tensors = new Map<string, GgufTensor>();
    const headers: GgufHeader[] = [];
    try {
      for (const file of files) {
        const handle = await openToRead(file);
        handles.set(file, handle);
        const header = readGgufHeader(new HeaderCursor(file, handle.fd, (await handle.stat()).size));
        headers.push(header);
        for (const tensor of header.tensors) {
          const other = tensors.get(tensor.name);
          if (other !== undefined) throw corruptGguf(file, `tensor ${tensor.name} is also in ${other.file}`);
          tensors.set(tensor.name, tensor);
        }
      }
      const [first] = headers;
      if (first === undefined) throw new Error("no file to open");
      for (const [index, { metadata }] of headers.entries()) checkPart(metadata, index, files.length);
      const total = first.metadata.optional("split.tensors.count", "integer") ?? tensors.size;
      if (total !== tensors.size) {
        throw corruptGguf(
          first.metadata.file,
          `its parts hold ${tensors.size} tensors, not the ${total} that it names`,
        );
      }
      return new GgufReader(first.metadata, handles, tensors);
    } catch (error) {
      await closeAll(handles);
      throw error;
    }
  }

  get tensors(): Iterable<GgufTensor> {
    return this.#tensors.values();
  }

  /** Of all tensors together. */
  get bytes(): number {
    let sum = 0;
    for (const tensor of this.#tensors.values()) sum += tensor.bytes;
    return sum;
  }

  find(name: string): GgufTensor | undefined {
    return this.#tensors.get(name);
  }

  /**
   * The tensor of this name and these dimensions, a row's length first.
   * @throws ToastError `missing_tensor`, `misshapen_tensor`
   */
  expect(name: string, dimensions: readonly number[]): GgufTensor {
    const tensor = this.#tensors.get(name);
    const wanted = `[${dimensions.join(", ")}]`;
    if (tensor === undefined) {
      throw new ToastError("missing_tensor", `${this.metadata.file}: tensor ${name} ${wanted} is missing.`);
    }
    if (tensor.dimensions.join() !== dimensions.join()) {
      throw new ToastError(
        "misshapen_tensor",
        `${tensor.file}: tensor ${name} has dimensions [${tensor.dimensions.join(", ")}], expected ${wanted}.`,
      );
    }
    return tensor;
  }

  /**
   * A tensor's bytes as they lie in the file. Each view is valid until the next is asked for.
   * @throws ToastError `corrupt_gguf` when the file has become shorter.
   */
  rawChunks(tensor: GgufTensor, size: number = chunkBytes): AsyncGenerator<Uint8Array> {
    const handle = this.#handles.get(tensor.file);
    if (handle === undefined) throw new Error(`${tensor.file} is not open`);
    return fileChunks(handle, tensor, size, () => corruptGguf(tensor.file, `it ends inside tensor ${tensor.name}`));
  }

  /**
   * A tensor's values as float32, whole rows at a time, a multiple of `together` of them. Each view is valid until the
   * next is asked for.
   * @throws ToastError `not_finite_weights` at the first NaN or infinity; `corrupt_gguf` as `rawChunks`.
   */
  async *floatRows(tensor: GgufTensor, together = 1): AsyncGenerator<Float32Array> {
    const { blockSize, blockBytes, dequantize } = tensor.type;
    // A vector is a column here: its values are what `together` counts.
    const rowSize = tensor.dimensions.length === 1 ? 1 : (tensor.dimensions[0] ?? 1);
    const unit = lowestMultiple(rowSize * together, blockSize);
    const values = Math.max(1, Math.floor(chunkValues / unit)) * unit;
    const size = (values / blockSize) * blockBytes;
    const floats = new Float32Array(Math.min(values, (tensor.bytes / blockBytes) * blockSize));
    let done = 0;
    for await (const raw of this.rawChunks(tensor, size)) {
      const view = new DataView(raw.buffer, raw.byteOffset, raw.byteLength);
      const blocks = raw.length / blockBytes;
      for (let block = 0; block < blocks; block++) dequantize(view, block * blockBytes, floats, block * blockSize);
      const chunk = floats.subarray(0, blocks * blockSize);
      const bad = firstNotFinite(chunk);
      if (bad !== -1) {
        throw new ToastError(
          "not_finite_weights",
          `${tensor.file}: tensor ${tensor.name} holds ${chunk[bad]} at element ${done + bad}; weights must be finite.`,
        );
      }
      yield chunk;
      done += chunk.length;
    }
  }

  /** The whole tensor as float32; for those known to be small enough. @throws as `floatRows`. */
  async readFloats(tensor: GgufTensor): Promise<Float32Array> {
    const values = new Float32Array(tensor.dimensions.reduce((product, size) => product * size, 1));
    let done = 0;
    for await (const rows of this.floatRows(tensor)) {
      values.set(rows, done);
      done += rows.length;
    }
    return values;
  }

  async close(): Promise<void> {
    await closeAll(this.#handles);
  }
}

/** The index of the first NaN or infinity, or -1. */
function firstNotFinite(values: Float32Array): number {
  // Each such value times 0 is NaN, and a sum with NaN stays one: no comparison for each of billions.
  let probe = 0;
  for (const value of values) probe += value * 0;
  return probe === 0 ? -1 : values.findIndex((value) => !Number.isFinite(value));
}

/** @throws ToastError `corrupt_gguf` when a file is not the part that its name says. */
function checkPart(metadata: GgufMetadata, index: number, count: number): void {
  const statedCount = metadata.optional("split.count", "integer") ?? 1;
  const number = metadata.optional("split.no", "integer") ?? 0;
  // A file that was never split may say so with 0 or 1.
  if (Math.max(1, statedCount) === count && number === index) return;
  const stated = `part ${number + 1} of ${statedCount}`;
  throw corruptGguf(metadata.file, `it calls itself ${stated}, and was taken for part ${index + 1} of ${count}`);
}

function lowestMultiple(of: number, and: number): number {
  let multiple = of;
  while (multiple % and !== 0) multiple += of;
  return multiple;
}

async function openToRead(file: string): Promise<FileHandle> {
  try {
    return await open(file, "r");
  } catch (cause) {
    throw new ToastError("file_missing", `${file} is missing or cannot be opened.`, { cause });
  }
}

async function closeAll(handles: ReadonlyMap<string, FileHandle>): Promise<void> {
  await Promise.all([...handles.values()].map((handle) => handle.close()));
}
