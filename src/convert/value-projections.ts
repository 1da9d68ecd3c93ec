import { join } from "node:path";
import { ToastError } from "../errors.js";
import type { BackboneManifest } from "../model/manifest.js";
import { backboneHash } from "./backbone-hash.js";
import { isGgufFile } from "./gguf/gguf-parts.js";
import { GgufReader } from "./gguf/gguf-reader.js";
import { GgufValueProjections } from "./gguf/gguf-value-projections.js";
import { SafetensorsReader } from "./safetensors-reader.js";
import type { OpenValueProjections } from "./source-model.js";
import { ValueProjectionTensors } from "./value-projection-tensors.js";

/** A folder inside a model folder with the Hugging Face files that it was converted from. */
const sourceFolder = "source";

/**
 * W_v of a converted backbone, all of its source that folding an adapter needs (see docs/architecture.md, "Steering"):
 * of the file beside it, or else of its `source/` folder, if that is the source.
 * @throws ToastError `invalid_adapter` when it has neither, `missing_tensor`, `misshapen_tensor`,
 *   `corrupt_safetensors`, `corrupt_gguf`
 */
export async function openValueProjections(folder: string, manifest: BackboneManifest): Promise<OpenValueProjections> {
  const name = manifest.files.valueProjections?.name;
  if (name !== undefined && isGgufFile(name)) {
    const reader = await GgufReader.open([join(folder, name)]);
    return orClose(reader, () => new GgufValueProjections(reader, manifest.architecture));
  }
  const reader =
    name === undefined
      ? await openSource(folder, manifest.backboneSha256)
      : await SafetensorsReader.openFiles([join(folder, name)]);
  return orClose(reader, () => new ValueProjectionTensors(reader, manifest.architecture));
}

async function orClose<T>(reader: { close(): Promise<void> }, make: () => T): Promise<T> {
  try {
    return make();
  } catch (error) {
    await reader.close();
    throw error;
  }
}

async function openSource(folder: string, backboneSha256: string): Promise<SafetensorsReader> {
  const lacking = (why: string, cause?: unknown) =>
    new ToastError(
      "invalid_adapter",
      `A trained adapter cannot be converted for this model here: its folder has no value projections and ${why}. Convert the model again, or send an adapter that 'toast-serve convert' has made.`,
      { cause },
    );
  const source = await SafetensorsReader.openFolder(join(folder, sourceFolder)).catch((cause: unknown) => {
    throw lacking(`no ${sourceFolder}/ folder`, cause);
  });
  source.findUnderPlainNames();
  if ((await backboneHash(source)) === backboneSha256) return source;
  await source.close();
  throw lacking(`its ${sourceFolder}/ folder holds another backbone`);
}
