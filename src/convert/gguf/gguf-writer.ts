import type { ManifestFile } from "../../model/manifest.js";
import { OutputFile } from "../output-file.js";
import type { GgmlType } from "./ggml-types.js";

/** A value as it is stored. A list has values of one type. */
export type WrittenValue =
  | { readonly kind: "uint32" | "int32" | "float32"; readonly value: number }
  | { readonly kind: "boolean"; readonly value: boolean }
  | { readonly kind: "string"; readonly value: string }
  | { readonly kind: "int32s" | "float32s"; readonly value: readonly number[] }
  | { readonly kind: "strings"; readonly value: readonly string[] };

export interface WrittenTensor {
  readonly name: string;
  readonly type: Pick<GgmlType, "id" | "blockSize" | "blockBytes">;
  /** A row's length first; a multiple of the type's block. */
  readonly dimensions: readonly number[];
  /** Its bytes, as many as type and dimensions say. */
  chunks(): Iterable<Uint8Array> | AsyncIterable<Uint8Array>;
}

const alignment = 32;

/**
 * Writes a GGUF file of version 3, a chunk in memory at a time; what it writes, `GgufReader` and llama.cpp read.
 * @throws ToastError `disk_full`, `write_failed`, and what `chunks` throws.
 */
export async function writeGguf(
  path: string,
  metadata: ReadonlyMap<string, WrittenValue>,
  tensors: readonly WrittenTensor[],
): Promise<ManifestFile> {
  const header = [text("GGUF").subarray(8), uint32(3), uint64(tensors.length), uint64(metadata.size)];
  for (const [key, value] of metadata) header.push(text(key), valueBytes(value));
  let offset = 0;
  for (const tensor of tensors) {
    header.push(text(tensor.name), uint32(tensor.dimensions.length), ...tensor.dimensions.map(uint64));
    header.push(uint32(tensor.type.id), uint64(offset));
    offset = aligned(offset + bytesOf(tensor));
  }
  return OutputFile.create(path, async (file) => {
    await file.append(Buffer.concat(header));
    await file.padTo(aligned(file.bytes));
    for (const tensor of tensors) {
      const start = file.bytes;
      for await (const chunk of tensor.chunks()) await file.append(chunk);
      const written = file.bytes - start;
      if (written !== bytesOf(tensor)) throw new Error(`${tensor.name} has ${written} bytes, not ${bytesOf(tensor)}`);
      // The last one too: llama.cpp wants it so.
      await file.padTo(aligned(file.bytes));
    }
  });
}

function bytesOf({ type, dimensions }: WrittenTensor): number {
  return (dimensions.reduce((product, size) => product * size, 1) / type.blockSize) * type.blockBytes;
}

function aligned(bytes: number): number {
  return Math.ceil(bytes / alignment) * alignment;
}

function valueBytes(entry: WrittenValue): Uint8Array {
  switch (entry.kind) {
    case "uint32":
      return Buffer.concat([uint32(4), uint32(entry.value)]);
    case "int32":
      return Buffer.concat([uint32(5), int32(entry.value)]);
    case "float32":
      return Buffer.concat([uint32(6), float32(entry.value)]);
    case "boolean":
      return Buffer.concat([uint32(7), Uint8Array.of(entry.value ? 1 : 0)]);
    case "string":
      return Buffer.concat([uint32(8), text(entry.value)]);
    case "int32s":
      return list(5, entry.value.map(int32));
    case "float32s":
      return list(6, entry.value.map(float32));
    case "strings":
      return list(8, entry.value.map(text));
  }
}

function list(type: number, elements: readonly Uint8Array[]): Uint8Array {
  return Buffer.concat([uint32(9), uint32(type), uint64(elements.length), Buffer.concat(elements)]);
}

function scalar(bytes: number, set: (view: DataView) => void): Uint8Array {
  const view = new DataView(new ArrayBuffer(bytes));
  set(view);
  return new Uint8Array(view.buffer);
}

const uint32 = (value: number): Uint8Array => scalar(4, (view) => view.setUint32(0, value, true));
const int32 = (value: number): Uint8Array => scalar(4, (view) => view.setInt32(0, value, true));
const float32 = (value: number): Uint8Array => scalar(4, (view) => view.setFloat32(0, value, true));
const uint64 = (value: number): Uint8Array => scalar(8, (view) => view.setBigUint64(0, BigInt(value), true));

/** UTF-8 behind its length. */
function text(value: string): Uint8Array {
  const bytes = new TextEncoder().encode(value);
  const all = new Uint8Array(8 + bytes.length);
  all.set(uint64(bytes.length));
  all.set(bytes, 8);
  return all;
}
