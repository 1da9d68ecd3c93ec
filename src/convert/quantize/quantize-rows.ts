/** Adding and subtracting it rounds a float64 to the nearest whole number, ties to even. */
const roundingMagic = 6755399441055744;

/**
 * Symmetric int8 by row: q = round(x / scale), scale = absmax / 127. A row of zeros gets scale 0.
 * @param rows float32 [count, size]
 * @param into int8 [count, size]
 * @param scales float32 [count]
 */
export function quantizeRows(rows: Float32Array, size: number, into: Int8Array, scales: Float32Array): void {
  for (let row = 0; row < scales.length; row++) {
    const start = row * size;
    const end = start + size;
    let absMax = 0;
    for (let i = start; i < end; i++) {
      const magnitude = Math.abs(rows[i] ?? 0);
      if (magnitude > absMax) absMax = magnitude;
    }
    // Divided by the scale as it is stored, so that what is multiplied back is what was divided by.
    const scale = Math.fround(absMax / 127);
    scales[row] = scale;
    const inverse = scale === 0 ? 0 : 1 / scale;
    for (let i = start; i < end; i++) {
      const rounded = (rows[i] ?? 0) * inverse + roundingMagic - roundingMagic;
      // A subnormal scale is coarse enough to push its own absmax past 127.
      into[i] = rounded > 127 ? 127 : rounded < -127 ? -127 : rounded;
    }
  }
}

/**
 * The same scales, but each value's rounding error is made good by the values behind it (see compensated-rounding.ts).
 * @param spread float32 [size,size], of `errorSpread`.
 */
export function quantizeRowsCompensated(
  rows: Float32Array,
  size: number,
  spread: Float32Array,
  into: Int8Array,
  scales: Float32Array,
): void {
  const left = new Float64Array(size);
  // For scales alone: what is rounded here is overwritten below.
  quantizeRows(rows, size, into, scales);
  for (let row = 0; row < scales.length; row++) {
    const scale = scales[row] as number;
    if (scale === 0) continue;
    left.set(rows.subarray(row * size, (row + 1) * size));
    const inverse = 1 / scale;
    for (let j = 0; j < size; j++) {
      const value = left[j] as number;
      const rounded = Math.max(-127, Math.min(127, value * inverse + roundingMagic - roundingMagic));
      into[row * size + j] = rounded;
      const error = value - rounded * scale;
      const start = j * size;
      for (let k = j + 1; k < size; k++) left[k] = (left[k] as number) - error * (spread[start + k] as number);
    }
  }
}
