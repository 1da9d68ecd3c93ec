import { expect, it } from "vitest";
import { MatrixProduct, pairMatrix } from "../../src/convert/matrix-product.js";
import { randomNormals } from "./tiny-folder.js";

it("a matrix product is as exact as float64 lets 48 bits be, also in a chain", async () => {
  const [rows, inner, columns] = [13, 29, 7];
  const next = randomNormals(2);
  const random = (count: number): Float64Array => Float64Array.from({ length: count }, next);
  const pair = (height: number, width: number, values: Float64Array) => {
    const high = Float32Array.from(values);
    const low = values.map((value, i) => value - (high[i] ?? Number.NaN));
    return pairMatrix(height, width, high, Float32Array.from(low));
  };
  const a = random(rows * inner);
  const b = random(inner * columns);
  const c = random(columns * rows);
  const product = await MatrixProduct.create();
  const ab = await product.multiply(pair(rows, inner, a), pair(inner, columns, b));
  const abc = await product.multiply(ab, pair(columns, rows, c));
  await product.release();
  const expected = multiply(multiply(a, b, inner), c, columns);
  const found = Float64Array.from(abc.high, (value, i) => value + (abc.low[i] ?? Number.NaN));
  const largest = Math.max(...expected.map(Math.abs));
  // float32 alone would be off by some 1e-7 of the largest.
  for (const [i, value] of expected.entries())
    expect(Math.abs((found[i] ?? Number.NaN) - value)).toBeLessThan(1e-12 * largest);
});

/** a [m,inner] · b [inner,n] */
function multiply(a: Float64Array, b: Float64Array, inner: number): Float64Array {
  const width = b.length / inner;
  return Float64Array.from({ length: (a.length / inner) * width }, (_, index) => {
    const row = Math.floor(index / width);
    let sum = 0;
    for (let k = 0; k < inner; k++) sum += (a[row * inner + k] ?? 0) * (b[k * width + (index % width)] ?? 0);
    return sum;
  });
}
