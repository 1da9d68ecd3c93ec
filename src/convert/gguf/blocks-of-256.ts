import { floatOfHalf } from "../half-float.js";
import { type Dequantize, unevenStep } from "./blocks-of-32.js";

/**
 * ggml's types in blocks of 256 values ("k-quants"): 8 or 16 groups with scales of a few bits each, themselves scaled
 * by one half for the block. Rounded step by step as in blocks-of-32.ts.
 *
 * @see https://github.com/ggml-org/ggml/blob/master/src/ggml-common.h
 */

/** 16 bytes of scale and minimum (4 bits each) of groups of 16, 64 bytes of codes, half scale, half minimum. */
export const dequantizeQ2_K: Dequantize = (raw, at, floats, to) => {
  const scale = floatOfHalf(raw.getUint16(at + 80, true));
  const minimum = floatOfHalf(raw.getUint16(at + 82, true));
  for (let group = 0; group < 16; group++) {
    const packed = raw.getUint8(at + group);
    const groupScale = Math.fround(scale * (packed & 15));
    const groupMinimum = Math.fround(minimum * (packed >> 4));
    for (let i = group * 16; i < group * 16 + 16; i++) {
      floats[to + i] = Math.fround(groupScale * twoBits(raw, at + 16, i)) - groupMinimum;
    }
  }
};

/**
 * 32 bytes of third bits, 64 bytes of codes, 12 bytes of 16 scales (6 bits each), half scale. A third bit of 0 takes 4
 * away.
 */
export const dequantizeQ3_K: Dequantize = (raw, at, floats, to) => {
  const scale = floatOfHalf(raw.getUint16(at + 108, true));
  for (let group = 0; group < 16; group++) {
    const low = (raw.getUint8(at + 96 + (group & 7)) >> (group < 8 ? 0 : 4)) & 15;
    const high = (raw.getUint8(at + 104 + (group & 3)) >> (2 * (group >> 2))) & 3;
    const groupScale = Math.fround(scale * ((low | (high << 4)) - 32));
    for (let i = group * 16; i < group * 16 + 16; i++) {
      const third = (raw.getUint8(at + (i & 31)) >> (i >> 5)) & 1;
      floats[to + i] = groupScale * (twoBits(raw, at + 32, i) - (third === 1 ? 0 : 4));
    }
  }
};

/** Half scale, half minimum, 12 bytes of scales and minima, 128 bytes of codes. */
export const dequantizeQ4_K: Dequantize = (raw, at, floats, to) => {
  const scale = floatOfHalf(raw.getUint16(at, true));
  const minimum = floatOfHalf(raw.getUint16(at + 2, true));
  for (let group = 0; group < 8; group++) {
    const groupScale = Math.fround(scale * scaleOfEight(raw, at + 4, group));
    const groupMinimum = Math.fround(minimum * minimumOfEight(raw, at + 4, group));
    for (let i = 0; i < 32; i++) {
      const code = fourBits(raw, at + 16, group, i);
      floats[to + group * 32 + i] = Math.fround(groupScale * code) - groupMinimum;
    }
  }
};

/** Half scale, half minimum, 12 bytes of scales and minima, 32 bytes of fifth bits, 128 bytes of codes. */
export const dequantizeQ5_K: Dequantize = (raw, at, floats, to) => {
  const scale = floatOfHalf(raw.getUint16(at, true));
  const minimum = floatOfHalf(raw.getUint16(at + 2, true));
  for (let group = 0; group < 8; group++) {
    const groupScale = Math.fround(scale * scaleOfEight(raw, at + 4, group));
    const groupMinimum = Math.fround(minimum * minimumOfEight(raw, at + 4, group));
    for (let i = 0; i < 32; i++) {
      const fifth = (raw.getUint8(at + 16 + i) >> group) & 1;
      const code = fourBits(raw, at + 48, group, i) | (fifth << 4);
      floats[to + group * 32 + i] = Math.fround(groupScale * code) - groupMinimum;
    }
  }
};

/**
 * 128 bytes of low halves, 64 of the two bits above, 16 signed scales of groups of 16, half scale; codes for −32 to 31.
 */
export const dequantizeQ6_K: Dequantize = (raw, at, floats, to) => {
  const scale = floatOfHalf(raw.getUint16(at + 208, true));
  for (let group = 0; group < 16; group++) {
    const groupScale = Math.fround(scale * raw.getInt8(at + 192 + group));
    for (let i = group * 16; i < group * 16 + 16; i++) {
      // Values 0 to 63 of each 128 lie in the low halves of 64 bytes, the next 64 in the high halves.
      const low = (raw.getUint8(at + ((i >> 7) << 6) + (i & 63)) >> (i & 64 ? 4 : 0)) & 15;
      floats[to + i] = groupScale * ((low | (twoBits(raw, at + 128, i) << 4)) - 32);
    }
  }
};

/** Half scale, 16 upper bits and 4 bytes of lower bits of eight scales, 128 bytes of indices into the uneven steps. */
export const dequantizeIQ4_XS: Dequantize = (raw, at, floats, to) => {
  const scale = floatOfHalf(raw.getUint16(at, true));
  const highs = raw.getUint16(at + 2, true);
  for (let group = 0; group < 8; group++) {
    const low = (raw.getUint8(at + 4 + (group >> 1)) >> (group & 1 ? 4 : 0)) & 15;
    const groupScale = Math.fround(scale * ((low | (((highs >> (2 * group)) & 3) << 4)) - 32));
    for (let i = 0; i < 16; i++) {
      const codes = raw.getUint8(at + 8 + group * 16 + i);
      floats[to + group * 32 + i] = groupScale * unevenStep(codes & 15);
      floats[to + group * 32 + i + 16] = groupScale * unevenStep(codes >> 4);
    }
  }
};

/** Bits of value i: of each 128 values, 32 bytes hold those 32 apart side by side, the first lowest. */
function twoBits(raw: DataView, at: number, i: number): number {
  return (raw.getUint8(at + ((i >> 7) << 5) + (i & 31)) >> (2 * ((i >> 5) & 3))) & 3;
}

/** Code i of a group of 32: two groups share 32 bytes, the first in the low halves. */
function fourBits(raw: DataView, at: number, group: number, i: number): number {
  return (raw.getUint8(at + ((group >> 1) << 5) + i) >> (group & 1 ? 4 : 0)) & 15;
}

/**
 * 6 bits: the first four scales have a byte each, whose upper two bits, with four from bytes 8 to 11, are the last
 * four's.
 */
function scaleOfEight(raw: DataView, at: number, group: number): number {
  if (group < 4) return raw.getUint8(at + group) & 63;
  return (raw.getUint8(at + 4 + group) & 15) | ((raw.getUint8(at + group - 4) >> 2) & 48);
}

/** Laid out as the scales, four bytes on; the last four's lower bits are the upper halves of bytes 8 to 11. */
function minimumOfEight(raw: DataView, at: number, group: number): number {
  if (group < 4) return raw.getUint8(at + 4 + group) & 63;
  return (raw.getUint8(at + 4 + group) >> 4) | ((raw.getUint8(at + group) >> 2) & 48);
}
