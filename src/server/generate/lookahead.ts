/** An iterator whose next event can be waited for without being taken. */
export class Lookahead<Event> implements AsyncIterableIterator<Event, undefined> {
  readonly #source: AsyncIterableIterator<Event, undefined>;
  #next: Promise<IteratorResult<Event, undefined>> | null = null;

  constructor(source: AsyncIterableIterator<Event, undefined>) {
    this.#source = source;
  }

  /** @throws what `next` would */
  peek(): Promise<IteratorResult<Event, undefined>> {
    this.#next ??= this.#source.next();
    return this.#next;
  }

  next(): Promise<IteratorResult<Event, undefined>> {
    const next = this.peek();
    this.#next = null;
    return next;
  }

  async return(): Promise<IteratorResult<Event, undefined>> {
    return (await this.#source.return?.()) ?? { done: true, value: undefined };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}
