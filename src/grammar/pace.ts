/** Thrown where work stops that goes on later. */
class Paused extends Error {}

/** Steps between two looks at the clock. */
const stepsUnwatched = 8;

/**
 * Lets long work stop in the middle: whoever does it calls `step` wherever something was found that is kept. Done again
 * from its beginning, it finds that and goes on behind it. How often it stops changes nothing of what it finds.
 */
export class Pace {
  /** On the clock of `performance.now()`. */
  #until = Number.POSITIVE_INFINITY;
  #steps = 0;

  /** To be called once something is kept that was not before. */
  step(): void {
    if (this.#until === Number.POSITIVE_INFINITY || ++this.#steps % stepsUnwatched > 0) return;
    if (performance.now() > this.#until) throw new Paused("The work goes on later.");
  }

  /** @returns what the work came to; null where it has to be called again. @throws as the work does */
  within<Result extends object>(milliseconds: number, work: () => Result): Result | null {
    this.#until = performance.now() + milliseconds;
    this.#steps = 0;
    try {
      return work();
    } catch (cause) {
      if (cause instanceof Paused) return null;
      throw cause;
    } finally {
      this.#until = Number.POSITIVE_INFINITY;
    }
  }
}
