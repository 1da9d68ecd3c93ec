/** Which tokens a sequence has, and how often each was generated: what the penalties ask. One append per token. */
export class TokenHistory {
  readonly #promptIds: Set<number>;
  readonly #outputCounts = new Map<number, number>();

  constructor(promptIds: Iterable<number>) {
    this.#promptIds = new Set(promptIds);
  }

  /** One generated token more. */
  append(id: number): void {
    this.#outputCounts.set(id, (this.#outputCounts.get(id) ?? 0) + 1);
  }

  /** Distinct tokens of the prompt. A view of the live state. */
  get promptIds(): ReadonlySet<number> {
    return this.#promptIds;
  }

  /** Occurrences by token in the text generated so far. A view of the live state. */
  get outputCounts(): ReadonlyMap<number, number> {
    return this.#outputCounts;
  }
}
