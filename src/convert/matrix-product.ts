import { dataTypes } from "../model/onnx-proto.js";
import type { OnnxSession, TensorValue } from "../model/onnx-session.js";
import { GraphBuilder, type Value } from "./graph-builder.js";
import { openGraph } from "./open-graph.js";

/**
 * A matrix of about float64 precision (48 bits of mantissa) as the sum of two float32 matrices: sessions speak float32.
 * Row-major.
 */
export interface PairMatrix {
  readonly rows: number;
  readonly columns: number;
  readonly high: Float32Array;
  readonly low: Float32Array;
}

export function pairMatrix(rows: number, columns: number, high: Float32Array, low?: Float32Array): PairMatrix {
  return { rows, columns, high, low: low ?? new Float32Array(high.length) };
}

/**
 * Multiplies matrices in float64 by onnxruntime, on all cores. Plain JavaScript on one core would take hours to fold a
 * 7B adapter (1e13 operations).
 */
export class MatrixProduct {
  readonly #session: OnnxSession;

  private constructor(session: OnnxSession) {
    this.#session = session;
  }

  /** @throws ToastError `disk_full`, `write_failed` when its graph cannot be put down for onnxruntime to load. */
  static async create(): Promise<MatrixProduct> {
    return new MatrixProduct(await openGraph(productGraph()));
  }

  /** a [m,k], b [k,n] → a·b [m,n]. */
  async multiply(a: PairMatrix, b: PairMatrix): Promise<PairMatrix> {
    if (a.columns !== b.rows) throw new Error(`[${a.rows},${a.columns}] times [${b.rows},${b.columns}]`);
    const { high, low } = await this.#session.run({
      a_high: tensor(a, a.high),
      a_low: tensor(a, a.low),
      b_high: tensor(b, b.high),
      b_low: tensor(b, b.low),
    });
    if (high === undefined || low === undefined) throw new Error("the product graph lacks an output");
    return pairMatrix(a.rows, b.columns, high, low);
  }

  async release(): Promise<void> {
    await this.#session.release();
  }
}

function tensor(matrix: PairMatrix, data: Float32Array): TensorValue {
  return { type: "float32", data, dims: [matrix.rows, matrix.columns] };
}

function productGraph(): Uint8Array {
  const b = new GraphBuilder("product");
  const cast = (value: Value, to: "float32" | "float64", output?: string): Value =>
    b.node("Cast", [value], {
      attributes: { to: { int: dataTypes[to] } },
      ...(output === undefined ? {} : { output }),
    });
  const pair = (name: string, dims: readonly string[]): Value =>
    b.node("Add", [
      cast(b.input(`${name}_high`, "float32", dims), "float64"),
      cast(b.input(`${name}_low`, "float32", dims), "float64"),
    ]);
  const product = b.node("MatMul", [pair("a", ["m", "k"]), pair("b", ["k", "n"])]);
  const high = cast(product, "float32", "high");
  const low = cast(b.node("Sub", [product, cast(high, "float64")]), "float32", "low");
  b.output(high, "float32", ["m", "n"]);
  b.output(low, "float32", ["m", "n"]);
  return b.build().graph;
}
