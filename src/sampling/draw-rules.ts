/**
 * One step from raw logits to those that a sequence's next token is drawn from. Knows the sequence's generated tokens,
 * because it is told of each; is asked any number of times between two of them.
 */
export interface LogitsProcessor {
  /** Whether `apply` would change anything now. */
  readonly active: boolean;
  /** @param logits [V] float32, changed in place. */
  apply(logits: Float32Array): void;
  /** One generated token more. */
  append(tokenId: number): void;
}

/**
 * What a sequence allows and prefers: the one place where raw logits become drawable ones. A draft and the token that
 * decides about it are drawn under the same rules: both come after the same known tokens.
 */
export class DrawRules {
  readonly #processors: readonly LogitsProcessor[];

  /** @param processors in the order in which they are applied */
  constructor(processors: readonly LogitsProcessor[]) {
    this.#processors = processors;
  }

  /**
   * @param logits [V] float32, only read.
   * @param scratch [V] float32, overwritten where something has to be changed.
   * @returns the logits to draw from: one of the two arrays.
   */
  apply(logits: Float32Array, scratch: Float32Array): Float32Array {
    let working = logits;
    for (const processor of this.#processors) {
      if (!processor.active) continue;
      if (working === logits) {
        scratch.set(logits);
        working = scratch;
      }
      processor.apply(working);
    }
    return working;
  }

  /** One generated token more. */
  append(tokenId: number): void {
    for (const processor of this.#processors) processor.append(tokenId);
  }
}
