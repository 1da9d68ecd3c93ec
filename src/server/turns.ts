/**
 * Turns of the event loop for work that takes milliseconds: bodies that have arrived together are not read in one go,
 * and what else the loop has to do comes between them.
 */
export class Turns {
  #last: Promise<void> = Promise.resolve();

  /** @returns in a turn of its own, behind those who asked before. */
  next(): Promise<void> {
    const turn = this.#last.then(() => new Promise<void>((resolve) => setImmediate(resolve)));
    this.#last = turn;
    return turn;
  }
}
