import { ToastError } from "../errors.js";

/** So many deeds a minute for each client, evenly refilled. Pure but for the time, which is the caller's. */
export class ClientLimiter {
  readonly #perMinute: number;
  readonly #levels = new Map<string, { readonly level: number; readonly at: number }>();

  constructor(perMinute: number) {
    this.#perMinute = perMinute;
  }

  /**
   * Takes one.
   * @returns seconds to wait when there is none, else 0.
   */
  take(client: string, now: number): number {
    const { level, at } = this.#levels.get(client) ?? { level: this.#perMinute, at: now };
    const filled = Math.min(this.#perMinute, level + ((now - at) * this.#perMinute) / 60_000);
    if (filled < 1) return Math.ceil(((1 - filled) * 60) / this.#perMinute);
    // Set anew, so that the map is in the order of the last deeds.
    this.#levels.delete(client);
    this.#levels.set(client, { level: filled - 1, at: now });
    for (const [name, { at: seenAt }] of this.#levels) {
      // A bucket is full again after a minute: nothing of it needs to be remembered.
      if (now - seenAt < 60_000) break;
      this.#levels.delete(name);
    }
    return 0;
  }
}

export function tooMany(deed: string, perMinute: number, seconds: number): ToastError {
  const message = `That is too many ${deed}: this server takes ${perMinute} a minute from one client. Try again in ${seconds} s.`;
  return new ToastError("rate_limit_exceeded", message);
}
