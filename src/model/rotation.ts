/**
 * A few channels of a decoder's hidden values are a hundred times the others, and a row that is quantized with one
 * scale then leaves the others a few steps. Turned by an orthogonal matrix, such a value is spread over its neighbours:
 * the products stay what they were (x·H)·(w·H)ᵀ = x·wᵀ, and the largest value of a row comes down to a few times the
 * usual one.
 *
 * H is a Hadamard matrix of `rotationBlock` channels, the same for all blocks of a row; symmetric, so it undoes itself.
 * @see https://arxiv.org/abs/2404.00456 (QuaRot)
 */

/**
 * Larger blocks are little better and cost more: in SmolLM2's `down` 64, 128 and 512 leave 0.9, 0.8 and 0.6e-3 of
 * divergence, none 9.4e-3.
 */
const largestBlock = 64;

/**
 * Channels that are turned together: a power of two that divides `size`, or 1 where nothing can be turned. A row has
 * two blocks at least, since the product of a single one might take another kernel, with other last bits, than that of
 * many.
 */
export function rotationBlock(size: number): number {
  let block = largestBlock;
  while (block > 1 && (size % block !== 0 || size / block < 2)) block /= 2;
  return block;
}

/** H, float32 [block,block]. */
export function hadamardMatrix(block: number): Float32Array {
  const matrix = new Float32Array(block * block);
  for (let i = 0; i < block; i++) {
    matrix[i * block + i] = 1;
    rotateRows(matrix.subarray(i * block, (i + 1) * block), block);
  }
  return matrix;
}

/** Turns rows in place: each run of `block` values by H. @param rows float32 [count, multiple of block] */
export function rotateRows(rows: Float32Array, block: number): void {
  if (block === 1) return;
  const turned = new Float64Array(block);
  const length = 1 / Math.sqrt(block);
  for (let start = 0; start < rows.length; start += block) {
    for (let i = 0; i < block; i++) turned[i] = rows[start + i] as number;
    for (let half = 1; half < block; half *= 2) {
      for (let i = 0; i < block; i += 2 * half) {
        for (let j = i; j < i + half; j++) {
          const a = turned[j] as number;
          const b = turned[j + half] as number;
          turned[j] = a + b;
          turned[j + half] = a - b;
        }
      }
    }
    for (let i = 0; i < block; i++) rows[start + i] = (turned[i] as number) * length;
  }
}

/** Turns the columns of a matrix in place, all its rows together. @param rows float32 [power of two, size] */
export function rotateColumns(rows: Float32Array, size: number): void {
  const block = rows.length / size;
  const column = new Float32Array(block);
  for (let i = 0; i < size; i++) {
    for (let row = 0; row < block; row++) column[row] = rows[row * size + i] as number;
    rotateRows(column, block);
    for (let row = 0; row < block; row++) rows[row * size + i] = column[row] as number;
  }
}
