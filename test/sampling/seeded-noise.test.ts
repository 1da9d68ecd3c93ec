import { describe, expect, test } from "vitest";
import {
  gumbel,
  gumbelBoundFromBits,
  gumbelFromBits,
  gumbelLimit,
  noiseBits,
  noiseKey,
  uniform,
} from "../../src/sampling/seeded-noise.js";
import { chiSquareDeviation, TestRandom } from "./chi-square.js";

const draws = 1 << 17;

function deviationFromUniform(bins: number, binOf: (draw: number) => number): number {
  const counts = new Float64Array(bins);
  for (let i = 0; i < draws; i += 1) {
    const bin = binOf(i);
    counts[bin] = (counts[bin] ?? 0) + 1;
  }
  return Math.abs(chiSquareDeviation(counts, () => draws / bins));
}

const byte = (value: number) => Math.floor(value * 256);
const nibble = (value: number) => Math.floor(value * 16);

describe("seeded noise", () => {
  test("is a function of seed, position and token", () => {
    expect(uniform(7, 11, 13)).toBe(uniform(7, 11, 13));
    const others = [uniform(8, 11, 13), uniform(7, 12, 13), uniform(7, 11, 14), uniform(11, 7, 13), uniform(7, 13, 11)];
    expect(new Set([uniform(7, 11, 13), ...others]).size).toBe(6);
    // Pinned: another hash would change every seeded answer.
    expect(noiseBits(noiseKey(42, 3), 17)).toBe(2469227853);
  });

  test("is uniform along tokens, positions and seeds, small and large", () => {
    for (const seed of [0, 1, 42, 0xffffffff]) {
      expect(deviationFromUniform(256, (i) => byte(uniform(seed, 5, i)))).toBeLessThan(4);
      expect(deviationFromUniform(256, (i) => byte(uniform(seed, i, 0)))).toBeLessThan(4);
    }
    expect(deviationFromUniform(256, (i) => byte(uniform(i, 0, 0)))).toBeLessThan(4);
    expect(deviationFromUniform(256, (i) => byte(uniform(4294967295 - i, 100, 29871)))).toBeLessThan(4);
    // The low bits too.
    expect(deviationFromUniform(256, (i) => noiseBits(noiseKey(3, 4), i) & 255)).toBeLessThan(4);
  });

  test("is independent between neighbours in token, position and seed", () => {
    const pairs: ((i: number) => [number, number])[] = [
      (i) => [uniform(9, 2, i), uniform(9, 2, i + 1)],
      (i) => [uniform(9, 2, i), uniform(9, 3, i)],
      (i) => [uniform(9, 2, i), uniform(10, 2, i)],
      (i) => [uniform(9, i, 77), uniform(9, i + 1, 77)],
      (i) => [uniform(9, i, 77), uniform(10, i, 77)],
      // Seed and position exchanged, and moved together.
      (i) => [uniform(i, 1, 5), uniform(1, i, 5)],
      (i) => [uniform(i, i, 5), uniform(i + 1, i + 1, 5)],
    ];
    for (const pair of pairs) {
      const deviation = deviationFromUniform(256, (i) => {
        const [a, b] = pair(i);
        return nibble(a) * 16 + nibble(b);
      });
      expect(deviation).toBeLessThan(4);
    }
  });

  test("changes half of its bits with any one bit of seed, position or token", () => {
    const random = new TestRandom(1);
    const trials = 400;
    for (let bit = 0; bit < 32; bit += 1) {
      for (const input of ["seed", "position", "token"] as const) {
        let changed = 0;
        for (let i = 0; i < trials; i += 1) {
          const [seed, position, token] = [random.below(2 ** 32), random.below(2 ** 16), random.below(2 ** 17)];
          const flip = 2 ** bit;
          const flipped = (value: number, name: string) => (name === input ? (value ^ flip) >>> 0 : value);
          const a = noiseBits(noiseKey(seed, position), token);
          const b = noiseBits(noiseKey(flipped(seed, "seed"), flipped(position, "position")), flipped(token, "token"));
          for (let x = a ^ b; x !== 0; x &= x - 1) changed += 1;
        }
        // 32 · 400 coin flips: one standard deviation is 0.0044.
        expect(Math.abs(changed / (32 * trials) - 0.5)).toBeLessThan(0.02);
      }
    }
  });

  test("as Gumbel noise has the right mean and variance", () => {
    let sum = 0;
    let squares = 0;
    for (let i = 0; i < draws; i += 1) {
      const value = gumbel(1, 2, i);
      sum += value;
      squares += value * value;
    }
    const mean = sum / draws;
    expect(mean).toBeCloseTo(0.5772, 1.7);
    expect(squares / draws - mean * mean).toBeCloseTo(Math.PI ** 2 / 6, 1.3);
  });

  test("is never above its bound, and finite at both ends", () => {
    const edges = [0, 1, 2, 0x7fffffff, 0x80000000, 0xfffffffc, 0xfffffffd, 0xfffffffe, 0xffffffff];
    for (let shift = 0; shift < 32; shift += 1) {
      for (const around of [-1, 0, 1]) edges.push((0xffffffff - 2 ** shift + around) >>> 0);
    }
    for (let i = 0; i < 20_000; i += 1) edges.push(noiseBits(noiseKey(5, 6), i));
    const above = edges.filter(
      (bits) => !(gumbelFromBits(bits) < gumbelBoundFromBits(bits) && gumbelBoundFromBits(bits) <= gumbelLimit),
    );
    expect(above).toEqual([]);
    expect(gumbelFromBits(0)).toBeCloseTo(-3.13, 2);
    expect(gumbelFromBits(0xffffffff)).toBeCloseTo(22.87, 2);
  });
});
