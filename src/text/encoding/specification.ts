/**
 * A tokenizer.json, as far as encoding reads it. What is left out has the default of the Python library; what it does
 * not know there is refused here.
 */
export interface TokenizerSpecification {
  readonly added_tokens?: readonly AddedTokenSpecification[];
  readonly normalizer?: PartSpecification | null;
  readonly pre_tokenizer?: PartSpecification | null;
  readonly post_processor?: PartSpecification | null;
  readonly model: ModelSpecification;
}

export interface AddedTokenSpecification {
  readonly id: number;
  readonly content: string;
  readonly special?: boolean;
  readonly normalized?: boolean;
  readonly single_word?: boolean;
  readonly lstrip?: boolean;
  readonly rstrip?: boolean;
}

export interface ModelSpecification {
  readonly type?: string;
  readonly vocab: Readonly<Record<string, number>>;
  readonly merges: readonly (string | readonly [string, string])[];
  readonly dropout?: number | null;
  readonly unk_token?: string | null;
  readonly continuing_subword_prefix?: string | null;
  readonly end_of_word_suffix?: string | null;
  readonly fuse_unk?: boolean;
  readonly byte_fallback?: boolean;
  readonly ignore_merges?: boolean;
}

/** A normalizer, pre-tokenizer or post-processor: what any of them has, of which each kind has some. */
export interface PartSpecification {
  readonly type: string;
  readonly normalizers?: readonly PartSpecification[];
  readonly pretokenizers?: readonly PartSpecification[];
  readonly processors?: readonly PartSpecification[];
  readonly pattern?: PatternSpecification;
  readonly content?: string;
  readonly behavior?: string;
  readonly invert?: boolean;
  readonly prepend?: string;
  readonly strip_left?: boolean;
  readonly strip_right?: boolean;
  readonly add_prefix_space?: boolean;
  readonly use_regex?: boolean;
  readonly replacement?: string;
  readonly prepend_scheme?: string;
  readonly split?: boolean;
  readonly individual_digits?: boolean;
  readonly delimiter?: string;
  readonly single?: readonly TemplateItem[];
  readonly special_tokens?: Readonly<Record<string, { readonly ids: readonly number[] }>>;
  readonly cls?: readonly [token: string, id: number];
  readonly sep?: readonly [token: string, id: number];
}

/** A place in what a `TemplateProcessing` writes. */
export interface TemplateItem {
  readonly SpecialToken?: { readonly id: string };
  readonly Sequence?: { readonly id: string };
}

/** What a `Split` or a `Replace` looks for. */
export interface PatternSpecification {
  readonly String?: string;
  readonly Regex?: string;
}
