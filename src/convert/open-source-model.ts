import { stat } from "node:fs/promises";
import { join } from "node:path";
import { ToastError } from "../errors.js";
import { openGgufModel } from "./gguf/gguf-model.js";
import { ggufInFolder, isGgufFile } from "./gguf/gguf-parts.js";
import { openHuggingFaceModel } from "./hugging-face-model.js";
import type { SourceModel } from "./source-model.js";

/**
 * Opens what a path leads to: a GGUF file, any part of a split one, a folder with one, or a Hugging Face folder. A
 * folder with both is a Hugging Face folder: its weights are the ones that the others were made of.
 * @throws ToastError as `openGgufModel` and `openHuggingFaceModel`; `invalid_option` for several GGUF models in a
 *   folder.
 */
export async function openSourceModel(path: string): Promise<SourceModel> {
  if (isGgufFile(path)) return openGgufModel(path);
  const found = await stat(path).catch(() => null);
  if (found?.isFile() === true) {
    throw new ToastError("file_missing", `${path} is a file, but no .gguf; give one, or a Hugging Face folder.`);
  }
  const gguf = (await hasSafetensors(path)) ? null : await ggufInFolder(path);
  return gguf === null ? openHuggingFaceModel(path) : openGgufModel(gguf);
}

async function hasSafetensors(folder: string): Promise<boolean> {
  for (const name of ["model.safetensors", "model.safetensors.index.json"]) {
    if ((await stat(join(folder, name)).catch(() => null)) !== null) return true;
  }
  return false;
}
