import { createHash } from "node:crypto";
import { ToastError } from "../errors.js";
import { type Architecture, modelIdPattern } from "../model/manifest.js";

/**
 * A control vector: for some layers a direction that is added to the residual stream behind them, times a strength that
 * each request chooses.
 *
 * @see https://github.com/vgel/repeng, and llama.cpp (src/llama-adapter.cpp), where the tensor `direction.N` of a file
 * is what is added to the output of layer N, counted from 0; layer 0 has none there.
 */
export interface ControlVector {
  /** What requests call it. */
  readonly name: string;
  /**
   * By layer, counted from 0: float32 [D], added to the layer's output, in the channels that the model was trained with
   * and not scaled. Layers without one are left as they are.
   */
  readonly directions: ReadonlyMap<number, Float32Array>;
}

/** Most vectors in one request's stack. */
export const maxVectors = 8;

/** Bounds of a vector's strength; 0 leaves it out. */
export const maxVectorStrength = 4;

/**
 * Whether a vector can steer a model of this shape.
 * @throws ToastError `invalid_vector`
 */
export function checkControlVector(
  { name, directions }: ControlVector,
  { layers, hiddenSize }: Pick<Architecture, "layers" | "hiddenSize">,
): void {
  if (!modelIdPattern.test(name)) {
    const message = `'${name.slice(0, 100)}' cannot be the name of a control vector: use up to 96 letters, digits, '.', '_' and '-', a letter or digit first.`;
    throw new ToastError("invalid_vector", message, { param: "name" });
  }
  if (directions.size === 0) {
    throw invalid(`Control vector ${name} has no directions; it needs one for at least one layer.`);
  }
  let isZero = true;
  for (const [layer, direction] of directions) {
    if (!Number.isInteger(layer) || layer < 0 || layer >= layers) {
      throw invalid(
        `Control vector ${name} has a direction for layer ${layer}, but this model has layers 0 to ${layers - 1}: it was made for another model.`,
      );
    }
    if (direction.length !== hiddenSize) {
      throw invalid(
        `Control vector ${name} has ${direction.length} numbers in layer ${layer}, but this model's hidden size is ${hiddenSize}: it was made for another model.`,
      );
    }
    if (!direction.every(Number.isFinite)) {
      throw invalid(`Control vector ${name} has numbers in layer ${layer} that are NaN or infinite. Make it again.`);
    }
    isZero &&= direction.every((value) => value === 0);
  }
  if (isZero) {
    throw invalid(`Control vector ${name} is zero in every layer: it would steer nothing. Its two sides may be equal.`);
  }
}

/** The layers that a vector has directions for, both ends included. */
export function layersOf({ directions }: ControlVector): readonly [from: number, to: number] {
  const layers = [...directions.keys()];
  return [Math.min(...layers), Math.max(...layers)];
}

/** Twelve hexadecimal digits that tell these directions from others; the name has no part in them. */
export function vectorFingerprint({ directions }: ControlVector): string {
  const hash = createHash("sha256");
  for (const [layer, direction] of [...directions].sort(([a], [b]) => a - b)) {
    hash.update(`${layer}:${direction.length}:`);
    hash.update(new Uint8Array(direction.buffer, direction.byteOffset, direction.byteLength));
  }
  return hash.digest("hex").slice(0, 12);
}

function invalid(message: string): ToastError {
  return new ToastError("invalid_vector", message, { param: "vector" });
}
