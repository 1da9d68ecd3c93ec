import { ToastError } from "../../errors.js";
import type { BackboneManifest } from "../../model/manifest.js";
import { type GgufValues, type GgufVocabulary, readVocabulary } from "./gguf-vocabulary.js";

/**
 * Texts at which llama.cpp ends a generation, whatever the file says of them: chat models are often converted with the
 * base model's end of sequence, and their own end of a turn stands only among the tokens.
 * @see https://github.com/ggml-org/llama.cpp/blob/master/src/llama-vocab.cpp (special_eog_ids)
 */
const endTexts: ReadonlySet<string> = new Set([
  "<|eot_id|>",
  "<|im_end|>",
  "<|end|>",
  "<|return|>",
  "<|call|>",
  "<|flush|>",
  "<|calls|>",
  "<end_of_turn>",
  "<|endoftext|>",
  "</s>",
  "<|eom_id|>",
  "<EOT>",
  "_<EOT>",
  "[EOT]",
  "[EOS]",
  "<|end_of_text|>",
  "<end_of_utterance>",
  "<eos>",
  "<turn|>",
  "<|tool_response>",
  "<｜end▁of▁sentence｜>",
  "[e~[",
]);

/** What parts files of a repository in code models; a text that reaches one is over, too. */
const partingTexts = {
  fim_pad: ["<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"],
  fim_rep: ["<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"],
  fim_sep: ["<|file_sep|>"],
} as const;

/** Ids that end a generation: the file's own end of sequence first, then the others by id. */
export function endOfGenerationIds({ tokens, ids }: GgufVocabulary): number[] {
  const ends = new Set<number>();
  for (const id of [ids.eot, ids.eom]) if (id !== null) ends.add(id);
  for (const [id, text] of tokens.entries()) if (endTexts.has(text)) ends.add(id);
  for (const name of ["fim_pad", "fim_rep", "fim_sep"] as const) {
    const texts: readonly string[] = partingTexts[name];
    const id = ids[name] ?? tokens.findIndex((text) => texts.includes(text));
    if (id !== -1) ends.add(id);
  }
  const others = [...ends].filter((id) => id !== ids.eos).sort((a, b) => a - b);
  return ids.eos === null ? others : [ids.eos, ...others];
}

/**
 * The special tokens of a manifest, from the metadata of a GGUF file.
 * @param file Path for the messages.
 * @param model.vocabSize rows of the embedding table, where they are known.
 * @param model.moreEosIds what else ends a generation, of a generation_config.json beside the file.
 * @throws ToastError `unsupported_tokenizer` when no token ends a text or there are more tokens than rows,
 *   `invalid_config` for an id that is none of a token, and as `readVocabulary`.
 */
export function tokensFromGguf(
  metadata: GgufValues,
  file: string,
  {
    vocabSize = Number.POSITIVE_INFINITY,
    moreEosIds = [],
  }: { vocabSize?: number; moreEosIds?: readonly number[] } = {},
): BackboneManifest["tokens"] {
  const vocabulary = readVocabulary(metadata, file);
  const { tokens, ids } = vocabulary;
  if (tokens.length > vocabSize) {
    const message = `${file}: the tokenizer has ${tokens.length} tokens, the embedding table ${vocabSize} rows.`;
    throw new ToastError("unsupported_tokenizer", message);
  }
  const token = (id: number) => {
    const text = tokens[id];
    if (text !== undefined) return { id, text };
    const message = `${file}: generation_config.json ends a text at token ${id}, which is not among the ${tokens.length} tokens.`;
    throw new ToastError("invalid_config", message);
  };
  const eos = [...new Set([...endOfGenerationIds(vocabulary), ...moreEosIds])].map(token);
  if (eos.length === 0) {
    throw new ToastError(
      "unsupported_tokenizer",
      `${file} names no end-of-sequence token (tokenizer.ggml.eos_token_id), and none of its tokens is known as one.`,
    );
  }
  return {
    bos: ids.bos === null ? null : token(ids.bos),
    eos,
    pad: ids.padding === null ? null : token(ids.padding),
  };
}
