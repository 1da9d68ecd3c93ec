import { rotateColumns, rotateRows } from "../model/rotation.js";
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
      const factors = await wholeRows(rows.by, [size], source);
      for await (const chunk of floatRows(rows.rows, size, source)) {
        const changed = chunk.slice();
        scaleColumns(changed, factors);
        yield changed;
      }
      return;
    }
    case "rotated":
      for await (const chunk of floatRows(rows.rows, size, source)) {
        const changed = chunk.slice();
        rotateRows(changed, rows.block);
        yield changed;
      }
      return;
    case "rotated_outputs":
      for await (const run of inRuns(floatRows(rows.rows, size, source), rows.block * size)) {
        rotateColumns(run, size);
        yield run;
      }
  }
}

/** All of them, for what is small or needed whole. @param dims of the weight. */
export async function wholeRows(rows: RowSource, dims: readonly number[], source: TensorRows): Promise<Float32Array> {
  const whole = new Float32Array(dims.reduce((product, size) => product * size, 1));
  let done = 0;
  for await (const chunk of floatRows(rows, dims.at(-1) ?? 1, source)) {
    whole.set(chunk, done);
    done += chunk.length;
  }
  return whole;
}

/** @param rows float32 [count, factors.length], changed in place. */
export function scaleColumns(rows: Float32Array, factors: Float32Array): void {
  const size = factors.length;
  for (let start = 0; start < rows.length; start += size) {
    for (let i = 0; i < size; i++) rows[start + i] = (rows[start + i] as number) * (factors[i] as number);
  }
}

/** Chunks of any length as runs of `length` values, each a fresh array. */
async function* inRuns(chunks: AsyncIterable<Float32Array>, length: number): AsyncGenerator<Float32Array> {
  let run = new Float32Array(length);
  let filled = 0;
  for await (const chunk of chunks) {
    for (let at = 0; at < chunk.length; ) {
      const part = chunk.subarray(at, at + length - filled);
      run.set(part, filled);
      filled += part.length;
      at += part.length;
      if (filled < length) continue;
      yield run;
      run = new Float32Array(length);
      filled = 0;
    }
  }
  if (filled > 0) throw new Error(`${filled} values are left over of runs of ${length}`);
}
