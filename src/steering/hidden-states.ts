/**
 * The bottom-up pass's outputs of one sequence, float32 [tokens,D]: what the top-down values of its steered rows are
 * made of.
 */
export class HiddenStates {
  readonly #size: number;
  #values = new Float32Array(0);

  /** @param size D */
  constructor(size: number) {
    this.#size = size;
  }

  /** @param values float32 [T,D] of the tokens from `token` on; copied. */
  set(token: number, values: Float32Array): void {
    const start = token * this.#size;
    const end = start + values.length;
    if (end > this.#values.length) {
      const grown = new Float32Array(Math.max(end, 2 * this.#values.length));
      grown.set(this.#values);
      this.#values = grown;
    }
    this.#values.set(values, start);
  }

  /** @returns a view [tokens,D], valid until the next `set`. */
  view(token: number, tokens: number): Float32Array {
    return this.#values.subarray(token * this.#size, (token + tokens) * this.#size);
  }
}
