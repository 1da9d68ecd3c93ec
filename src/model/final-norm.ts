import { open, readFile } from "node:fs/promises";
import { join } from "node:path";
import { ToastError } from "../errors.js";
import type { BackboneManifest } from "./manifest.js";
import { normNode } from "./onnx-proto.js";
import { finalNormGain } from "./tensor-names.js";

/**
 * The RMSNorm behind the last layer, which the graph takes for the tokens that want logits. Here it is for all others:
 * what Hugging Face calls `last_hidden_state` is behind it.
 * @see https://arxiv.org/abs/1910.07467
 */
export class FinalNorm {
  /** float32 [D] */
  readonly #gain: Float32Array;
  readonly #epsilon: number;

  constructor(gain: Float32Array, epsilon: number) {
    this.#gain = gain;
    this.#epsilon = epsilon;
  }

  /**
   * Reads gain and epsilon out of a converted folder.
   * @throws ToastError `engine_failed` for a graph that has no such norm.
   */
  static async read(path: string, { files, architecture }: BackboneManifest): Promise<FinalNorm> {
    const graph = join(path, files.graph.name);
    const norm = normNode(await readFile(graph), finalNormGain);
    if (norm === null) throw new ToastError("engine_failed", `${graph} has no norm behind its last layer`);
    const { gain } = norm;
    const bytes = gain.kind === "inline" ? gain.bytes : await readBytes(join(path, gain.file), gain.offset, gain.bytes);
    if (bytes.length !== architecture.hiddenSize * 4) {
      throw new ToastError("engine_failed", `the gain of ${graph}'s last norm has ${bytes.length} bytes`);
    }
    // Copied: a Buffer may begin anywhere in what it shares.
    return new FinalNorm(new Float32Array(Uint8Array.from(bytes).buffer), norm.epsilon);
  }

  /**
   * @param hiddenStates float32 [T,D], the last layer's output.
   * @returns float32 [T,D]
   */
  of(hiddenStates: Float32Array): Float32Array {
    const size = this.#gain.length;
    const normed = new Float32Array(hiddenStates.length);
    for (let start = 0; start < hiddenStates.length; start += size) {
      const token = hiddenStates.subarray(start, start + size);
      const squares = token.reduce((sum, value) => sum + value * value, 0);
      const scale = 1 / Math.sqrt(squares / size + this.#epsilon);
      for (let i = 0; i < size; i++) normed[start + i] = (token[i] as number) * scale * (this.#gain[i] as number);
    }
    return normed;
  }
}

async function readBytes(file: string, offset: number, bytes: number): Promise<Uint8Array> {
  const handle = await open(file);
  try {
    const { buffer, bytesRead } = await handle.read(new Uint8Array(bytes), 0, bytes, offset);
    return buffer.subarray(0, bytesRead);
  } finally {
    await handle.close();
  }
}
