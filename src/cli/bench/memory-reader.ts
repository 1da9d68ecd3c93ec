import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { GraphBuilder, microsoft } from "../../convert/graph-builder.js";
import { OnnxSession } from "../../model/onnx-session.js";

/** Floats of a row; a row is what one output of the product is made of. */
const rowSize = 65536;

/**
 * Reads a buffer through the threads and kernels that read weights: a product of one row with a matrix, as in decoding
 * one stream with fp32 weights. It computes next to nothing, so its time is that of the memory.
 */
export class MemoryReader {
  readonly #session: OnnxSession;
  readonly #matrix: Float32Array;
  readonly #vector = new Float32Array(rowSize).fill(1);

  private constructor(session: OnnxSession, matrix: Float32Array) {
    this.#session = session;
    this.#matrix = matrix;
  }

  /** @param bytes should be far larger than the last cache. */
  static async open(bytes: number, threads: number | undefined): Promise<MemoryReader> {
    const folder = await mkdtemp(join(tmpdir(), "toast-bench-"));
    try {
      const file = join(folder, "read.onnx");
      await writeFile(file, readGraph());
      // Written to: pages that never were are all the same page of zeros.
      const matrix = new Float32Array(Math.ceil(bytes / (4 * rowSize)) * rowSize).fill(1);
      return new MemoryReader(await OnnxSession.load(file, { threads }), matrix);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }

  /** @returns bytes per second of one reading of the whole buffer. */
  async read(): Promise<number> {
    const rows = this.#matrix.length / rowSize;
    const startedAt = performance.now();
    await this.#session.run({
      matrix: { type: "float32", data: this.#matrix, dims: [rows, rowSize] },
      vector: { type: "float32", data: this.#vector, dims: [1, rowSize] },
    });
    return (1000 * this.#matrix.byteLength) / (performance.now() - startedAt);
  }

  async release(): Promise<void> {
    await this.#session.release();
  }
}

/** vector [1,K] · matrix [N,K]ᵀ */
function readGraph(): Uint8Array {
  const b = new GraphBuilder("read");
  const vector = b.input("vector", "float32", [1, rowSize]);
  const matrix = b.input("matrix", "float32", ["N", rowSize]);
  const options = { domain: microsoft, attributes: { transB: { int: 1 } }, output: "product" };
  b.output(b.node("FusedMatMul", [vector, matrix], options), "float32", [1, "N"]);
  return b.build().graph;
}
