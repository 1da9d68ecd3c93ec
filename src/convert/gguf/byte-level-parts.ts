import { ToastError } from "../../errors.js";
import type { GgufVocabulary } from "./gguf-vocabulary.js";
import type { TokenizerParts } from "./tokenizer-parts.js";

/** GPT-2's words: a contraction, letters, numbers or signs with the space before them, or blanks. */
const gpt2Words = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
const llama3Words =
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}" +
  "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

const byteLevel = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true };
const bytesOnly = { ...byteLevel, use_regex: false };
const split = (regex: string) => ({ type: "Split", pattern: { Regex: regex }, behavior: "Isolated", invert: false });
const inTurn = (...pretokenizers: object[]) => ({ type: "Sequence", pretokenizers });

/**
 * How text is parted into words before BPE, by the name that llama.cpp has for it (`tokenizer.ggml.pre`). Written as in
 * the tokenizer.json of the models that the names stand for; `default` is llama.cpp's own.
 * @see https://github.com/ggml-org/llama.cpp/blob/master/src/llama-vocab.cpp (llm_tokenizer_bpe)
 */
const preTokenizers: ReadonlyMap<string, object> = new Map<string, object>([
  [
    "default",
    inTurn(split("[\\p{P}$+<=>^~|]+"), split(gpt2Words), split("\\p{N}+"), split("[0-9][0-9][0-9]"), bytesOnly),
  ],
  ["gpt-2", byteLevel],
  ["llama-bpe", inTurn(split(llama3Words), bytesOnly)],
  ["smollm", inTurn({ type: "Digits", individual_digits: true }, byteLevel)],
]);

/**
 * Byte-level BPE (GPT-2, LLaMA 3, SmolLM2) in the words of tokenizer.json.
 * @throws ToastError `unsupported_tokenizer` for another way to part text into words, or a file without merges.
 */
export function byteLevelParts({ preTokenizer, merges }: GgufVocabulary, file: string): TokenizerParts {
  const words = preTokenizers.get(preTokenizer);
  if (words === undefined) {
    const known = [...preTokenizers.keys()].join(", ");
    const message = `${file} parts text in a way named "${preTokenizer}" (tokenizer.ggml.pre); supported are ${known}.`;
    throw new ToastError("unsupported_tokenizer", message);
  }
  if (merges === null) {
    const message = `${file} has no merges (tokenizer.ggml.merges), which a tokenizer of the kind "gpt2" needs.`;
    throw new ToastError("unsupported_tokenizer", message);
  }
  return {
    normalizer: null,
    preTokenizer: words,
    decoder: byteLevel,
    model: {
      merges,
      // A byte that the vocabulary lacks is left out, here as in llama.cpp and in the models' own tokenizer.json.
      unk_token: null,
      fuse_unk: false,
      byte_fallback: false,
      // A word that is a token is that token, even if no merges lead to it.
      ignore_merges: preTokenizer === "llama-bpe",
    },
  };
}
