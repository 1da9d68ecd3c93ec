/** Float rows of a weight: tensors of the source folder stacked on top of each other, or values made while converting. */
export type RowSource =
  | { readonly kind: "tensors"; readonly names: readonly string[] }
  | { readonly kind: "computed"; readonly compute: () => Float32Array | Promise<Float32Array> };

/** How the bytes of a weight in the data file come about. */
export type WeightSource =
  | { readonly kind: "float32"; readonly rows: RowSource }
  /** Each row divided by its scale (absmax/127) and rounded. */
  | { readonly kind: "int8"; readonly rows: RowSource }
  /** Each block of a row in 4-bit codes (see quantize-blocks.ts); `size`: values in a row. */
  | { readonly kind: "int4"; readonly rows: RowSource; readonly size: number }
  /** float32, one per row or block: the scales of an int8 or int4 weight that was placed before. */
  | { readonly kind: "scales"; readonly of: string }
  /** 4 bits a block: the zero points of an int4 weight that was placed before. */
  | { readonly kind: "zero_points"; readonly of: string };

export function tensors(...names: string[]): RowSource {
  return { kind: "tensors", names };
}

/** What `tensors` rows are read from: safetensors files, or a generator of random weights. */
export interface TensorRows {
  /**
   * A tensor's elements as float32, in whole rows of its last dimension. Each view is valid until the next is asked for.
   * @throws ToastError `not_finite_weights`, `corrupt_safetensors`
   */
  floatRows(name: string): AsyncIterable<Float32Array>;
}
