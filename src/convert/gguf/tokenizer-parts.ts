/** What the kind of a vocabulary decides in tokenizer.json. */
export interface TokenizerParts {
  readonly normalizer: object | null;
  readonly preTokenizer: object | null;
  readonly decoder: object;
  /** Of the BPE model, beside its vocabulary. */
  readonly model: {
    readonly merges: readonly (readonly [string, string])[];
    readonly unk_token: string | null;
    readonly fuse_unk: boolean;
    readonly byte_fallback: boolean;
    readonly ignore_merges: boolean;
  };
}
