import { ToastError } from "../errors.js";
import { TokenBucket } from "./token-bucket.js";

/** So many deeds a minute for each caller, evenly refilled. Pure: the time is the caller's of these methods. */
export class ClientLimiter {
  readonly #perMinute: number;
  readonly #buckets = new Map<string, TokenBucket>();

  constructor(perMinute: number) {
    this.#perMinute = perMinute;
  }

  /**
   * Takes one.
   * @returns seconds to wait when there is none, else 0.
   */
  take(client: string, now: number): number {
    const bucket = this.#buckets.get(client) ?? new TokenBucket(this.#perMinute, now);
    const wait = bucket.msUntil(1, now);
    if (wait > 0) return Math.ceil(wait / 1000);
    bucket.take(1, now);
    // Set anew, so that the map is in the order of the last deeds; a bucket that is full again need not be remembered.
    this.#buckets.delete(client);
    this.#buckets.set(client, bucket);
    for (const [name, other] of this.#buckets) {
      if (other.level(now) < this.#perMinute) break;
      this.#buckets.delete(name);
    }
    return 0;
  }
}

export function tooMany(deed: string, perMinute: number, seconds: number): ToastError {
  const message = `That is too many ${deed}: this server takes ${perMinute} a minute from one client. Try again in ${seconds} s.`;
  return new ToastError("rate_limit_exceeded", message);
}
