/**
 * Solves A x = b for a symmetric positive definite A, by Cholesky's factors.
 * @param matrix A, [size, size] row after row; overwritten.
 * @param vector b, [size]; overwritten with x.
 * @returns whether A was positive definite; if not, x is meaningless.
 */
export function solveInPlace(matrix: Float64Array, vector: Float64Array, size: number): boolean {
  for (let column = 0; column < size; column++) {
    let pivot = at(matrix, column * size + column);
    for (let k = 0; k < column; k++) pivot -= at(matrix, column * size + k) ** 2;
    if (!(pivot > 1e-300)) return false;
    const root = Math.sqrt(pivot);
    matrix[column * size + column] = root;
    for (let row = column + 1; row < size; row++) {
      let sum = at(matrix, row * size + column);
      for (let k = 0; k < column; k++) sum -= at(matrix, row * size + k) * at(matrix, column * size + k);
      matrix[row * size + column] = sum / root;
    }
  }
  for (let row = 0; row < size; row++) {
    let sum = at(vector, row);
    for (let k = 0; k < row; k++) sum -= at(matrix, row * size + k) * at(vector, k);
    vector[row] = sum / at(matrix, row * size + row);
  }
  for (let row = size - 1; row >= 0; row--) {
    let sum = at(vector, row);
    for (let k = row + 1; k < size; k++) sum -= at(matrix, k * size + row) * at(vector, k);
    vector[row] = sum / at(matrix, row * size + row);
  }
  return true;
}

/** An element that is known to exist. */
export function at(array: Float64Array | Int32Array, index: number): number {
  return array[index] as number;
}
