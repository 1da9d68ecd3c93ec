import { MatrixProduct, type PairMatrix, pairMatrix } from "./matrix-product.js";

/** The linear maps of one feedback layer, each applied as y = x·Wᵀ. */
export interface FeedbackMaps {
  /** [D,D] */
  readonly carry: PairMatrix;
  /** [D,D] */
  readonly emit: PairMatrix;
  /** W_v of the backbone's layer, [kv,D]; its rows are in the order of the decoder's value heads. */
  readonly value: PairMatrix;
}

/**
 * Folds a feedback path, layer by layer from the last to the first, into one matrix each: F_l [kv,D], float32.
 *
 * With row vectors the path is x_{L-1} = s·P·C_{L-1}ᵀ, x_l = x_{l+1}·C_lᵀ, Δv_l = x_l·E_lᵀ·W_vᵀ for s = z·relevance.
 * With columns that is X_{L-1} = C_{L-1}·Pᵀ, X_l = C_l·X_{l+1}, F_l = (W_v·E_l)·X_l, and Δv_l = F_l·s.
 *
 * Products of many layers are kept in float64 until F_l is done; only then it is rounded.
 *
 * @param channelTransform P [D,D], applied on the right.
 * @param mapsOf reads one layer's maps; at most one layer is held.
 */
export async function* foldFeedback(
  layers: number,
  channelTransform: PairMatrix,
  mapsOf: (layer: number) => Promise<FeedbackMaps>,
): AsyncGenerator<{ readonly layer: number; readonly folded: Float32Array }> {
  const product = await MatrixProduct.create();
  try {
    let path = transpose(channelTransform);
    for (let layer = layers - 1; layer >= 0; layer--) {
      const { carry, emit, value } = await mapsOf(layer);
      path = await product.multiply(carry, path);
      const spoken = await product.multiply(value, emit);
      const folded = await product.multiply(spoken, path);
      yield { layer, folded: folded.high };
    }
  } finally {
    await product.release();
  }
}

/** W + factor·B·A of a low-rank linear, in float64: weight [D,D], a [r,D], b [D,r]. */
export function mergeLowRank(
  weight: Float32Array,
  a: Float32Array,
  b: Float32Array,
  rank: number,
  factor: number,
): PairMatrix {
  const rows = b.length / rank;
  const columns = a.length / rank;
  const high = new Float32Array(weight.length);
  const low = new Float32Array(weight.length);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      let sum = 0;
      for (let i = 0; i < rank; i++) sum += (b[row * rank + i] ?? 0) * (a[i * columns + column] ?? 0);
      const index = row * columns + column;
      const merged = (weight[index] ?? 0) + factor * sum;
      high[index] = merged;
      low[index] = merged - Math.fround(merged);
    }
  }
  return pairMatrix(rows, columns, high, low);
}

function transpose(matrix: PairMatrix): PairMatrix {
  const flip = (values: Float32Array): Float32Array => {
    const flipped = new Float32Array(values.length);
    for (let row = 0; row < matrix.rows; row++) {
      for (let column = 0; column < matrix.columns; column++) {
        flipped[column * matrix.rows + row] = values[row * matrix.columns + column] ?? 0;
      }
    }
    return flipped;
  };
  return pairMatrix(matrix.columns, matrix.rows, flip(matrix.high), flip(matrix.low));
}
