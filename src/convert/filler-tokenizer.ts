const specials = ["<unk>", "<s>", "</s>"];

/**
 * A tokenizer.json for weights that know no words: every byte is a token, so that any text can be encoded, and the rest
 * of the vocabulary is filled with words that only decoding meets.
 * @param vocabSize at least 259: three special tokens and the bytes.
 */
export function fillerTokenizer(vocabSize: number): Uint8Array {
  const bytes = Array.from({ length: 256 }, (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`);
  const known = [...specials, ...bytes];
  if (vocabSize < known.length) throw new Error(`a vocabulary of ${vocabSize} has no room for every byte`);
  const pieces = Array.from({ length: vocabSize }, (_, id) => known[id] ?? ` word${id}`);
  const json = {
    version: "1.0",
    normalizer: null,
    pre_tokenizer: null,
    post_processor: null,
    decoder: { type: "Sequence", decoders: [{ type: "ByteFallback" }, { type: "Fuse" }] },
    added_tokens: specials.map((content, id) => ({
      id,
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true,
    })),
    model: {
      type: "BPE",
      unk_token: "<unk>",
      fuse_unk: true,
      byte_fallback: true,
      vocab: Object.fromEntries(pieces.map((piece, id) => [piece, id])),
      merges: [],
    },
  };
  return new TextEncoder().encode(JSON.stringify(json));
}
