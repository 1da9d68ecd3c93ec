import { rotateRows } from "./quantize/rotation.js";
import type { RowSource, TensorRows } from "./weight-source.js";

/**
 * The rows of a weight, float32, a chunk of whole rows at a time. Each view is valid until the next is asked for.
 * @param size values in a row.
 * @throws ToastError `not_finite_weights`, `corrupt_safetensors`, `corrupt_gguf`
 */
export async function* floatRows(rows: RowSource, size: number, source: TensorRows): AsyncGenerator<Float32Array> {
  switch (rows.kind) {
    case "computed":
      yield await rows.compute();
      return;
    case "tensors":
      for (const name of rows.names) yield* source.floatRows(name);
      return;
    case "scaled": {
      const factors = await rows.factors();
      for await (const chunk of floatRows(rows.rows, size, source)) yield scaleColumns(chunk, factors);
      return;
    }
    case "rotated":
      for await (const chunk of floatRows(rows.rows, size, source)) {
        const turned = chunk.slice();
        rotateRows(turned, rows.block);
        yield turned;
      }
  }
}

function scaleColumns(rows: Float32Array, factors: Float32Array): Float32Array {
  const size = factors.length;
  const scaled = new Float32Array(rows.length);
  for (let start = 0; start < rows.length; start += size) {
    for (let i = 0; i < size; i++) scaled[start + i] = (rows[start + i] as number) * (factors[i] as number);
  }
  return scaled;
}
