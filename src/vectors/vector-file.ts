import { rename, rm, stat } from "node:fs/promises";
import { at } from "../at.js";
import { ggmlTypes } from "../convert/gguf/ggml-types.js";
import type { GgufMetadata } from "../convert/gguf/gguf-metadata.js";
import { GgufReader } from "../convert/gguf/gguf-reader.js";
import { type WrittenTensor, type WrittenValue, writeGguf } from "../convert/gguf/gguf-writer.js";
import { ToastError } from "../errors.js";

/** By layer, counted from 0: float32 [D]. */
export type Directions = ReadonlyMap<number, Float32Array>;

export const vectorMethods = ["mean", "pca"] as const;
/**
 * How directions came of two sides: the difference of their means, or the first principal component of the
 * differences.
 */
export type VectorMethod = (typeof vectorMethods)[number];

/** What a control vector's file says of it; null where it says nothing. */
export interface VectorDetails {
  /** A sentence: what it makes of the model's text. */
  readonly description: string | null;
  /** A prompt that shows it. */
  readonly examplePrompt: string | null;
  /** Strengths between which the text holds together, as measured. */
  readonly recommended: readonly [low: number, high: number] | null;
  readonly method: VectorMethod | null;
  /** What strength 1 adds, over the layers' outputs it is added to: a mean of the layers. */
  readonly normShare: number | null;
  /**
   * Of held-out examples: how likely one of the positive side lies further along the vector than one of the negative.
   */
  readonly separation: number | null;
  /** The same two layer by layer, those of the directions in their order. */
  readonly layerNormShares: readonly number[] | null;
  readonly layerSeparations: readonly number[] | null;
  /** Of the weights that it was made with. */
  readonly backboneSha256: string | null;
  /** The model's name in llama.cpp's words (`llama`). */
  readonly modelHint: string | null;
}

export const noDetails: VectorDetails = {
  description: null,
  examplePrompt: null,
  recommended: null,
  method: null,
  normShare: null,
  separation: null,
  layerNormShares: null,
  layerSeparations: null,
  backboneSha256: null,
  modelHint: null,
};

export interface VectorFile {
  readonly directions: Directions;
  readonly details: VectorDetails;
}

/** Largest file that is read: a hundred layers of 16,384 channels are 7 MiB. */
export const maxVectorBytes = 32 * 2 ** 20;
/** Longest texts of the details. */
export const mostText = { description: 300, examplePrompt: 500 } as const;

const architecture = "controlvector";
const keys = {
  architecture: "general.architecture",
  description: "general.description",
  modelHint: "controlvector.model_hint",
  layerCount: "controlvector.layer_count",
  examplePrompt: "toast.vector.example_prompt",
  recommended: "toast.vector.recommended",
  method: "toast.vector.method",
  normShare: "toast.vector.norm_share",
  separation: "toast.vector.separation",
  layerNormShares: "toast.vector.layer_norm_shares",
  layerSeparations: "toast.vector.layer_separations",
  backboneSha256: "toast.vector.backbone_sha256",
} as const;

const floatType = ggmlTypes.find(({ name }) => name === "F32");

/**
 * Reads a control vector as llama.cpp and repeng write it: a GGUF file of the architecture `controlvector` whose
 * tensors
 * `direction.N` are added to the output of layer N, counted from 0 (layer 0 has none in this format).
 * @throws ToastError `file_missing`; `invalid_vector` for a file that is damaged, too large, or no control vector.
 * @see https://github.com/vgel/repeng (extract.py), https://github.com/ggml-org/llama.cpp (common_control_vector_load)
 */
export async function readVectorFile(path: string): Promise<VectorFile> {
  const info = await stat(path).catch(() => null);
  if (info === null) throw new ToastError("file_missing", `${path} is not there.`);
  if (info.size > maxVectorBytes) {
    throw invalid(`It has ${info.size} bytes; a control vector has ${maxVectorBytes} at most.`);
  }
  try {
    const reader = await GgufReader.open([path]);
    try {
      return { details: detailsOf(reader.metadata), directions: await directionsOf(reader) };
    } finally {
      await reader.close();
    }
  } catch (cause) {
    if (!(cause instanceof ToastError) || cause.code === "invalid_vector") throw cause;
    throw new ToastError("invalid_vector", cause.message, { param: "file", cause });
  }
}

async function directionsOf(reader: GgufReader): Promise<Directions> {
  const directions = new Map<number, Float32Array>();
  let width: number | null = null;
  for (const tensor of reader.tensors) {
    const layer = /^direction\.([1-9]\d{0,4})$/.exec(tensor.name)?.[1];
    if (layer === undefined) {
      const why =
        tensor.name === "direction.0"
          ? "layer 0 has none in this format, for llama.cpp neither"
          : "no layer's direction";
      throw invalid(
        `Tensor ${tensor.name} is ${why}; a control vector has tensors direction.1, direction.2 and so on.`,
      );
    }
    const [size = 0] = tensor.dimensions;
    if (tensor.type !== floatType || tensor.dimensions.length !== 1) {
      const shape = `${tensor.type.name} [${tensor.dimensions.join(", ")}]`;
      throw invalid(`Tensor ${tensor.name} is ${shape}; a direction is one row of F32.`);
    }
    width ??= size;
    if (size !== width) throw invalid(`Tensor ${tensor.name} has ${size} numbers, the one before it ${width}.`);
    directions.set(Number(layer), await reader.readFloats(tensor));
  }
  if (directions.size === 0) throw invalid("The file has no tensor direction.N, so it would steer nothing.");
  const stated = reader.metadata.optional(keys.layerCount, "integer");
  if (stated !== undefined && stated < directions.size) {
    throw invalid(
      `The file says that it has ${stated} layers (${keys.layerCount}), and holds directions for ${directions.size}.`,
    );
  }
  return new Map([...directions].sort(([a], [b]) => a - b));
}

