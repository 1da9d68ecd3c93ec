const fence = '"""';

/**
 * Puts lines together into what a person means as one message: `\` at the end of a line, or lines between two of `"""`.
 * Pure.
 */
export class LineJoiner {
  #lines: string[] = [];
  #state: "line" | "continued" | "fenced" = "line";

  /** Whether what was read so far is not a whole message. */
  get isOpen(): boolean {
    return this.#state !== "line";
  }

  /** @returns the message that ends with this line; null when it goes on. */
  push(line: string): string | null {
    if (this.#state === "fenced") {
      if (!line.trimEnd().endsWith(fence)) return this.#goOn(line, "fenced");
      const last = line.trimEnd().slice(0, -fence.length);
      return this.#finish(last === "" ? [] : [last]);
    }
    const opening = line.trimStart();
    if (this.#state === "line" && opening.startsWith(fence)) {
      const rest = opening.slice(fence.length);
      if (rest.trimEnd().endsWith(fence)) return this.#finish([rest.trimEnd().slice(0, -fence.length)]);
      this.#state = "fenced";
      return rest === "" ? null : this.#goOn(rest, "fenced");
    }
    return line.endsWith("\\") ? this.#goOn(line.slice(0, -1), "continued") : this.#finish([line]);
  }

  /** Forgets a message that was begun. */
  drop(): void {
    this.#lines = [];
    this.#state = "line";
  }

  #goOn(line: string, state: "continued" | "fenced"): null {
    this.#lines.push(line);
    this.#state = state;
    return null;
  }

  #finish(lines: readonly string[]): string {
    const message = [...this.#lines, ...lines].join("\n");
    this.drop();
    return message;
  }
}
