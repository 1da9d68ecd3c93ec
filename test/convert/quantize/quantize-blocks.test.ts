import { describe, expect, it } from "vitest";
import { errorSpread } from "../../../src/convert/quantize/compensated-rounding.js";
import { blocksOfRow, quantizeBlocks } from "../../../src/convert/quantize/quantize-blocks.js";
import { randomNormals } from "../tiny-folder.js";
import { dequantize, unpack } from "../unpack-blocks.js";
import { correlatedInputs, productError } from "./correlated-inputs.js";

function quantize(rows: Float32Array, size: number) {
  const { codeBytes, scaleCount, zeroPointBytes } = blocksOfRow(size);
  const count = rows.length / size;
  const codes = new Uint8Array(count * codeBytes);
  const scales = new Float32Array(count * scaleCount);
  const zeroPoints = new Uint8Array(count * zeroPointBytes);
  quantizeBlocks(rows, size, null, { codes, scales, zeroPoints });
  return { codes, scales, zeroPoints };
}

describe("quantizeBlocks", () => {
  it("puts the first of two codes, and of two zero points, in the low half of a byte", () => {
    // Two blocks of whole numbers 16 apart: scale 1, and the zero point is what the smallest one needs.
    const rows = Float32Array.from({ length: 64 }, (_, i) => (i % 16) - (i < 32 ? 5 : 9));
    const { codes, scales, zeroPoints } = quantize(rows, 64);
    expect([...scales]).toEqual([1, 1]);
    expect([...zeroPoints]).toEqual([5 | (9 << 4)]);
    expect([...codes]).toEqual([...Array(4).keys()].flatMap(() => [0x10, 0x32, 0x54, 0x76, 0x98, 0xba, 0xdc, 0xfe]));
  });

  it("fills the last block of a row up with zeros, and begins the next row with a block of its own", () => {
    const next = randomNormals(2);
    const rows = Float32Array.from({ length: 3 * 37 }, next);
    const { codes, scales, zeroPoints } = quantize(rows, 37);
    expect([codes.length, scales.length, zeroPoints.length]).toEqual([3 * 32, 3 * 2, 3]);
    for (let row = 0; row < 3; row++) {
      expect(unpack(codes.subarray(row * 32 + 16, row * 32 + 32)).slice(5)).toEqual(
        Array(27).fill((zeroPoints[row] ?? 0) >> 4),
      );
      const alone = quantize(rows.subarray(row * 37, (row + 1) * 37), 37);
      expect(alone.codes).toEqual(codes.subarray(row * 32, (row + 1) * 32));
    }
  });

  it("is never worse than the scale that just spans a block, and better on the whole", () => {
    const next = randomNormals(3);
    const rows = Float32Array.from({ length: 32 * 500 }, () => 0.02 * next());
    const rounded = dequantize(rows, 32);
    let found = 0;
    let spanned = 0;
    for (let block = 0; block < 500; block++) {
      const values = rows.subarray(32 * block, 32 * (block + 1));
      const error = squaredError(values, rounded.subarray(32 * block, 32 * (block + 1)));
      const bound = squaredError(values, spanning(values));
      expect(error).toBeLessThanOrEqual(bound * (1 + 1e-6));
      found += error;
      spanned += bound;
    }
    expect(found / spanned).toBeLessThan(0.95);
  });

  it("clips an outlier rather than lose everything beside it", () => {
    const next = randomNormals(4);
    const values = Float32Array.from({ length: 32 }, (_, i) => (i === 7 ? 12 : next()));
    const rounded = dequantize(values, 32);
    expect(rounded[7]).toBeLessThan(12);
    expect(squaredError(values, rounded)).toBeLessThan(0.9 * squaredError(values, spanning(values)));
  });

  it("takes a block of one sign, and of one value", () => {
    for (const values of [
      Array(32).fill(0.7),
      Array(32).fill(-0.7),
      Array.from({ length: 32 }, (_, i) => 1 + i / 31),
    ]) {
      const rounded = dequantize(Float32Array.from(values), 32);
      for (const [i, value] of values.entries()) expect(Math.abs((rounded[i] ?? 0) - value)).toBeLessThan(0.07);
    }
  });

  it("with compensation errs less in the product than to the nearest, on inputs it has not seen", () => {
    const size = 80;
    const rows = Float32Array.from({ length: 6 * size }, randomNormals(5));
    const { gram } = correlatedInputs(800, size, 7);
    const { inputs } = correlatedInputs(900, size, 7);
    const unseen = inputs.subarray(800 * size);
    const error = (spread: Float32Array | null) => productError(rows, dequantize(rows, size, spread), unseen, size);
    expect(error(errorSpread(gram, size))).toBeLessThan(0.6 * error(null));
    // Channels that have nothing to do with each other make nothing good.
    const alone = new Float32Array(size * size);
    for (let i = 0; i < size; i++) alone[i * size + i] = 3 + i;
    expect(dequantize(rows, size, errorSpread(alone, size))).toEqual(dequantize(rows, size));
  });

  it("gives zeros, and values too small for a scale, without a NaN", () => {
    for (const values of [Array(32).fill(0), Array(32).fill(-0), [1e-45, 0, -1e-45], [3e-38, -2e-38], [3e38, -3e38]]) {
      const rows = Float32Array.from({ length: 32 }, (_, i) => values[i] ?? 0);
      const { scales } = quantize(rows, 32);
      expect(scales.every(Number.isFinite)).toBe(true);
      const rounded = dequantize(rows, 32);
      const largest = Math.max(...rows.map(Math.abs));
      for (const [i, value] of rows.entries()) {
        expect(Math.abs((rounded[i] ?? Number.NaN) - value)).toBeLessThanOrEqual(0.15 * largest + 2e-45);
      }
    }
  });
});

/** Round to nearest with the scale that spans lowest and highest value and 0. */
function spanning(values: Float32Array): Float32Array {
  const low = Math.min(0, ...values);
  const scale = Math.fround((Math.max(0, ...values) - low) / 15);
  const zeroPoint = Math.round(-low / scale);
  return values.map((value) => {
    const code = Math.min(15, Math.max(0, Math.round(value / scale) + zeroPoint));
    return (code - zeroPoint) * scale;
  });
}

function squaredError(a: Float32Array, b: Float32Array): number {
  return a.reduce((sum, value, i) => sum + (value - (b[i] ?? Number.NaN)) ** 2, 0);
}
