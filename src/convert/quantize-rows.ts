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
