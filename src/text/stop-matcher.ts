import { ToastError } from "../errors.js";

export interface StopMatch {
  /** Text that can go out. */
  readonly emit: string;
  /** The stop string that ended the text, else null. */
  readonly stopped: string | null;
}

/**
 * Ends a text at its first stop string, wherever the tokens cut it. Held back is the longest end of the text that could
 * still become a stop string, and nothing else.
 *
 * The first match is the one that is complete first, as if characters came one by one: generation stops there, so what
 * might have followed is never known. Of two that end together the longer one counts. The result therefore does not
 * depend on how the text was cut, and what was emitted contains no stop string.
 *
 * Each character costs a step of one automaton per stop string (Knuth, Morris, Pratt).
 */
export class StopMatcher {
  readonly #patterns: readonly Pattern[];
  #held = "";
  #stopped: string | null = null;

  /** @throws ToastError `invalid_request` for an empty stop string: it would end every text before it began. */
  constructor(stopStrings: readonly string[]) {
    if (stopStrings.includes("")) {
      throw new ToastError("invalid_request", "A stop string must not be empty.", { field: "stopStrings" });
    }
    this.#patterns = stopStrings.map((text) => new Pattern(text));
  }

  /** After a match everything is dropped. */
  push(text: string): StopMatch {
    return this.#read(text, "counts");
  }

  /** The same for text within which no match counts; a stop string that begins in it may still end behind it. */
  pass(text: string): StopMatch {
    return this.#read(text, "passes");
  }

  /** Text that no stop string is looked for in; one that had begun before it is none. */
  skip(text: string): StopMatch {
    if (this.#stopped !== null) return { emit: "", stopped: this.#stopped };
    for (const pattern of this.#patterns) pattern.matched = 0;
    return { emit: this.flush() + text, stopped: null };
  }

  #read(text: string, match: "counts" | "passes"): StopMatch {
    if (this.#stopped !== null) return { emit: "", stopped: this.#stopped };
    if (this.#patterns.length === 0) return { emit: text, stopped: null };
    for (let i = 0; i < text.length; i += 1) {
      const unit = text.charCodeAt(i);
      let longest: string | null = null;
      for (const pattern of this.#patterns) {
        if (!pattern.step(unit)) continue;
        if (match === "passes") pattern.forget();
        else if (pattern.text.length > (longest?.length ?? 0)) longest = pattern.text;
      }
      if (longest !== null) {
        this.#stopped = longest;
        const before = this.#held + text.slice(0, i + 1);
        this.#held = "";
        return { emit: before.slice(0, before.length - longest.length), stopped: longest };
      }
    }
    let ambiguous = 0;
    for (const pattern of this.#patterns) ambiguous = Math.max(ambiguous, pattern.matched);
    const whole = this.#held + text;
    this.#held = whole.slice(whole.length - ambiguous);
    return { emit: whole.slice(0, whole.length - ambiguous), stopped: null };
  }

  /** End of the text without a match. @returns What was held back. */
  flush(): string {
    const held = this.#held;
    this.#held = "";
    return held;
  }
}

class Pattern {
  readonly text: string;
  /** Length of the longest beginning of `text` that the input ends with. */
  matched = 0;
  /** For each length: the next shorter beginning that such an input also ends with. */
  readonly #shorter: Int32Array;

  constructor(text: string) {
    this.text = text;
    this.#shorter = new Int32Array(text.length + 1);
    let length = 0;
    for (let i = 1; i < text.length; i += 1) {
      while (length > 0 && text.charCodeAt(i) !== text.charCodeAt(length)) length = this.#shorter[length] ?? 0;
      if (text.charCodeAt(i) === text.charCodeAt(length)) length += 1;
      this.#shorter[i + 1] = length;
    }
  }

  /** Of a complete text: goes on as if it had been any other. */
  forget(): void {
    this.matched = this.#shorter[this.matched] ?? 0;
  }

  /** @returns Whether the text is complete with this UTF-16 unit; then it ends here or is forgotten. */
  step(unit: number): boolean {
    while (this.matched > 0 && this.text.charCodeAt(this.matched) !== unit) {
      this.matched = this.#shorter[this.matched] ?? 0;
    }
    if (this.text.charCodeAt(this.matched) === unit) this.matched += 1;
    return this.matched === this.text.length;
  }
}
