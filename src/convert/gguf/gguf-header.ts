import { ToastError } from "../../errors.js";
import { type GgmlType, ggmlType, ggmlTypeName, ggmlTypes } from "./ggml-types.js";
import { GgufMetadata, type GgufValue } from "./gguf-metadata.js";
import type { HeaderCursor } from "./header-cursor.js";

/** Where one tensor lies; nothing of it has been read. */
export interface GgufTensor {
  /** llama.cpp's: blk.0.attn_q.weight … */
  readonly name: string;
  readonly type: GgmlType;
  /** In the file's order: the length of a row comes first. */
  readonly dimensions: readonly number[];
  /** Path of the file that holds it. */
  readonly file: string;
  /** First byte, counted from the start of the file. */
  readonly offset: number;
  readonly bytes: number;
}

export interface GgufHeader {
  readonly metadata: GgufMetadata;
  readonly tensors: readonly GgufTensor[];
}

const magic = 0x46554747; // "GGUF"
const defaultAlignment = 32;
const most = { keys: 65_536, tensors: 65_536, elements: 1 << 22, keyBytes: 65_535, nameBytes: 64, dimensions: 4 };

/**
 * Reads what stands before the weights of a GGUF file of version 2 or 3, little-endian, and checks it against the file.
 *
 * Own code, though the hub's client library has a reader (@huggingface/gguf): that one fills the end of a cut-off file
 * with zeros and reads them as values, lets a second key replace the first, and checks neither types, offsets nor sizes
 * of tensors. It is made to show what a file says; here a model is made of it.
 *
 * @throws ToastError `corrupt_gguf` for anything that llama.cpp would not write, `misshapen_tensor` for a type that is
 *   not read.
 * @see https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
 */
export function readGgufHeader(cursor: HeaderCursor): GgufHeader {
  if (cursor.fileBytes < 24) throw cursor.corrupt(`it has ${cursor.fileBytes} bytes, too few for a header`);
  if (cursor.uint32("the magic number") !== magic) throw cursor.corrupt("it does not begin with GGUF");
  const version = cursor.uint32("the version");
  if (version !== 0 && (version & 0xffff) === 0) throw cursor.corrupt("it is big-endian; little-endian files are read");
  if (version !== 2 && version !== 3) throw cursor.corrupt(`it has version ${version}; 2 and 3 are read`);
  // A tensor takes its name's length, a name of a byte, a dimension, type and offset; a key its length, a byte, type
  // and value.
  const tensorCount = cursor.count("tensors", 33, most.tensors);
  const keyCount = cursor.count("keys", 14, most.keys);

  const values = new Map<string, GgufValue>();
  for (let index = 0; index < keyCount; index++) {
    const key = cursor.string(`the name of key ${index}`, most.keyBytes);
    if (key === "") throw cursor.corrupt(`key ${index} has no name`);
    if (values.has(key)) throw cursor.corrupt(`key ${key} stands there twice`);
    values.set(key, readValue(cursor, key));
  }
  const metadata = new GgufMetadata(values, cursor.file);

  const entries = Array.from({ length: tensorCount }, (_, index) => readTensorInfo(cursor, index));
  const alignment = alignmentOf(metadata, cursor);
  const dataStart = Math.ceil(cursor.position / alignment) * alignment;
  const tensors = entries.map(({ offset, ...tensor }) => {
    if (offset % alignment !== 0) {
      throw cursor.corrupt(`tensor ${tensor.name} begins at byte ${offset}, no multiple of ${alignment}`);
    }
    return { ...tensor, file: cursor.file, offset: dataStart + offset };
  });
  checkPlaces(tensors, cursor);
  return { metadata, tensors };
}

/** Throws unless names differ and no tensor reaches into another or beyond the file. */
function checkPlaces(tensors: readonly GgufTensor[], cursor: HeaderCursor): void {
  const names = new Set<string>();
  for (const { name } of tensors) {
    if (names.has(name)) throw cursor.corrupt(`tensor ${name} stands there twice`);
    names.add(name);
  }
  let end = 0;
  let before = "";
  for (const tensor of tensors.toSorted((a, b) => a.offset - b.offset)) {
    if (tensor.offset < end) throw cursor.corrupt(`tensor ${tensor.name} overlaps tensor ${before}`);
    end = tensor.offset + tensor.bytes;
    before = tensor.name;
    if (end > cursor.fileBytes) {
      throw cursor.corrupt(`tensor ${tensor.name} ends at byte ${end}, but the file after ${cursor.fileBytes}`);
    }
  }
}

