import { basename, resolve } from "node:path";
import { backboneHash } from "./backbone-hash.js";
import { checkLlamaTensors } from "./llama-tensors.js";
import { SafetensorsReader } from "./safetensors-reader.js";
import { readSourceFolder } from "./source-folder.js";
import type { SourceModel } from "./source-model.js";
import { ValueProjectionTensors } from "./value-projection-tensors.js";

/**
 * Opens a Hugging Face folder: config.json, tokenizer.json, safetensors.
 * @throws ToastError as `readSourceFolder`, `SafetensorsReader.openFolder` and `checkLlamaTensors`.
 */
export async function openHuggingFaceModel(folder: string): Promise<SourceModel> {
  const { config, ...described } = await readSourceFolder(folder);
  const reader = await SafetensorsReader.openFolder(folder);
  try {
    checkLlamaTensors(config, reader);
    return {
      ...described,
      config,
      name: basename(resolve(folder)),
      warnings: [],
      tensors: reader,
      valueProjections: new ValueProjectionTensors(reader, config),
      bytes: reader.bytes,
      hash: (onBytes) => backboneHash(reader, onBytes),
      close: () => reader.close(),
    };
  } catch (error) {
    await reader.close();
    throw error;
  }
}
