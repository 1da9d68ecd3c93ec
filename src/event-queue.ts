/**
 * Events that are pushed as they happen, for one reader who takes them when it can. Nothing is lost, nobody is held up.
 */
export class EventQueue<Event> implements AsyncIterableIterator<Event, undefined> {
  readonly #events: Event[] = [];
  readonly #onLeave: () => void;
  /** Null while more may come. */
  #end: { readonly error: unknown } | "complete" | null = null;
  #wake: () => void = () => {};

  /** @param onLeave called when the reader walks away: nobody wants to know what still comes. */
  constructor(onLeave: () => void = () => {}) {
    this.#onLeave = onLeave;
  }

  push(event: Event): void {
    if (this.#end !== null) return;
    this.#events.push(event);
    this.#wake();
  }

  /** Nothing more comes. */
  close(): void {
    this.#end ??= "complete";
    this.#wake();
  }

  /** Nothing more comes: reading throws, behind what was pushed before. */
  fail(error: unknown): void {
    this.#end ??= { error };
    this.#wake();
  }

  /** @throws what `fail` was given */
  async next(): Promise<IteratorResult<Event, undefined>> {
    for (;;) {
      // Not by comparison with undefined, which may be an event.
      if (this.#events.length > 0) return { done: false, value: this.#events.shift() as Event };
      if (this.#end === "complete") return { done: true, value: undefined };
      if (this.#end !== null) throw this.#end.error;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  return(): Promise<IteratorResult<Event, undefined>> {
    this.#events.length = 0;
    this.#end = "complete";
    this.#wake();
    this.#onLeave();
    return Promise.resolve({ done: true, value: undefined });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}
