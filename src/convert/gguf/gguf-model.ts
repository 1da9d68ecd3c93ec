import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { ToastError } from "../../errors.js";
import { backboneHash } from "../backbone-hash.js";
import { readGenerationConfig, tokenizerTexts } from "../source-folder.js";
import type { SourceModel } from "../source-model.js";
import { templateFromGguf } from "./gguf-chat-template.js";
import { readGgufConfig } from "./gguf-config.js";
import type { GgufMetadata } from "./gguf-metadata.js";
import { ggufParts, ggufStem } from "./gguf-parts.js";
import { GgufReader } from "./gguf-reader.js";
import { samplingFromGguf } from "./gguf-sampling.js";
import { tokensFromGguf } from "./gguf-special-tokens.js";
import { GgufTensors } from "./gguf-tensors.js";
import { tokenizerFromGguf } from "./gguf-tokenizer.js";
import { GgufValueProjections } from "./gguf-value-projections.js";

/**
 * Opens a GGUF file, or the split one that it is a part of. A generation_config.json beside it adds to what the file
 * recommends, a tokenizer.json beside it is taken for the one made of the file, if its tokens are the file's.
 *
 * @throws ToastError `file_missing`, `corrupt_gguf`, `unsupported_architecture`, `unsupported_rope`,
 *   `unsupported_tokenizer`, `invalid_config`, `missing_tensor`, `misshapen_tensor`, `not_finite_weights`
 */
export async function openGgufModel(file: string): Promise<SourceModel> {
  const folder = dirname(file);
  const reader = await GgufReader.open(await ggufParts(file));
  try {
    const { metadata } = reader;
    const values = metadata.plain;
    const config = await readGgufConfig(reader);
    const tensors = new GgufTensors(reader, config);
    const generation = await readGenerationConfig(folder);
    const { sampling, warnings } = samplingFromGguf(metadata);
    return {
      name: ggufStem(file),
      config,
      tokens: tokensFromGguf(values, file, { vocabSize: config.vocabSize, moreEosIds: generation.eosTokenIds }),
      tokenizer: (await tokenizerBeside(folder, metadata)) ?? tokenizerFromGguf(values, file),
      // Read when it is asked for: one that cannot be rendered does no harm where another is given.
      get chatTemplate() {
        return templateFromGguf(values, file);
      },
      sampling: { ...sampling, ...generation.sampling },
      licence: metadata.optional("general.license", "string") ?? null,
      warnings,
      tensors,
      valueProjections: new GgufValueProjections(reader, config),
      bytes: reader.bytes,
      hash: (onBytes) => hashOf(reader, onBytes),
      close: () => reader.close(),
    };
  } catch (error) {
    await reader.close();
    throw error;
  }
}

function hashOf(reader: GgufReader, onBytes: ((bytes: number) => void) | undefined): Promise<string> {
  const tensors = Array.from(reader.tensors, (tensor) => ({
    name: tensor.name,
    dtype: tensor.type.name,
    shape: tensor.dimensions,
    tensor,
  }));
  return backboneHash({ tensors, rawChunks: ({ tensor }) => reader.rawChunks(tensor) }, onBytes);
}

/** @throws ToastError `unsupported_tokenizer` when it is another model's. */
async function tokenizerBeside(folder: string, metadata: GgufMetadata): Promise<Uint8Array | null> {
  const path = join(folder, "tokenizer.json");
  const bytes = await readFile(path).catch(() => null);
  if (bytes === null) return null;
  const tokens = metadata.needed("tokenizer.ggml.tokens", "strings");
  for (const [id, text] of tokenizerTexts(bytes, path)) {
    const own = tokens[id];
    if (own === text) continue;
    throw new ToastError(
      "unsupported_tokenizer",
      `${path} is another model's: its token ${id} is ${JSON.stringify(text)}, in ${metadata.file} it is ${own === undefined ? "none" : JSON.stringify(own)}. Remove it, or put the right one there.`,
    );
  }
  return bytes;
}
