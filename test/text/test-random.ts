/** A small generator for test data (Park and Miller). */
export class TestRandom {
  #state: number;

  constructor(seed: number) {
    this.#state = (seed % 2147483646) + 1;
  }

  /** In 0 … limit − 1. */
  below(limit: number): number {
    this.#state = (this.#state * 48271) % 2147483647;
    return Math.floor((this.#state / 2147483647) * limit);
  }
}
