import { join } from "node:path";
import type { ManifestFile } from "../../model/manifest.js";
import type { OpenValueProjections, ProjectionShape, SourceValueProjections } from "../source-model.js";
import type { GgufTensor } from "./gguf-header.js";
import type { GgufReader } from "./gguf-reader.js";
import { writeGguf } from "./gguf-writer.js";

const copyName = "value_projections.gguf";

/**
 * W_v of every layer in a GGUF file: that of a source, or the copy beside a converted backbone. Its rows are stored in
 * the order in which they are used; only those of q and k are not.
 */
export class GgufValueProjections implements SourceValueProjections, OpenValueProjections {
  readonly #reader: GgufReader;
  readonly #tensors: readonly GgufTensor[];

  /** @throws ToastError `missing_tensor`, `misshapen_tensor` */
  constructor(reader: GgufReader, { layers, hiddenSize, kvHeads, headDim }: ProjectionShape) {
    this.#reader = reader;
    this.#tensors = Array.from({ length: layers }, (_, layer) =>
      reader.expect(`blk.${layer}.attn_v.weight`, [hiddenSize, kvHeads * headDim]),
    );
  }

  /** @throws ToastError `not_finite_weights`, `corrupt_gguf` */
  read(layer: number): Promise<Float32Array> {
    const tensor = this.#tensors[layer];
    if (tensor === undefined) throw new Error(`there is no layer ${layer}`);
    return this.#reader.readFloats(tensor);
  }

  copyTo(folder: string): Promise<ManifestFile> {
    const metadata = new Map([["general.architecture", { kind: "string", value: "llama" } as const]]);
    const tensors = this.#tensors.map((tensor) => ({
      name: tensor.name,
      type: tensor.type,
      dimensions: tensor.dimensions,
      chunks: () => this.#reader.rawChunks(tensor),
    }));
    return writeGguf(join(folder, copyName), metadata, tensors);
  }

  async close(): Promise<void> {
    await this.#reader.close();
  }
}
