/** What the engine holds right now; waiting, running, lanes and cache are zero when idle. */
export interface EngineStatus {
  readonly waiting: number;
  readonly running: number;
  readonly lanesInUse: number;
  /** Bytes of key/value blocks that running sequences hold. */
  readonly cacheBytes: number;
  /** Bytes that the prefix cache holds for later requests. */
  readonly prefixBytes: number;
  /** Bytes that both may take together. */
  readonly cacheLimitBytes: number;
  /** What the cache consists of: how many blocks the limit allows, of how many tokens of one lane each. */
  readonly cacheBlocks: { readonly count: number; readonly tokens: number };
  /** Forwards since loading; their ratio to tokens is what steering costs. */
  readonly forwards: number;
  /** Of these, those that computed a chunk of a prompt; the others decode. */
  readonly prefillForwards: number;
  /** Rows computed in those forwards, by lane. */
  readonly rows: { readonly bottomUp: number; readonly steered: number };
  /** Tokens guessed by the bottom-up pass, and those of them that the steered pass then chose. */
  readonly drafts: { readonly proposed: number; readonly accepted: number };
  /** Tokens guessed by what followed the same ones before, and those of them that the text then had. */
  readonly guesses: { readonly proposed: number; readonly accepted: number };
  /** Prompt tokens looked up in the prefix cache, and those of them that it had for every lane of their request. */
  readonly prefixTokens: { readonly queried: number; readonly hit: number };
  /** How often a running sequence gave its memory back and waited again. */
  readonly preemptions: number;
  /**
   * Milliseconds since loading: in the decoder's and adapters' graphs, and in whole steps; the difference is the
   * engine's own.
   */
  readonly time: { readonly graphMs: number; readonly stepMs: number };
  /** Violations found by the integrity check; empty when all is well. */
  readonly violations: readonly string[];
}
