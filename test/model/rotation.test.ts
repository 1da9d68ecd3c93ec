import { describe, expect, it } from "vitest";
import { hadamardMatrix, rotateColumns, rotateRows, rotationBlock } from "../../src/model/rotation.js";
import { randomNormals } from "../convert/tiny-folder.js";

const normals = (count: number, seed = 1) => Float32Array.from({ length: count }, randomNormals(seed));

describe("a rotation", () => {
  it("turns the largest power of two that fits twice, up to 64", () => {
    const blocks = [576, 1536, 64, 96, 172, 21, 2048].map(rotationBlock);
    expect(blocks).toEqual([64, 64, 32, 32, 4, 1, 64]);
  });

  it("undoes itself and leaves products as they are", () => {
    const rows = normals(4 * 96);
    const weights = normals(5 * 96, 2);
    const turned = rows.slice();
    const turnedWeights = weights.slice();
    rotateRows(turned, 32);
    rotateRows(turnedWeights, 32);
    const product = (a: Float32Array, b: Float32Array, i: number, j: number) =>
      a.subarray(i * 96, (i + 1) * 96).reduce((sum, value, k) => sum + value * (b[j * 96 + k] ?? Number.NaN), 0);
    for (let i = 0; i < 4; i++) {
      for (let j = 0; j < 5; j++) {
        expect(product(turned, turnedWeights, i, j)).toBeCloseTo(product(rows, weights, i, j), 4);
      }
    }
    rotateRows(turned, 32);
    for (const [i, value] of rows.entries()) expect(turned[i]).toBeCloseTo(value, 5);
  });

  it("spreads one large value over its block", () => {
    const row = new Float32Array(64);
    row[5] = 80;
    rotateRows(row, 64);
    expect([...row].map(Math.abs).every((value) => Math.abs(value - 10) < 1e-5)).toBe(true);
  });

  it("is the product with the Hadamard matrix, by rows and by columns", () => {
    const matrix = hadamardMatrix(8);
    const values = normals(8 * 3);
    const byColumns = values.slice();
    rotateColumns(byColumns, 3);
    for (let i = 0; i < 8; i++) {
      for (let j = 0; j < 3; j++) {
        let sum = 0;
        for (let k = 0; k < 8; k++) sum += (matrix[i * 8 + k] ?? Number.NaN) * (values[k * 3 + j] ?? Number.NaN);
        expect(byColumns[i * 3 + j]).toBeCloseTo(sum, 5);
      }
    }
  });
});
