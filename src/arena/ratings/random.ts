/**
 * Uniform numbers in [0, 1), the same for the same seed: Chris Doty-Humphrey's sfc32, 128 bits of state.
 * @see http://pracrand.sourceforge.net
 */
export function seededRandom(seed: number): () => number {
  let a = 0;
  let b = seed >>> 0;
  let c = Math.floor(seed / 2 ** 32) >>> 0;
  let counter = 1;
  const next = (): number => {
    const sum = (a + b + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = ((c << 21) | (c >>> 11)) + sum;
    c |= 0;
    return (sum >>> 0) / 2 ** 32;
  };
  // The first numbers still show the seed.
  for (let round = 0; round < 15; round++) next();
  return next;
}

/** Draws an index with the probability of its weight, in constant time (Walker's alias method). */
export function aliasSampler(weights: readonly number[], random: () => number): () => number {
  const size = weights.length;
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const share = Float64Array.from(weights, (weight) => (weight * size) / total);
  const alias = new Int32Array(size);
  const small: number[] = [];
  const large: number[] = [];
  for (const [index, value] of share.entries()) (value < 1 ? small : large).push(index);
  while (small.length > 0 && large.length > 0) {
    const less = small.pop() as number;
    const more = large.pop() as number;
    alias[less] = more;
    share[more] = (share[more] as number) + (share[less] as number) - 1;
    ((share[more] as number) < 1 ? small : large).push(more);
  }
  // What is left is 1 but for rounding.
  for (const index of [...small, ...large]) share[index] = 1;
  return () => {
    const position = random() * size;
    const index = Math.floor(position);
    return position - index < (share[index] as number) ? index : (alias[index] as number);
  };
}
