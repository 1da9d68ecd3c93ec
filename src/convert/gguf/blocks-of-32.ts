import { floatOfHalf } from "../half-float.js";

/**
 * ggml's types in blocks of 32 values. Sums and products are rounded to float32 one by one, as in ggml and in its
 * Python package, so that weights are theirs bit for bit. Storing into a Float32Array is such a rounding.
 *
 * The first 16 values of a block lie in the low halves of 16 bytes, the last 16 in the high halves.
 *
 * @see https://github.com/ggml-org/ggml/blob/master/src/ggml-common.h
 */

/** Writes the values of the block at byte `at` of `raw` to `floats[to …]`, exactly the float32 of ggml. */
export type Dequantize = (raw: DataView, at: number, floats: Float32Array, to: number) => void;

/** Half scale, 16 bytes of codes 0 to 15 for −8 to 7. */
export const dequantizeQ4_0: Dequantize = (raw, at, floats, to) => {
  const scale = floatOfHalf(raw.getUint16(at, true));
  for (let i = 0; i < 16; i++) {
    const codes = raw.getUint8(at + 2 + i);
    floats[to + i] = scale * ((codes & 15) - 8);
    floats[to + i + 16] = scale * ((codes >> 4) - 8);
  }
};

/** Half scale, half minimum, 16 bytes of codes. */
export const dequantizeQ4_1: Dequantize = (raw, at, floats, to) => {
  const scale = floatOfHalf(raw.getUint16(at, true));
  const minimum = floatOfHalf(raw.getUint16(at + 2, true));
  for (let i = 0; i < 16; i++) {
    const codes = raw.getUint8(at + 4 + i);
    floats[to + i] = Math.fround(scale * (codes & 15)) + minimum;
    floats[to + i + 16] = Math.fround(scale * (codes >> 4)) + minimum;
  }
};

/** Half scale, 32 fifth bits, 16 bytes of codes 0 to 31 for −16 to 15. */
export const dequantizeQ5_0: Dequantize = (raw, at, floats, to) => {
  const scale = floatOfHalf(raw.getUint16(at, true));
  const fifth = raw.getUint32(at + 2, true);
  for (let i = 0; i < 16; i++) {
    const codes = raw.getUint8(at + 6 + i);
    floats[to + i] = scale * (((codes & 15) | (((fifth >>> i) & 1) << 4)) - 16);
    floats[to + i + 16] = scale * (((codes >> 4) | (((fifth >>> (i + 16)) & 1) << 4)) - 16);
  }
};

/** Half scale, half minimum, 32 fifth bits, 16 bytes of codes. */
export const dequantizeQ5_1: Dequantize = (raw, at, floats, to) => {
  const scale = floatOfHalf(raw.getUint16(at, true));
  const minimum = floatOfHalf(raw.getUint16(at + 2, true));
  const fifth = raw.getUint32(at + 4, true);
  for (let i = 0; i < 16; i++) {
    const codes = raw.getUint8(at + 8 + i);
    floats[to + i] = Math.fround(scale * ((codes & 15) | (((fifth >>> i) & 1) << 4))) + minimum;
    floats[to + i + 16] = Math.fround(scale * ((codes >> 4) | (((fifth >>> (i + 16)) & 1) << 4))) + minimum;
  }
};

/** Half scale, 32 signed bytes. */
export const dequantizeQ8_0: Dequantize = (raw, at, floats, to) => {
  const scale = floatOfHalf(raw.getUint16(at, true));
  for (let i = 0; i < 32; i++) floats[to + i] = scale * raw.getInt8(at + 2 + i);
};

/** Half scale, 16 bytes of indices into `unevenSteps`. */
export const dequantizeIQ4_NL: Dequantize = (raw, at, floats, to) => {
  const scale = floatOfHalf(raw.getUint16(at, true));
  for (let i = 0; i < 16; i++) {
    const codes = raw.getUint8(at + 2 + i);
    floats[to + i] = scale * unevenStep(codes & 15);
    floats[to + i + 16] = scale * unevenStep(codes >> 4);
  }
};

const unevenSteps = Int8Array.of(-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113);

/** Where the 16 codes of IQ4 types lie: closer together around zero, where most weights are. */
export function unevenStep(code: number): number {
  return unevenSteps[code] ?? Number.NaN;
}
