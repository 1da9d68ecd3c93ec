import type { GrammarSource } from "./grammar-source.js";

/** Engine thread → trial thread. */
export interface TrialRequest {
  readonly source: GrammarSource;
}

/** Trial thread → engine thread; the first one says that it is ready. */
export type TrialAnswer =
  | { readonly kind: "ready" }
  | { readonly kind: "passed" }
  /** `reason` is a part of a sentence: "the grammar …". */
  | { readonly kind: "failed"; readonly reason: string };
