import { ToastError } from "../../errors.js";
import type { GgufMetadata } from "./gguf-metadata.js";

/**
 * The bytes of a tokenizer.json that does what the file's tokenizer does.
 * @throws ToastError `unsupported_tokenizer`
 */
export function tokenizerFromGguf(metadata: GgufMetadata, file: string): Uint8Array {
  const model = metadata.optional("tokenizer.ggml.model", "string") ?? "none";
  throw new ToastError(
    "unsupported_tokenizer",
    `${file}: tokenizer ${model} is not supported yet; put its tokenizer.json beside it.`,
  );
}

/** The Jinja source of the chat template, or null. */
export function templateFromGguf(metadata: GgufMetadata): string | null {
  return metadata.optional("tokenizer.chat_template", "string") ?? null;
}