function readTensorInfo(cursor: HeaderCursor, index: number): Omit<GgufTensor, "file"> {
  const name = cursor.string(`the name of tensor ${index}`, most.nameBytes);
  if (name === "") throw cursor.corrupt(`tensor ${index} has no name`);
  const where = `tensor ${name}`;
  const rank = cursor.uint32(where);
  if (rank < 1 || rank > most.dimensions) {
    throw cursor.corrupt(`${where} has ${rank} dimensions; 1 to ${most.dimensions} are possible`);
  }
  const dimensions = Array.from({ length: rank }, () => cursor.uint64(where));
  const typeId = cursor.uint32(where);
  const offset = cursor.uint64(where);
  const type = ggmlType(typeId);
  if (type === undefined) {
    const known = ggmlTypes.map((entry) => entry.name).join(", ");
    throw new ToastError(
      "misshapen_tensor",
      `${cursor.file}: ${where} is ${ggmlTypeName(typeId)}; supported are ${known}.`,
    );
  }
  const [rowSize = 0] = dimensions;
  const elements = dimensions.reduce((product, size) => product * size, 1);
  const bytes = (elements / type.blockSize) * type.blockBytes;
  // Sizes and offsets are float64 here; beyond 2^53 they were rounded, and no file is as long.
  if (elements < 1 || !Number.isSafeInteger(elements) || bytes > cursor.fileBytes || offset > cursor.fileBytes) {
    throw cursor.corrupt(
      `${where}, ${type.name} [${dimensions.join(", ")}] at ${offset}, cannot lie in its ${cursor.fileBytes} bytes`,
    );
  }
  if (rowSize % type.blockSize !== 0) {
    throw cursor.corrupt(`${where} has rows of ${rowSize}; ${type.name} needs a multiple of ${type.blockSize}`);
  }
  return { name, type, dimensions, offset, bytes };
}

function alignmentOf(metadata: GgufMetadata, cursor: HeaderCursor): number {
  const alignment = metadata.optional("general.alignment", "integer") ?? defaultAlignment;
  const isPowerOfTwo = alignment >= 1 && alignment <= 1 << 30 && (alignment & (alignment - 1)) === 0;
  if (!isPowerOfTwo) throw cursor.corrupt(`general.alignment is ${alignment}, no power of two`);
  return alignment;
}

function readValue(cursor: HeaderCursor, key: string): GgufValue {
  const type = cursor.uint32(key);
  const kind = scalarKinds.get(type);
  if (kind !== undefined) return { kind: kind.name, value: kind.read(cursor, key) } as GgufValue;
  if (type !== arrayType) throw cursor.corrupt(`key ${key} is of the unknown type ${type}`);
  const elementType = cursor.uint32(key);
  const element = scalarKinds.get(elementType);
  if (element === undefined) {
    const what = elementType === arrayType ? "a list of lists" : `a list of the unknown type ${elementType}`;
    throw cursor.corrupt(`key ${key} is ${what}`);
  }
  const count = cursor.count(`elements of ${key}`, element.bytes, most.elements);
  const value: unknown[] = [];
  for (let i = 0; i < count; i++) value.push(element.read(cursor, key));
  return { kind: `${element.name}s`, value } as GgufValue;
}

interface ScalarKind {
  readonly name: "integer" | "float" | "boolean" | "string";
  /** At least. */
  readonly bytes: number;
  readonly read: (cursor: HeaderCursor, key: string) => number | boolean | string;
}

const arrayType = 9;
const scalarKinds: ReadonlyMap<number, ScalarKind> = new Map<number, ScalarKind>([
  [0, { name: "integer", bytes: 1, read: (cursor, key) => cursor.uint8(key) }],
  [1, { name: "integer", bytes: 1, read: (cursor, key) => cursor.int8(key) }],
  [2, { name: "integer", bytes: 2, read: (cursor, key) => cursor.uint16(key) }],
  [3, { name: "integer", bytes: 2, read: (cursor, key) => cursor.int16(key) }],
  [4, { name: "integer", bytes: 4, read: (cursor, key) => cursor.uint32(key) }],
  [5, { name: "integer", bytes: 4, read: (cursor, key) => cursor.int32(key) }],
  [6, { name: "float", bytes: 4, read: (cursor, key) => cursor.float32(key) }],
  [7, { name: "boolean", bytes: 1, read: (cursor, key) => cursor.uint8(key) !== 0 }],
  [8, { name: "string", bytes: 8, read: (cursor, key) => cursor.string(key) }],
  [10, { name: "integer", bytes: 8, read: (cursor, key) => cursor.uint64(key) }],
  [11, { name: "integer", bytes: 8, read: (cursor, key) => cursor.int64(key) }],
  [12, { name: "float", bytes: 8, read: (cursor, key) => cursor.float64(key) }],
]);
