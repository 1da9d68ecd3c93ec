import * as vendor from "@huggingface/tokenizers";
import type { ModelSpecification, PatternSpecification } from "./specification.js";

/** What is used of the vendor: its package has no types that resolve for what it exports beside the whole tokenizer. */
interface Vendor {
  /** Spells pieces in a vocabulary. */
  readonly BPE: new (
    model: ModelSpecification,
  ) => { encode(pieces: readonly string[]): string[] };
  /** Translates a pattern from Oniguruma's syntax. */
  readonly SplitPreTokenizer: new (part: {
    readonly type: "Split";
    readonly pattern: PatternSpecification;
    readonly invert: true;
  }) => { readonly pattern: RegExp | null };
}

export const { BPE, SplitPreTokenizer } = vendor as unknown as Vendor;
