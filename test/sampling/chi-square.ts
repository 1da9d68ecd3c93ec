/**
 * How far observed counts are from expected ones, in standard deviations of the chi-square distribution (normal
 * approximation, good from some 10 cells on). Seeds in tests are fixed, so a bound of 4 never fails by chance.
 */
export function chiSquareDeviation(observed: ArrayLike<number>, expected: (cell: number) => number): number {
  let statistic = 0;
  let cells = 0;
  for (let cell = 0; cell < observed.length; cell += 1) {
    const e = expected(cell);
    if (e === 0) continue;
    statistic += ((observed[cell] ?? 0) - e) ** 2 / e;
    cells += 1;
  }
  const freedom = cells - 1;
  return (statistic - freedom) / Math.sqrt(2 * freedom);
}

/** A small generator for test data, unrelated to the noise under test (Park and Miller). */
export class TestRandom {
  #state: number;

  constructor(seed: number) {
    this.#state = (seed % 2147483646) + 1;
  }

  /** In (0, 1). */
  next(): number {
    this.#state = (this.#state * 48271) % 2147483647;
    return this.#state / 2147483647;
  }

  /** In 0 … limit − 1. */
  below(limit: number): number {
    return Math.floor(this.next() * limit);
  }

  gauss(): number {
    return Math.sqrt(-2 * Math.log(this.next())) * Math.cos(2 * Math.PI * this.next());
  }
}
