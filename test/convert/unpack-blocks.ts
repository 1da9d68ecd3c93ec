import { blockSize, blocksOfRow, quantizeBlocks } from "../../src/convert/quantize/quantize-blocks.js";

/** The 4-bit numbers of packed bytes, the low half of each byte first. */
export function unpack(bytes: Uint8Array): number[] {
  return [...bytes].flatMap((byte) => [byte & 15, byte >> 4]);
}

/**
 * What int4 makes of rows of `size` values: float32 [count, size], by the formula of MatMulNBits.
 * @param spread see quantizeBlocks.
 */
export function dequantize(rows: Float32Array, size: number, spread: Float32Array | null = null): Float32Array {
  const { codeBytes, scaleCount, zeroPointBytes } = blocksOfRow(size);
  const count = rows.length / size;
  const codes = new Uint8Array(count * codeBytes);
  const scales = new Float32Array(count * scaleCount);
  const zeroPoints = new Uint8Array(count * zeroPointBytes);
  quantizeBlocks(rows, size, spread, { codes, scales, zeroPoints });
  const rounded = new Float32Array(rows.length);
  for (let row = 0; row < count; row++) {
    const rowCodes = unpack(codes.subarray(row * codeBytes, (row + 1) * codeBytes));
    const rowZeroPoints = unpack(zeroPoints.subarray(row * zeroPointBytes, (row + 1) * zeroPointBytes));
    for (let i = 0; i < size; i++) {
      const block = Math.floor(i / blockSize);
      const step = (rowCodes[i] ?? Number.NaN) - (rowZeroPoints[block] ?? Number.NaN);
      rounded[row * size + i] = step * (scales[row * scaleCount + block] ?? Number.NaN);
    }
  }
  return rounded;
}
