/** Calls to another thread that wait for their reply, by number. */
export class Calls {
  readonly #waiting = new Map<number, { resolve(reply: never): void; reject(error: Error): void }>();
  #next = 0;

  /**
   * @param send hands the call over, under its number.
   * @returns what it is replied to with.
   * @throws what it is refused with
   */
  begin<Reply>(send: (callId: number) => void): Promise<Reply> {
    const callId = this.#next++;
    return new Promise<Reply>((resolve, reject) => {
      this.#waiting.set(callId, { resolve, reject });
      send(callId);
    });
  }

  resolve(callId: number, reply: unknown): void {
    this.#waiting.get(callId)?.resolve(reply as never);
    this.#waiting.delete(callId);
  }

  reject(callId: number, error: Error): void {
    this.#waiting.get(callId)?.reject(error);
    this.#waiting.delete(callId);
  }

  /** The other thread is gone. */
  rejectAll(error: Error): void {
    for (const callId of [...this.#waiting.keys()]) this.reject(callId, error);
  }
}
