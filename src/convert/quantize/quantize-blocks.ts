/**
 * Values that share a scale and a zero point. Of 32, 64 and 128 it is the most exact: the RMS error of a trained
 * model's weights (5.5M parameters) is 7.8, 8.8 and 9.6 %. And it alone has kernels that give a row the same bits alone
 * and in a batch, on processors with AVX-512 VNNI (docs/architecture.md). It is not the fastest: K 2048, N 11264, one
 * thread, one row took 0.76, 0.82 and 0.54 of int8's time, two rows 1.05, 0.85 and 0.72 (medians of 44 interleaved runs
 * on a busy machine).
 */
export const blockSize = 32;

/** Adding and subtracting it rounds a float64 to the nearest whole number, ties to even. */
const roundingMagic = 6755399441055744;
const largestCode = 15;

/** Where the search for a scale begins: shares of the scale that just spans the block. */
const spans = [1, 0.9375, 0.875, 0.8125, 0.75];

/**
 * What one row of `size` values becomes. The last block is filled up with codes of zero.
 * @returns bytes of codes, number of scales, bytes of zero points.
 */
export function blocksOfRow(size: number): { codeBytes: number; scaleCount: number; zeroPointBytes: number } {
  const blocks = Math.ceil(size / blockSize);
  return { codeBytes: (blocks * blockSize) / 2, scaleCount: blocks, zeroPointBytes: Math.ceil(blocks / 2) };
}

export interface QuantizedBlocks {
  /** uint8 [count, blocks, blockSize / 2], zeros on entry */
  readonly codes: Uint8Array;
  /** float32 [count, blocks] */
  readonly scales: Float32Array;
  /** uint8 [count, ceil(blocks / 2)], zeros on entry */
  readonly zeroPoints: Uint8Array;
}

/**
 * Asymmetric int4 by block, in the layout of com.microsoft MatMulNBits: x ≈ (code - zeroPoint) · scale, codes and zero
 * points 0…15, two to a byte, the first in the low half. Each block gets the scale and zero point that a small search
 * finds to have the least squared error; zero is always one of the 16 values. A block of zeros gets scale 0.
 *
 * The search needs no data. It lowers the RMS error of a trained model's weights from 8.1 % (scale = range / 15) to 7.8
 * %, where trying every zero point with 24 scales reaches 7.7 %, for about 17 passes over a block (the same model).
 *
 * @param rows float32 [count, size]
 * @param spread float32 [size,size], of `errorSpread`: each value's rounding error is made good by the values behind it
 *   (see compensated-rounding.ts), and a block is fitted to what those before it have left in it. Null: to the nearest.
 */
export function quantizeBlocks(
  rows: Float32Array,
  size: number,
  spread: Float32Array | null,
  { codes, scales, zeroPoints }: QuantizedBlocks,
): void {
  const { codeBytes, scaleCount, zeroPointBytes } = blocksOfRow(size);
  const left = new Float32Array(size);
  for (let row = 0; row < rows.length / size; row++) {
    left.set(rows.subarray(row * size, (row + 1) * size));
    for (let block = 0; block < scaleCount; block++) {
      const from = block * blockSize;
      const { scale, zeroPoint } = fitBlock(left.subarray(from, Math.min(from + blockSize, size)));
      scales[row * scaleCount + block] = scale;
      const pair = row * zeroPointBytes + (block >> 1);
      zeroPoints[pair] = (zeroPoints[pair] ?? 0) | (zeroPoint << (4 * (block & 1)));
      const inverse = inverseOf(scale);
      for (let i = 0; i < blockSize; i++) {
        // Behind the row's end the code is that of zero.
        const column = from + i;
        const value = column < size ? (left[column] as number) : 0;
        const step = stepOf(value, inverse, zeroPoint);
        const byte = row * codeBytes + (column >> 1);
        codes[byte] = (codes[byte] ?? 0) | ((step + zeroPoint) << (4 * (i & 1)));
        if (spread === null || column >= size) continue;
        const error = value - step * scale;
        const start = column * size;
        for (let k = column + 1; k < size; k++) left[k] = (left[k] as number) - error * (spread[start + k] as number);
      }
    }
  }
}

interface BlockFit {
  /** A float32 number, as it is stored. */
  readonly scale: number;
  readonly zeroPoint: number;
  /** Σx² less the squared error: how much of the block its codes account for. */
  readonly gain: number;
  /** The scale that would fit these very codes best (least squares). */
  readonly nextScale: number;
}

function fitBlock(values: Float32Array): BlockFit {
  let low = 0;
  let high = 0;
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  const widest = (high - low) / largestCode;
  let best: BlockFit = { scale: 0, zeroPoint: 8, gain: 0, nextScale: 0 };
  const keepBetter = (fit: BlockFit): void => {
    if (fit.gain > best.gain) best = fit;
  };
  // Outliers are worth clipping where the many values between them gain more than they lose.
  for (const span of spans) {
    const scale = widest * span;
    keepBetter(fitOf(values, scale, clampCode(Math.round((largestCode - (high + low) / scale) / 2))));
  }
  // From the best of these downhill: neighbouring zero points, each also with the scale that fits its codes.
  for (let round = 0; round < 2; round++) {
    const { scale, zeroPoint, gain } = best;
    if (gain === 0) break;
    for (let z = clampCode(zeroPoint - 1); z <= clampCode(zeroPoint + 1); z++) {
      const fit = fitOf(values, scale, z);
      keepBetter(fit);
      keepBetter(fitOf(values, fit.nextScale, z));
    }
    if (best.gain === gain) break;
  }
  return best;
}

function fitOf(values: Float32Array, wanted: number, zeroPoint: number): BlockFit {
  const scale = Math.fround(wanted);
  const inverse = inverseOf(scale);
  let product = 0;
  let squares = 0;
  for (let i = 0; i < values.length; i++) {
    const value = values[i] ?? 0;
    const step = stepOf(value, inverse, zeroPoint);
    product += value * step;
    squares += step * step;
  }
  const gain = scale * (2 * product - scale * squares);
  return { scale, zeroPoint, gain, nextScale: squares === 0 ? scale : product / squares };
}

function inverseOf(scale: number): number {
  return scale === 0 ? 0 : 1 / scale;
}

/** code - zeroPoint of the value that is nearest among the 16. */
function stepOf(value: number, inverse: number, zeroPoint: number): number {
  const step = value * inverse + roundingMagic - roundingMagic;
  if (step < -zeroPoint) return -zeroPoint;
  return step > largestCode - zeroPoint ? largestCode - zeroPoint : step;
}

function clampCode(code: number): number {
  return Math.min(Math.max(code, 0), largestCode);
}
