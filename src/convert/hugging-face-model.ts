import { basename, resolve } from "node:path";
import { backboneHash } from "./backbone-hash.js";
import { checkLlamaTensors, withHeadOfFile } from "./llama-tensors.js";
import { SafetensorsReader } from "./safetensors-reader.js";
import { readSourceFolder } from "./source-folder.js";
import type { SourceModel } from "./source-model.js";
import { ValueProjectionTensors } from "./value-projection-tensors.js";

/**
 * Opens a Hugging Face folder: config.json, tokenizer.json, safetensors.
 * @throws ToastError as `readSourceFolder`, `SafetensorsReader.openFolder` and `checkLlamaTensors`.
 */
export async function openHuggingFaceModel(folder: string): Promise<SourceModel> {
  const { config: described, ...parts } = await readSourceFolder(folder);
  const reader = await SafetensorsReader.openFolder(folder);
  try {
    reader.findUnderPlainNames();
    const config = await withHeadOfFile(described, reader);
    checkLlamaTensors(config, reader);
    const ownHead =
      config.tiedEmbeddings === described.tiedEmbeddings
        ? []
        : [
            "config.json says that the head is the embedding table (tie_word_embeddings), and the file has an lm_head.weight that differs: the file's head is used.",
          ];
    return {
      ...parts,
      config,
      name: basename(resolve(folder)),
      warnings: [...parts.warnings, ...ownHead],
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
