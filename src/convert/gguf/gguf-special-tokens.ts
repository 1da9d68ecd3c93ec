import type { BackboneManifest } from "../../model/manifest.js";
import type { GgufMetadata } from "./gguf-metadata.js";

/** Where llama.cpp ends an answer, besides the tokens that the file names. */
const endTexts: ReadonlySet<string> = new Set([
  ...["<|eot_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<|flush|>", "<|calls|>", "<end_of_turn>"],
  ...[
    "<|endoftext|>",
    "</s>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<|end_of_text|>",
    "<end_of_utterance>",
  ],
  ...["<eos>", "<turn|>", "<|tool_response>", "<｜end▁of▁sentence｜>", "[e~["],
  // Of fill-in-the-middle prompts: behind them another file would begin.
  ...["<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"],
  ...["<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>", "<|file_sep|>"],
]);

/** Kinds of token in `tokenizer.ggml.token_type` that are matched as a whole, never spelled. */
const controlType = 3;
const userDefinedType = 4;

/**
 * The tokens that mean something to generation. The first that ends it is the one that the file names: templates know it as
 * `eos_token`.
 *
 * @throws ToastError `invalid_config` when an id is none of a token, or nothing would end a generation.
 * @see https://github.com/ggml-org/llama.cpp/blob/master/src/llama-vocab.cpp, "special_eog_ids"
 */
export function specialTokensOf(
  metadata: GgufMetadata,
  vocabSize: number,
  moreEosIds: readonly number[],
): BackboneManifest["tokens"] {
  const texts = metadata.needed("tokenizer.ggml.tokens", "strings");
  const types = metadata.optional("tokenizer.ggml.token_type", "integers");
  if (texts.length > vocabSize) {
    throw metadata.invalid(`the tokenizer has ${texts.length} tokens, the embedding table ${vocabSize} rows`);
  }
  const special = (id: number): { id: number; text: string } => {
    const text = texts[id];
    if (text === undefined) throw metadata.invalid(`special token ${id} is not among the ${texts.length} tokens`);
    return { id, text };
  };
  // Tokenizers of this kind need not say which they are.
  const isSentencePiece = metadata.optional("tokenizer.ggml.model", "string") === "llama";
  const stated = (name: string, otherwise: number | null = null): number | null =>
    metadata.optional(`tokenizer.ggml.${name}_token_id`, "integer") ?? (isSentencePiece ? otherwise : null);
  const one = (id: number | null) => (id === null ? null : special(id));

  const endIds = new Set<number>();
  for (const id of [stated("eos", 2), ...moreEosIds, stated("eot"), stated("eom")]) if (id !== null) endIds.add(id);
  for (const [id, text] of texts.entries()) {
    const type = types?.[id] ?? controlType;
    if (endTexts.has(text) && (type === controlType || type === userDefinedType)) endIds.add(id);
  }
  if (endIds.size === 0) throw metadata.invalid("no token ends a generation: tokenizer.ggml.eos_token_id is missing");
  return { bos: one(stated("bos", 1)), eos: [...endIds].map(special), pad: one(stated("padding")) };
}
