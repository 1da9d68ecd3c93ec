import { byteLevelParts } from "./byte-level-parts.js";
import { endOfGenerationIds } from "./gguf-special-tokens.js";
import { type GgufValues, type GgufVocabulary, readVocabulary } from "./gguf-vocabulary.js";
import { sentencePieceParts } from "./sentencepiece-parts.js";

/**
 * A Hugging Face tokenizer.json that gives the ids which the tokenizer of a GGUF file gives.
 * @param file Path for the messages.
 * @returns UTF-8.
 * @throws ToastError `unsupported_tokenizer`, see `readVocabulary`.
 */
export function tokenizerFromGguf(metadata: GgufValues, file: string): Uint8Array {
  const vocabulary = readVocabulary(metadata, file);
  const parts = vocabulary.model === "llama" ? sentencePieceParts(vocabulary, file) : byteLevelParts(vocabulary, file);
  const specification = {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: addedTokens(vocabulary),
    normalizer: parts.normalizer,
    pre_tokenizer: parts.preTokenizer,
    post_processor: postProcessor(vocabulary),
    decoder: parts.decoder,
    model: {
      type: "BPE",
      dropout: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      ...parts.model,
      vocab: Object.fromEntries(vocabulary.tokens.map((token, id) => [token, id])),
    },
  };
  return new TextEncoder().encode(JSON.stringify(specification));
}

/**
 * Tokens that are found in the text before it is split: control tokens and the unknown one, which are no text when they
 * are generated, and user-defined ones, which are. GGUF keeps no rule about blanks around them.
 */
function addedTokens(vocabulary: GgufVocabulary): object[] {
  const ends = new Set(endOfGenerationIds(vocabulary));
  return vocabulary.tokens.flatMap((content, id) => {
    const kind = vocabulary.kinds[id];
    const special = kind === "control" || kind === "unknown" || ends.has(id);
    if (!special && kind !== "user-defined") return [];
    return { id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special };
  });
}

/** BOS in front and EOS behind, where the file asks for them and has them. */
function postProcessor({ tokens, ids, addBos, addEos }: GgufVocabulary): object | null {
  const special = (id: number | null, add: boolean) => {
    const text = add && id !== null ? tokens[id] : undefined;
    return text === undefined || id === null ? null : { text, id };
  };
  const bos = special(ids.bos, addBos);
  const eos = special(ids.eos, addEos);
  if (bos === null && eos === null) return null;
  const around = (sequence: string, type: number) => [
    ...(bos === null ? [] : [{ SpecialToken: { id: bos.text, type_id: type } }]),
    { Sequence: { id: sequence, type_id: type } },
    ...(eos === null ? [] : [{ SpecialToken: { id: eos.text, type_id: type } }]),
  ];
  const used = [bos, eos].filter((token) => token !== null);
  return {
    type: "TemplateProcessing",
    single: around("A", 0),
    pair: [...around("A", 0), ...around("B", 1)],
    special_tokens: Object.fromEntries(used.map(({ text, id }) => [text, { id: text, ids: [id], tokens: [text] }])),
  };
}
