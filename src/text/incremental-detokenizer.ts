import type { PiecePlace, Tokenizer } from "./tokenizer.js";

const nothing = new Uint8Array();

/**
 * Turns generated ids into text while they arrive. The concatenated text equals the whole decode of the same ids,
 * whatever they are: every token adds its bytes to one running UTF-8 decoder, which holds an unfinished character back
 * and tells it from a U+FFFD that was really written. One token costs the bytes of one token.
 *
 * Special tokens add nothing, unless they are to be written.
 */
export class IncrementalDetokenizer {
  readonly #tokenizer: Tokenizer;
  readonly #utf8 = new TextDecoder("utf-8", { ignoreBOM: true });
  readonly #skipSpecialTokens: boolean;
  #place: PiecePlace = "first";

  /**
   * @param promptTail The ids that the text goes on from; the last few are enough (a character has at most four bytes).
   * Empty when the answer is a text of its own, as a chat answer is: then a leading space that only marks a word's
   * beginning is taken off, as the decode of the answer alone does. After a prompt the same space parts two words and
   * stays, and a character whose first bytes end the prompt is finished here.
   */
  constructor(
    tokenizer: Tokenizer,
    promptTail: readonly number[],
    options: { readonly skipSpecialTokens: boolean } = { skipSpecialTokens: true },
  ) {
    this.#tokenizer = tokenizer;
    this.#skipSpecialTokens = options.skipSpecialTokens;
    for (const id of promptTail) this.push(id);
  }

  /** @returns The text that `id` completes; empty while a character is unfinished. */
  push(id: number): string {
    if (this.#isSkipped(id) || this.#tokenizer.tokenText(id) === undefined) return "";
    const bytes = this.bytesOf(id);
    this.#place = "later";
    return this.#utf8.decode(bytes, { stream: true });
  }

  /** What `id` would add now, in UTF-8: a part of a character at times. Shared bytes, not to be written to. */
  bytesOf(id: number): Uint8Array {
    return (this.#isSkipped(id) ? undefined : this.#tokenizer.tokenBytes(id, this.#place)) ?? nothing;
  }

  #isSkipped(id: number): boolean {
    return this.#skipSpecialTokens && this.#tokenizer.isSpecial(id);
  }

  /** How a special token is written, though it adds nothing; null for any other. */
  specialOf(id: number): string | null {
    return this.#tokenizer.isSpecial(id) ? (this.#tokenizer.tokenText(id) ?? null) : null;
  }

  /** End of the text. @returns U+FFFD when it breaks off within a character, else nothing. */
  flush(): string {
    return this.#utf8.decode();
  }
}
