/**
 * A limit of so many units a minute, as a bucket that fills evenly: a burst may empty it at once, and more comes as
 * time passes. What is known only afterwards (the tokens of an answer) may be taken beyond its bottom, and is made up
 * for before more is let in. Pure: the time is the caller's.
 */
export class TokenBucket {
  readonly perMinute: number;
  #level: number;
  #at: number;

  /** @param now milliseconds of any clock that goes on evenly. */
  constructor(perMinute: number, now: number) {
    this.perMinute = perMinute;
    this.#level = perMinute;
    this.#at = now;
  }

  level(now: number): number {
    this.#level = Math.min(this.perMinute, this.#level + ((now - this.#at) * this.perMinute) / 60_000);
    this.#at = now;
    return this.#level;
  }

  take(units: number, now: number): void {
    this.#level = this.level(now) - units;
  }

  /** @returns milliseconds until it holds `units`, 0 when it does; at most `perMinute` ever will be there. */
  msUntil(units: number, now: number): number {
    return Math.max(0, ((Math.min(units, this.perMinute) - this.level(now)) * 60_000) / this.perMinute);
  }
}
