import { randomNormals } from "../tiny-folder.js";

/** Inputs of `size` channels that all follow three hidden ones, and their Gram matrix. */
export function correlatedInputs(count: number, size: number, seed: number) {
  const next = randomNormals(seed);
  const mixing = Float64Array.from({ length: 3 * size }, next);
  const inputs = new Float64Array(count * size);
  for (let row = 0; row < count; row++) {
    const hidden = [next(), next(), next()];
    for (let i = 0; i < size; i++) {
      inputs[row * size + i] = hidden.reduce(
        (sum, value, h) => sum + value * (mixing[h * size + i] ?? 0),
        0.3 * next(),
      );
    }
  }
  const gram = new Float32Array(size * size);
  for (let row = 0; row < count; row++) {
    for (let i = 0; i < size; i++) {
      for (let j = 0; j < size; j++) {
        const at = i * size + j;
        gram[at] = (gram[at] ?? 0) + (inputs[row * size + i] ?? 0) * (inputs[row * size + j] ?? 0);
      }
    }
  }
  return { inputs, gram };
}

/** The squared error of products with `rounded` instead of `rows`, both [count,size], over all inputs [*,size]. */
export function productError(
  rows: Float32Array,
  rounded: ArrayLike<number>,
  inputs: Float64Array,
  size: number,
): number {
  let sum = 0;
  for (let input = 0; input < inputs.length; input += size) {
    for (let row = 0; row < rows.length; row += size) {
      let difference = 0;
      for (let i = 0; i < size; i++) {
        difference += ((rounded[row + i] ?? Number.NaN) - (rows[row + i] ?? 0)) * (inputs[input + i] ?? 0);
      }
      sum += difference ** 2;
    }
  }
  return sum;
}
