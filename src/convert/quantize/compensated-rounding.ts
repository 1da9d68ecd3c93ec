/**
 * Rounding in which the columns of a row that come later make good what those before them lost, as far as inputs go
 * together: error compensation as in GPTQ. Rows are independent of each other, so a weight can be rounded in a stream.
 * @see https://arxiv.org/abs/2210.17323
 */

/** Added to the diagonal of a Gram matrix, as a share of its mean: channels that the text never used stay solvable. */
const damping = 0.1;

/**
 * What a column's error does to the columns behind it.
 *
 * With G = XᵀX of a layer's inputs, GPTQ needs the upper Cholesky factor of G⁻¹. That is the inverse of R, where G =
 * R·Rᵀ and R is upper triangular: one factorization from the last row to the first, and one triangular inverse.
 *
 * @param gram float32 [size,size], symmetric, of any scale.
 * @returns float32 [size,size]: row j has, behind the diagonal, U[j,k] / U[j,j]. Null when the matrix has no factor
 *   (values that are no numbers, or nothing but zeros).
 */
export function errorSpread(gram: Float32Array, size: number): Float32Array | null {
  const factor = reverseCholesky(gram, size);
  if (factor === null) return null;
  const spread = new Float32Array(size * size);
  const row = new Float64Array(size);
  // Row j of R⁻¹, by substitution from its diagonal to the right; scaled so that the diagonal is 1.
  for (let j = 0; j < size; j++) {
    row.fill(0);
    row[j] = 1;
    for (let k = j; k < size; k++) {
      const value = (row[k] as number) / (factor[k * size + k] as number);
      row[k] = value;
      if (value === 0) continue;
      const start = k * size;
      for (let m = k + 1; m < size; m++) row[m] = (row[m] as number) - value * (factor[start + m] as number);
    }
    const diagonal = row[j] as number;
    for (let k = j + 1; k < size; k++) spread[j * size + k] = (row[k] as number) / diagonal;
  }
  return spread;
}

/** Upper triangular R with R·Rᵀ = G + damping. float64 [size,size] */
function reverseCholesky(gram: Float32Array, size: number): Float64Array | null {
  let trace = 0;
  for (let i = 0; i < size; i++) trace += gram[i * size + i] as number;
  const extra = (trace / size) * damping;
  if (!(extra > 0) || !Number.isFinite(extra)) return null;
  const work = Float64Array.from(gram);
  // Column by column from the last: what is left of the matrix above it loses the column's outer product.
  const column = new Float64Array(size);
  const factor = new Float64Array(size * size);
  for (let i = 0; i < size; i++) work[i * size + i] = (work[i * size + i] as number) + extra;
  for (let j = size - 1; j >= 0; j--) {
    const pivot = work[j * size + j] as number;
    if (!(pivot > 0)) return null;
    const root = Math.sqrt(pivot);
    factor[j * size + j] = root;
    for (let i = 0; i < j; i++) {
      const value = (work[j * size + i] as number) / root;
      column[i] = value;
      factor[i * size + j] = value;
    }
    for (let i = 0; i < j; i++) {
      const value = column[i] as number;
      if (value === 0) continue;
      const start = i * size;
      for (let k = 0; k <= i; k++) work[start + k] = (work[start + k] as number) - value * (column[k] as number);
    }
  }
  return factor;
}
