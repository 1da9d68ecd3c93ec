import { ToastError } from "../../errors.js";
import type { GgufVocabulary } from "./gguf-vocabulary.js";
import type { TokenizerParts } from "./tokenizer-parts.js";

/** What stands for a space in the pieces. */
const mark = "▁";

/**
 * SentencePiece BPE (LLaMA 1 and 2, TinyLlama, Mistral) in the words of tokenizer.json: a space in front, spaces as
 * `▁`, no parting into words, characters beyond the vocabulary in bytes.
 * @throws ToastError `unsupported_tokenizer` when the file has neither scores nor merges, or scores that tell nothing.
 */
export function sentencePieceParts(vocabulary: GgufVocabulary, file: string): TokenizerParts {
  const { tokens, kinds, ids, addSpacePrefix } = vocabulary;
  const spaces = { type: "Replace", pattern: { String: " " }, content: mark };
  const joined = [
    { type: "Replace", pattern: { String: mark }, content: " " },
    { type: "ByteFallback" },
    { type: "Fuse" },
  ];
  const strip = { type: "Strip", content: " ", start: 1, stop: 0 };
  return {
    normalizer: addSpacePrefix
      ? { type: "Sequence", normalizers: [{ type: "Prepend", prepend: mark }, spaces] }
      : spaces,
    preTokenizer: null,
    decoder: { type: "Sequence", decoders: addSpacePrefix ? [...joined, strip] : joined },
    model: {
      merges: vocabulary.merges ?? mergesFromScores(vocabulary, file),
      unk_token: ids.unknown === null ? null : (tokens[ids.unknown] ?? null),
      fuse_unk: true,
      byte_fallback: kinds.includes("byte"),
      ignore_merges: false,
    },
  };
}

/**
 * SentencePiece joins, again and again, the two neighbours whose product has the best score, of equals the leftmost.
 * Merges in the order of their products' scores do the same, as each product of a trained model has its own score.
 *
 * Ways to part one product come in transformers' order, longer left parts first. Vocabularies that were enlarged by
 * pieces of one score (0, say) have real ties, which merges can only break by pair and not by place: there the ids are
 * transformers', and may differ from SentencePiece's.
 *
 * Control, byte and unused tokens are no text and take no part, nor do user-defined ones, which are found before all
 * others; except with `▁` inside, since the text is searched for them before its spaces become `▁`.
 *
 * @see https://github.com/google/sentencepiece/blob/master/src/bpe_model.cc
 * @see https://github.com/huggingface/transformers/blob/main/src/transformers/tokenization_utils_sentencepiece.py
 */
function mergesFromScores({ tokens, kinds, scores }: GgufVocabulary, file: string): [string, string][] {
  if (scores === null) {
    throw new ToastError(
      "unsupported_tokenizer",
      `${file} has neither scores nor merges (tokenizer.ggml.scores, tokenizer.ggml.merges), so how its tokenizer ` +
        "splits text is not known.",
    );
  }
  const pieces = new Map<string, number>();
  for (const [id, token] of tokens.entries()) {
    const joins = kinds[id] === "normal" || (kinds[id] === "user-defined" && token.includes(mark));
    if (joins) pieces.set(token, scores[id] ?? 0);
  }
  const merges: { pair: [string, string]; score: number; left: number }[] = [];
  for (const [piece, score] of pieces) {
    const characters = Array.from(piece);
    for (let left = 1; left < characters.length; left += 1) {
      const pair: [string, string] = [characters.slice(0, left).join(""), characters.slice(left).join("")];
      if (pair.every((part) => pieces.has(part))) merges.push({ pair, score, left });
    }
  }
  if (merges.length > 1 && merges.every(({ score }) => score === merges[0]?.score)) {
    throw new ToastError(
      "unsupported_tokenizer",
      `${file} gives all its tokens one score and has no merges, so how its tokenizer splits text is not known. ` +
        "Convert the model to GGUF anew with a current converter.",
    );
  }
  return merges.sort((a, b) => b.score - a.score || b.left - a.left).map(({ pair }) => pair);
}
