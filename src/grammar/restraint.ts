import type { Automaton } from "./automaton/automaton.js";
import type { Language } from "./automaton/language.js";
import { isBlankByte, isDigitByte, type TokenIndex } from "./automaton/token-trie.js";

/** Subtracted from the logits of blanks that nobody needs: in front of a sign, or more than one behind it. */
const blankPenalty = { first: 10, each: 3 } as const;
/**
 * Digits that cost nothing, and what is subtracted for each further one: a whole part may well be an id, a fraction is
 * a measure.
 */
const digitPenalties = { whole: { free: 20, each: 0.25 }, fraction: { free: 6, each: 0.5 } } as const;

const newline = 0x0a;
const digitZero = 0x30;
const point = 0x2e;
/** Begins no word of JSON, and no number. */
const noSign = 0x71;

/**
 * Keeps small models from writing blanks or digits without an end. The grammar allows any number of them; here they
 * become less likely, the longer the run, so that a value is never cut and a model that means them can write them. It
 * follows from the text alone: the same for a draft and the token that decides about it.
 */
export class Restraint {
  readonly #automaton: Automaton;
  readonly #tokens: TokenIndex;
  /** At the end of the text. */
  #blanks = 0;
  #digits = 0;
  /** In front of the blanks. */
  #lastSign = 0;
  /** In front of the digits. */
  #startOfDigits = 0;

  constructor(automaton: Automaton, tokens: TokenIndex) {
    this.#automaton = automaton;
    this.#tokens = tokens;
  }

  append(bytes: Uint8Array): void {
    for (const byte of bytes) {
      const isBlank = isBlankByte(byte);
      this.#blanks = isBlank ? this.#blanks + 1 : 0;
      const isDigit = isDigitByte(byte);
      if (isDigit && this.#digits === 0) this.#startOfDigits = this.#lastSign;
      this.#digits = isDigit ? this.#digits + 1 : 0;
      if (!isBlank) this.#lastSign = byte;
    }
  }

  /** @param logits [V] float32, changed in place. @param rest what may follow */
  apply(logits: Float32Array, rest: Language): void {
    const follows = (byte: number) => !this.#automaton.isDead(this.#automaton.after(rest, Uint8Array.of(byte)));
    // Within a string, and in free text, blanks and digits are the text's own.
    const isBetweenSigns = follows(newline) && !follows(noSign);
    if (isBetweenSigns) this.#restrainBlanks(logits);
    if (this.#digits === 0 || !follows(digitZero) || follows(noSign)) return;
    if (isBetweenSigns || rest.isNullable) this.#restrainDigits(logits);
  }

  #restrainBlanks(logits: Float32Array): void {
    const isBehindSeparator = this.#blanks === 0 && (this.#lastSign === 0x2c || this.#lastSign === 0x3a);
    for (const { id, length } of this.#tokens.blanks) {
      const isUsual = isBehindSeparator && length === 1 && (this.#tokens.tokens[id] as Uint8Array)[0] === 0x20;
      if (isUsual) continue;
      const further = this.#blanks + length - 1;
      logits[id] = (logits[id] as number) - blankPenalty.first - blankPenalty.each * further;
    }
  }

  #restrainDigits(logits: Float32Array): void {
    const { free, each } = this.#startOfDigits === point ? digitPenalties.fraction : digitPenalties.whole;
    for (const id of this.#tokens.digits) {
      const { length } = this.#tokens.tokens[id] as Uint8Array;
      const further = this.#digits + length - free;
      if (further > 0) logits[id] = (logits[id] as number) - each * further;
    }
  }
}
