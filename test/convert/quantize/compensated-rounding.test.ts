import { describe, expect, it } from "vitest";
import { errorSpread } from "../../../src/convert/quantize/compensated-rounding.js";
import { quantizeRows, quantizeRowsCompensated } from "../../../src/convert/quantize/quantize-rows.js";
import { randomNormals } from "../tiny-folder.js";
import { correlatedInputs, productError } from "./correlated-inputs.js";

describe("rounding with compensation", () => {
  const size = 24;
  const count = 4;
  const rows = Float32Array.from({ length: count * size }, randomNormals(5));

  it("errs less in the product than rounding to the nearest, on inputs it has not seen", () => {
    const { gram } = correlatedInputs(400, size, 7);
    // The same mixing of channels, other texts: drawn behind the first from one stream.
    const { inputs } = correlatedInputs(500, size, 7);
    const unseen = inputs.subarray(400 * size);
    const spread = errorSpread(gram, size);
    if (spread === null) throw new Error("the matrix has a factor");
    const [nearest, compensated] = [new Int8Array(rows.length), new Int8Array(rows.length)];
    const scales = new Float32Array(count);
    quantizeRows(rows, size, nearest, scales);
    const same = new Float32Array(count);
    quantizeRowsCompensated(rows, size, spread, compensated, same);
    expect(same).toEqual(scales);
    const error = (quantized: Int8Array): number => {
      const rounded = Float32Array.from(quantized, (value, at) => value * (scales[Math.floor(at / size)] ?? 0));
      return productError(rows, rounded, unseen, size);
    };
    expect(error(compensated)).toBeLessThan(0.6 * error(nearest));
  });

  it("is rounding to the nearest where channels have nothing to do with each other", () => {
    const gram = new Float32Array(size * size);
    for (let i = 0; i < size; i++) gram[i * size + i] = 3 + i;
    const spread = errorSpread(gram, size);
    expect(spread?.every((value) => value === 0)).toBe(true);
    const [nearest, compensated] = [new Int8Array(rows.length), new Int8Array(rows.length)];
    quantizeRows(rows, size, nearest, new Float32Array(count));
    quantizeRowsCompensated(rows, size, spread as Float32Array, compensated, new Float32Array(count));
    expect(compensated).toEqual(nearest);
  });

  it("gives up on a matrix of zeros or of what are no numbers, and keeps rows of zeros", () => {
    expect(errorSpread(new Float32Array(9), 3)).toBeNull();
    expect(errorSpread(new Float32Array(9).fill(Number.NaN), 3)).toBeNull();
    const into = new Int8Array(3).fill(1);
    const scales = new Float32Array(1);
    quantizeRowsCompensated(new Float32Array(3), 3, new Float32Array(9), into, scales);
    expect([[...into], [...scales]]).toEqual([[0, 0, 0], [0]]);
  });
});
