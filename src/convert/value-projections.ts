import { join } from "node:path";
import { ToastError } from "../errors.js";
import type { BackboneManifest, ManifestFile } from "../model/manifest.js";
import { backboneHash } from "./backbone-hash.js";
import { OutputFile } from "./output-file.js";
import { SafetensorsReader, type TensorInfo } from "./safetensors-reader.js";

/** Beside a converted backbone: all of its source that folding an adapter needs (see docs/architecture.md, "Steering"). */
export const valueProjectionsFile = "value_projections.safetensors";
/** A folder inside a model folder with the Hugging Face files that it was converted from. */
const sourceFolder = "source";

export function valueProjectionName(layer: number): string {
  return `model.layers.${layer}.self_attn.v_proj.weight`;
}

/**
 * Copies W_v of every layer, byte for byte as the source stores it: an adapter folded with it later is the one that is folded now.
 * @throws ToastError `corrupt_safetensors`, `disk_full`, `write_failed`
 */
export async function writeValueProjections(
  folder: string,
  source: SafetensorsReader,
  layers: number,
): Promise<ManifestFile> {
  const tensors = Array.from({ length: layers }, (_, layer) => tensorOf(source, layer));
  const header: Record<string, object> = {};
  let end = 0;
  for (const { name, dtype, shape, bytes } of tensors) {
    header[name] = { dtype, shape, data_offsets: [end, end + bytes] };
    end += bytes;
  }
  const text = new TextEncoder().encode(JSON.stringify(header));
  const length = new Uint8Array(8);
  new DataView(length.buffer).setBigUint64(0, BigInt(text.length), true);
  return OutputFile.create(join(folder, valueProjectionsFile), async (file) => {
    await file.append(length);
    await file.append(text);
    for (const tensor of tensors) for await (const chunk of source.rawChunks(tensor)) await file.append(chunk);
  });
}

/**
 * W_v of a converted backbone: of the file beside it, or else of its `source/` folder, if that is the source.
 * @throws ToastError `invalid_adapter` when it has neither, `missing_tensor`, `misshapen_tensor`, `corrupt_safetensors`
 */
export async function openValueProjections(
  folder: string,
  { files, backboneSha256, architecture }: BackboneManifest,
): Promise<SafetensorsReader> {
  const reader =
    files.valueProjections === undefined
      ? await openSource(folder, backboneSha256)
      : await SafetensorsReader.openFiles([join(folder, files.valueProjections.name)]);
  try {
    const { layers, hiddenSize, kvHeads, headDim } = architecture;
    for (let layer = 0; layer < layers; layer++) {
      reader.expect(valueProjectionName(layer), [kvHeads * headDim, hiddenSize]);
    }
    return reader;
  } catch (error) {
    await reader.close();
    throw error;
  }
}

async function openSource(folder: string, backboneSha256: string): Promise<SafetensorsReader> {
  const lacking = (why: string, cause?: unknown) =>
    new ToastError(
      "invalid_adapter",
      `A trained adapter cannot be converted for this model here: its folder has no ${valueProjectionsFile} and ${why}. Convert the model again, or send an adapter that 'toast-serve convert' has made.`,
      { cause },
    );
  const source = await SafetensorsReader.openFolder(join(folder, sourceFolder)).catch((cause: unknown) => {
    throw lacking(`no ${sourceFolder}/ folder`, cause);
  });
  if ((await backboneHash(source)) === backboneSha256) return source;
  await source.close();
  throw lacking(`its ${sourceFolder}/ folder holds another backbone`);
}

function tensorOf(source: SafetensorsReader, layer: number): TensorInfo {
  const tensor = source.find(valueProjectionName(layer));
  if (tensor === undefined) throw new Error(`${valueProjectionName(layer)} was not checked before it was read`);
  return tensor;
}
