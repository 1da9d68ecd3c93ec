import { StopMatcher } from "../text/stop-matcher.js";

/**
 * Parts a text from the stop string that ended it and that its engine kept. Which one that was is known at the end
 * only: what looks like one goes out after all when more comes (before `min_tokens`, say). Pure.
 */
export class KeptStop {
  readonly #stops: readonly string[];
  #matcher: StopMatcher;
  /** What may yet become a stop string. */
  #held = "";
  /** A whole one, at the end of what has come. */
  #found: string | null = null;

  constructor(stops: readonly string[]) {
    this.#stops = stops;
    this.#matcher = new StopMatcher(stops);
  }

  /** @returns what is text for certain. */
  push(text: string): string {
    let out = "";
    let rest = text;
    while (rest !== "") {
      if (this.#found !== null) out += this.#giveUp();
      const whole = this.#held + rest;
      const { emit, stopped } = this.#matcher.push(rest);
      out += emit;
      rest = stopped === null ? "" : whole.slice(emit.length + stopped.length);
      this.#held = stopped === null ? whole.slice(emit.length) : "";
      this.#found = stopped;
    }
    return out;
  }

  /**
   * The end of the text.
   * @param isStopped whether it may have ended by a stop string; else it came to its length.
   */
  end(isStopped: boolean): { readonly text: string; readonly stopped: string | null } {
    if (isStopped && this.#found !== null) return { text: "", stopped: this.#found };
    return { text: this.#found === null ? this.#held : this.#giveUp(), stopped: null };
  }

  #giveUp(): string {
    const text = this.#found ?? "";
    this.#found = null;
    this.#matcher = new StopMatcher(this.#stops);
    return text;
  }
}