/** @throws ToastError `invalid_config` for a key of another kind, `invalid_vector` for a value that cannot be. */
function detailsOf(metadata: GgufMetadata): VectorDetails {
  const found = metadata.needed(keys.architecture, "string");
  if (found !== architecture) {
    throw invalid(
      `It is a GGUF file of the architecture '${found.slice(0, 40)}'; a control vector is one of '${architecture}'.`,
    );
  }
  const text = (key: string, most: number) => metadata.optional(key, "string")?.slice(0, most) ?? null;
  const share = (key: string) => rounded(metadata.optional(key, "float") ?? null);
  const shares = (key: string) => metadata.optional(key, "floats")?.map((value) => rounded(value) ?? 0) ?? null;
  const method = metadata.optional(keys.method, "string");
  return {
    description: text(keys.description, mostText.description),
    examplePrompt: text(keys.examplePrompt, mostText.examplePrompt),
    recommended: rangeOf(metadata.optional(keys.recommended, "floats") ?? null),
    method: vectorMethods.find((known) => known === method) ?? null,
    normShare: share(keys.normShare),
    separation: share(keys.separation),
    layerNormShares: shares(keys.layerNormShares),
    layerSeparations: shares(keys.layerSeparations),
    backboneSha256: metadata.optional(keys.backboneSha256, "string") ?? null,
    modelHint: text(keys.modelHint, 200),
  };
}

function rangeOf(values: readonly number[] | null): VectorDetails["recommended"] {
  if (values === null) return null;
  const [low, high] = values.map(rounded);
  if (values.length === 2 && low != null && high != null && low <= high) return [low, high];
  throw invalid(`${keys.recommended} has to be two strengths, the lower first.`);
}

/** As many digits as were measured; float32 would add seven more. */
function rounded(value: number | null): number | null {
  return value === null || !Number.isFinite(value) ? null : Number(value.toPrecision(4));
}

/**
 * Writes what `readVectorFile` and llama.cpp read; whoever looks at `path` sees all of it or nothing.
 * @throws ToastError `invalid_vector` for a direction of layer 0, `disk_full`, `write_failed`
 */
export async function writeVectorFile(path: string, { directions, details }: VectorFile): Promise<void> {
  if (floatType === undefined) throw new Error("F32 is one of ggml's types");
  const type = floatType;
  if (directions.has(0))
    throw invalid("Layer 0 has no direction in the GGUF format of control vectors; begin with layer 1.");
  const tensors = Array.from(directions, ([layer, values]): WrittenTensor => {
    return { name: `direction.${layer}`, type, dimensions: [values.length], chunks: () => [bytesOf(values)] };
  });
  const unfinished = `${path}.partial-${process.pid}`;
  await rm(unfinished, { force: true });
  try {
    await writeGguf(unfinished, metadataOf(details, directions.size), tensors);
    await rename(unfinished, path);
  } finally {
    await rm(unfinished, { force: true });
  }
}

function metadataOf(details: VectorDetails, directions: number): ReadonlyMap<string, WrittenValue> {
  const metadata = new Map<string, WrittenValue>([
    [keys.architecture, { kind: "string", value: architecture }],
    [keys.modelHint, { kind: "string", value: details.modelHint ?? "llama" }],
    [keys.layerCount, { kind: "uint32", value: directions }],
  ]);
  const texts = ["description", "examplePrompt", "method", "backboneSha256"] as const;
  for (const name of texts) {
    const value = details[name];
    if (value !== null) metadata.set(keys[name], { kind: "string", value });
  }
  for (const name of ["normShare", "separation"] as const) {
    const value = details[name];
    if (value !== null) metadata.set(keys[name], { kind: "float32", value });
  }
  for (const name of ["recommended", "layerNormShares", "layerSeparations"] as const) {
    const value = details[name];
    if (value !== null) metadata.set(keys[name], { kind: "float32s", value });
  }
  return metadata;
}

/** Little-endian, whatever the machine is. */
function bytesOf(values: Float32Array): Uint8Array {
  const view = new DataView(new ArrayBuffer(values.length * 4));
  for (let i = 0; i < values.length; i++) view.setFloat32(i * 4, at(values, i), true);
  return new Uint8Array(view.buffer);
}

function invalid(message: string): ToastError {
  return new ToastError("invalid_vector", message, { param: "file" });
}
