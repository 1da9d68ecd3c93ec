/** The tokens of a model as bytes, packed: it goes to another thread as it is. */
export interface Vocabulary {
  /** UTF-8 of all tokens, one behind the other; special tokens and padding rows have none. */
  readonly bytes: Uint8Array;
  /** [V] where each token's bytes end. */
  readonly ends: Uint32Array;
  readonly eosIds: readonly number[];
}

/**
 * @param bytesOf what a token adds to the text, undefined for one that adds nothing.
 * @param size V, that of the logits.
 */
export function packVocabulary(
  size: number,
  bytesOf: (id: number) => Uint8Array | undefined,
  eosIds: Iterable<number>,
): Vocabulary {
  const tokens = Array.from({ length: size }, (_, id) => bytesOf(id) ?? new Uint8Array());
  const bytes = new Uint8Array(tokens.reduce((sum, { length }) => sum + length, 0));
  const ends = new Uint32Array(size);
  let end = 0;
  for (const [id, token] of tokens.entries()) {
    bytes.set(token, end);
    end += token.length;
    ends[id] = end;
  }
  return { bytes, ends, eosIds: [...eosIds] };
}

export function unpackVocabulary({ bytes, ends }: Vocabulary): Uint8Array[] {
  return Array.from(ends, (end, id) => bytes.subarray(id === 0 ? 0 : ends[id - 1], end));
}
