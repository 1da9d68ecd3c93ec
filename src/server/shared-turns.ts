/** Turns in a row that may pass for what goes first. */
const mostPassed = 500;

/**
 * Turns of the event loop among all who want a lot of it, first come, first served: each does a piece of what he has to
 * do, and whoever asks for something small comes between. Who waits costs nothing until it is his turn: three hundred
 * may wait, and a few go on.
 */
export class SharedTurns {
  readonly #takers: number;
  readonly #most: number;
  /** In this turn. */
  #goingOn = 0;
  #taken = 0;
  #isTurning = false;
  #isPassed = false;
  /** In a row. */
  #passed = 0;
  readonly #waiting: (() => void)[] = [];

  /**
   * @param options.takers that go on in one turn.
   * @param options.most that they take in it, in the unit of `took`; the last one may go beyond it. Default: no limit.
   */
  constructor({ takers, most = Number.POSITIVE_INFINITY }: { readonly takers: number; readonly most?: number }) {
    this.#takers = takers;
    this.#most = most;
  }

  /** @returns when the next piece may be done. */
  next(): Promise<void> {
    this.#turn();
    const isFree = this.#waiting.length === 0 && this.#goingOn < this.#takers && this.#taken < this.#most;
    if (isFree && !this.#isPassed) {
      this.#goingOn++;
      return Promise.resolve();
    }
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** Of the turn that it is now. */
  took(amount: number): void {
    this.#taken += amount;
    this.#turn();
  }

  /** Lets the turn that it is now pass, for something that goes first. */
  pass(): void {
    this.#isPassed = true;
    this.#turn();
  }

  #turn(): void {
    if (this.#isTurning) return;
    this.#isTurning = true;
    setImmediate(() => {
      this.#isTurning = false;
      this.#taken = 0;
      this.#passed = this.#isPassed && this.#passed < mostPassed ? this.#passed + 1 : 0;
      this.#isPassed = false;
      const next = this.#passed > 0 ? [] : this.#waiting.splice(0, this.#takers);
      this.#goingOn = next.length;
      for (const goOn of next) goOn();
      if (next.length > 0 || this.#waiting.length > 0) this.#turn();
    });
  }
}
