/**
 * Tokens that have to be the same for what followed them once to be guessed again. This and the numbers below are what
 * did best on recorded texts, half of them edits and quotations, by the measured costs of rows: docs/performance.md.
 */
const matched = 5;

/** Guesses of the first try, and after a refusal. */
const fewest = 4;

/** After a try of which nothing came true, so many tokens go by before the next; twice as many each time again. */
const shortestPause = 4;
const longestPause = 64;

/**
 * Guesses how a text goes on by what followed its last tokens when they stood there before, in the prompt or in the
 * text itself: quotations, edits, lists and JSON repeat themselves. Known as prompt lookup or n-gram drafts.
 * Deterministic: what it guesses follows from the tokens and from what came true.
 * @see https://github.com/apoorvumang/prompt-lookup-decoding
 */
export class TextGuesses {
  /** By the tokens themselves: where what followed them last begins. */
  readonly #follows = new Map<string, number>();
  /** Tokens whose endings are in the map. */
  #indexed = 0;
  #reach = fewest;
  #pause = shortestPause;
  /** Tokens of the text before which nothing is tried. */
  #pausedUntil = 0;

  /**
   * @param tokenIds of prompt and text, which only ever grow
   * @param most guesses that there is room for
   * @returns up to so many; none where the text says nothing new, or too little of late has come true.
   */
  next(tokenIds: readonly number[], most: number): readonly number[] {
    if (tokenIds.length < this.#pausedUntil) return [];
    const from = this.#lastFollowing(tokenIds);
    if (from === null) return [];
    const count = Math.min(most, this.#reach);
    // A run that overlaps its own repetition goes on as it began.
    const period = tokenIds.length - from;
    return Array.from({ length: count }, (_, index) => tokenIds[from + (index % period)] as number);
  }

  /** Hears how many of its guesses came true. */
  settle(right: number, guessed: number, tokens: number, most: number): void {
    if (right === guessed) this.#reach = Math.min(most, 2 * this.#reach);
    else this.#reach = Math.max(fewest, right);
    if (right > 0) {
      this.#pause = shortestPause;
      return;
    }
    this.#pausedUntil = tokens + this.#pause;
    this.#pause = Math.min(longestPause, 2 * this.#pause);
  }

  /** Where what followed the last tokens before begins; null where they never stood there. */
  #lastFollowing(tokenIds: readonly number[]): number | null {
    // The last tokens themselves go in once something follows them.
    for (let end = Math.max(matched, this.#indexed); end < tokenIds.length; end++) {
      this.#follows.set(keyOf(tokenIds, end), end);
    }
    this.#indexed = Math.max(this.#indexed, tokenIds.length);
    return tokenIds.length < matched ? null : (this.#follows.get(keyOf(tokenIds, tokenIds.length)) ?? null);
  }
}

/** Of the tokens before `end`. */
function keyOf(tokenIds: readonly number[], end: number): string {
  return tokenIds.slice(end - matched, end).join();
}
