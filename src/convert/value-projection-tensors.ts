import { join } from "node:path";
import type { ManifestFile } from "../model/manifest.js";
import { OutputFile } from "./output-file.js";
import type { SafetensorsReader, TensorInfo } from "./safetensors-reader.js";
import type { OpenValueProjections, ProjectionShape, SourceValueProjections } from "./source-model.js";

/** What `copyTo` writes. */
export const valueProjectionTensorsFile = "value_projections.safetensors";

function valueProjectionName(layer: number): string {
  return `model.layers.${layer}.self_attn.v_proj.weight`;
}

/** W_v of every layer in safetensors files: those of a source, or the copy beside a converted backbone. */
export class ValueProjectionTensors implements SourceValueProjections, OpenValueProjections {
  readonly #reader: SafetensorsReader;
  readonly #tensors: readonly TensorInfo[];

  /** @throws ToastError `missing_tensor`, `misshapen_tensor` */
  constructor(reader: SafetensorsReader, { layers, hiddenSize, kvHeads, headDim }: ProjectionShape) {
    this.#reader = reader;
    this.#tensors = Array.from({ length: layers }, (_, layer) =>
      reader.expect(valueProjectionName(layer), [kvHeads * headDim, hiddenSize]),
    );
  }

  /** @throws ToastError `not_finite_weights`, `corrupt_safetensors` */
  read(layer: number): Promise<Float32Array> {
    const tensor = this.#tensors[layer];
    if (tensor === undefined) throw new Error(`there is no layer ${layer}`);
    return this.#reader.readFloats(tensor);
  }

  async copyTo(folder: string): Promise<ManifestFile> {
    const header: Record<string, object> = {};
    let end = 0;
    for (const [layer, { dtype, shape, bytes }] of this.#tensors.entries()) {
      header[valueProjectionName(layer)] = { dtype, shape, data_offsets: [end, end + bytes] };
      end += bytes;
    }
    const text = new TextEncoder().encode(JSON.stringify(header));
    const length = new Uint8Array(8);
    new DataView(length.buffer).setBigUint64(0, BigInt(text.length), true);
    return OutputFile.create(join(folder, valueProjectionTensorsFile), async (file) => {
      await file.append(length);
      await file.append(text);
      for (const tensor of this.#tensors)
        for await (const chunk of this.#reader.rawChunks(tensor)) await file.append(chunk);
    });
  }

  async close(): Promise<void> {
    await this.#reader.close();
  }
}
