/**
 * Noise as a function, not as a stream: the same seed, position and token always give the same value, in any order of
 * asking. So a draft and the later sample at one position meet the same noise and agree wherever their logits do, and a
 * request's text does not depend on what else is in its batch.
 *
 * The hash is the 32-bit finalizer "lowbias32" (xorshift-multiply, three shifts and two multiplications), applied to
 * the token twice with a key of the (seed, position) pair added before each. One keyed round alone would give two
 * positions the same 2³² values in another order; the second key takes that apart.
 *
 * @see https://github.com/skeeto/hash-prospector (public domain) for the constants and their measured bias
 */

/**
 * @returns An unsigned 32-bit integer whose every bit depends on every bit of `value`. A bijection that maps 0 to 0.
 */
export function mix(value: number): number {
  let x = value >>> 0;
  x = Math.imul(x ^ (x >>> 16), 0x7feb352d);
  x = Math.imul(x ^ (x >>> 15), 0x846ca68b);
  return (x ^ (x >>> 16)) >>> 0;
}

/** The two keys of one (seed, position); computed once per draw, used for each token. */
export interface NoiseKey {
  readonly first: number;
  readonly second: number;
}

/**
 * @param seed Unsigned 32-bit.
 * @param position Place of the drawn token in its sequence, ≥ 0.
 */
export function noiseKey(seed: number, position: number): NoiseKey {
  // Odd constants (golden ratio, π) keep seed and position from cancelling where they are equal or zero.
  const first = mix(mix((seed + 0x9e3779b9) >>> 0) + mix((position ^ 0x243f6a88) >>> 0));
  const second = mix(mix(first ^ seed) + Math.imul(position, 0x85a308d3));
  return { first, second };
}

/** @returns Uniform unsigned 32-bit integer. */
export function noiseBits(key: NoiseKey, tokenId: number): number {
  return mix(mix(tokenId + key.first) + key.second);
}

/** @returns Standard Gumbel noise, −log(−log u); between −3.13 and 22.87. */
export function gumbelFromBits(bits: number): number {
  // log1p keeps the digits where u is close to 1, which is where the winners are.
  const oneMinusU = (4294967295 - bits + 0.5) / 4294967296;
  return -Math.log(-Math.log1p(-oneMinusU));
}

/** What no Gumbel noise here exceeds. */
export const gumbelLimit = 33 * Math.LN2;

/**
 * An upper bound of `gumbelFromBits` without a logarithm: −log u ≥ 1 − u, so the noise is at most −log(1 − u), which
 * the count of leading ones of the bits bounds.
 */
export function gumbelBoundFromBits(bits: number): number {
  return Math.LN2 * (Math.clz32(~bits) + 1);
}

/** @returns Uniform noise in (0, 1). */
export function uniform(seed: number, position: number, tokenId: number): number {
  // The middle of the bits' interval, so never 0 and never 1.
  return (noiseBits(noiseKey(seed, position), tokenId) + 0.5) / 4294967296;
}

/** @returns Standard Gumbel noise. */
export function gumbel(seed: number, position: number, tokenId: number): number {
  return gumbelFromBits(noiseBits(noiseKey(seed, position), tokenId));
}
