/**
 * Float rows of a weight: tensors of the source stacked on top of each other, values made while converting, or either
 * of them changed.
 */
export type RowSource =
  | { readonly kind: "tensors"; readonly names: readonly string[] }
  | { readonly kind: "computed"; readonly compute: () => Float32Array | Promise<Float32Array> }
  /** Each column times its factor, of the one row of `by`. */
  | { readonly kind: "scaled"; readonly rows: RowSource; readonly by: RowSource }
  /** Each run of `block` values of a row turned (see model/rotation.ts). */
  | { readonly kind: "rotated"; readonly rows: RowSource; readonly block: number }
  /** Each run of `block` rows turned: the outputs of a linear layer instead of its inputs. */
  | { readonly kind: "rotated_outputs"; readonly rows: RowSource; readonly block: number };

/** How the bytes of a weight in the data file come about. */
export type WeightSource =
  | { readonly kind: "float32"; readonly rows: RowSource }
  /**
   * Each row divided by its scale (absmax/127) and rounded; `spread`: see quantize/compensated-rounding.ts, null for
   * the nearest.
   */
  | { readonly kind: "int8"; readonly rows: RowSource; readonly spread?: () => Promise<Float32Array | null> }
  /** Each block of a row in 4-bit codes (see quantize/quantize-blocks.ts); `size`: values in a row. */
  | {
      readonly kind: "int4";
      readonly rows: RowSource;
      readonly size: number;
      readonly spread?: () => Promise<Float32Array | null>;
    }
  /** float32, one per row or block: the scales of an int8 or int4 weight that was placed before. */
  | { readonly kind: "scales"; readonly of: string }
  /** 4 bits a block: the zero points of an int4 weight that was placed before. */
  | { readonly kind: "zero_points"; readonly of: string };

export function rotated(rows: RowSource, block: number): RowSource {
  return block === 1 ? rows : { kind: "rotated", rows, block };
}

export function rotatedOutputs(rows: RowSource, block: number): RowSource {
  return block === 1 ? rows : { kind: "rotated_outputs", rows, block };
}

export function scaled(rows: RowSource, by: RowSource): RowSource {
  return { kind: "scaled", rows, by };
}

export function tensors(...names: string[]): RowSource {
  return { kind: "tensors", names };
}

/** What `tensors` rows are read from: safetensors files, or a generator of random weights. */
export interface TensorRows {
  /**
   * A tensor's elements as float32, in whole rows of its last dimension. Each view is valid until the next is asked
   * for.
   * @throws ToastError `not_finite_weights`, `corrupt_safetensors`
   */
  floatRows(name: string): AsyncIterable<Float32Array>;
}
