import { ToastError } from "../errors.js";
import type { LogitsProcessor } from "../sampling/draw-rules.js";
import type { Automaton } from "./automaton/automaton.js";
import type { Language } from "./automaton/language.js";
import type { TokenIndex } from "./automaton/token-trie.js";
import { named } from "./constraint-rules.js";
import { LastScalar } from "./last-scalar.js";
import { Restraint } from "./restraint.js";
import { spellingsOfScalar } from "./schema/spellings.js";
import { allowsOnly, isEmpty, maskLogits, type TokenMask } from "./token-mask.js";

/** A grammar, ready for any number of texts. */
export interface CompiledConstraint {
  /** For one text, from its beginning. */
  matcher(): Matcher;
}

/**
 * How far one text has come in its grammar. The mask of a place is computed once, whoever asks: a draft is drawn under
 * the same one as the token that decides about it, since both come after the same known tokens.
 */
export class Matcher implements LogitsProcessor {
  readonly active = true;
  readonly #automaton: Automaton;
  readonly #tokens: TokenIndex;
  readonly #param: string;
  readonly #restraint: Restraint | null;
  readonly #lastScalar = new LastScalar();
  #rest: Language;
  /** The last token, until it is known what follows it. */
  #unread: number | null = null;
  #mask: TokenMask | null = null;
  #hasEnded = false;
  readonly #onDisposed: () => void;
  #isDisposed = false;

  /**
   * @param onDisposed is called once.
   * @param param the request field at fault where the grammar cannot be followed
   * @param isJson whether the texts hold JSON
   */
  constructor(
    automaton: Automaton,
    tokens: TokenIndex,
    { param, isJson }: { readonly param: string; readonly isJson: boolean },
    onDisposed: () => void = () => {},
  ) {
    this.#onDisposed = onDisposed;
    this.#automaton = automaton;
    this.#tokens = tokens;
    this.#param = param;
    this.#restraint = isJson ? new Restraint(automaton, tokens) : null;
    this.#rest = automaton.root();
  }

  /**
   * Finds what may come next; whoever asks without has it found in any case, however long that takes.
   * @returns whether it is known; else it is to be called again.
   * @throws ToastError as {@link mask}
   */
  isReady(milliseconds: number): boolean {
    return this.#automaton.pace.within(milliseconds, () => this.mask()) !== null;
  }

  /** Nothing more may come: the text ends here, whether or not a token says so. */
  get isComplete(): boolean {
    return this.#hasEnded || allowsOnly(this.mask(), this.#tokens.eosIds);
  }

  /**
   * @returns not to be changed.
   * @throws ToastError `invalid_request` where the grammar cannot be followed any further.
   */
  mask(): TokenMask {
    this.#mask ??= named(this.#param, () => this.#automaton.mask(this.#read()));
    if (isEmpty(this.#mask)) {
      // No token of this vocabulary spells what has to come.
      const message = "The grammar of the output leads to a place from which no token of the model goes on.";
      throw new ToastError("invalid_request", message, { param: this.#param });
    }
    return this.#mask;
  }

  /** @param logits [V] float32; −∞ for whatever the grammar does not allow here, less for what leads nowhere. */
  apply(logits: Float32Array): void {
    maskLogits(logits, this.mask());
    this.#restraint?.apply(logits, this.#read());
  }

  /** What follows the token is found when it is asked for. @throws ToastError as {@link mask} */
  append(tokenId: number): void {
    const { tokens, eosIds } = this.#tokens;
    const rest = named(this.#param, () => this.#read());
    this.#mask = null;
    if (eosIds.includes(tokenId)) {
      if (!rest.isNullable) throw notAllowed(tokenId);
      this.#hasEnded = true;
      return;
    }
    const bytes = tokens[tokenId] as Uint8Array;
    this.#lastScalar.append(bytes);
    this.#restraint?.append(bytes);
    this.#unread = tokenId;
  }

  /** What follows all tokens so far. */
  #read(): Language {
    if (this.#unread === null) return this.#rest;
    const before = this.#automaton.after(this.#rest, this.#tokens.tokens[this.#unread] as Uint8Array);
    const rest = this.#automaton.settled(before, () => spellingsOfScalar(this.#lastScalar.text));
    if (this.#automaton.isDead(rest)) throw notAllowed(this.#unread);
    this.#rest = rest;
    this.#unread = null;
    return rest;
  }

  /** Lets go of the place, and with it of what was found on the way there. */
  dispose(): void {
    this.#rest = this.#automaton.root();
    this.#unread = null;
    this.#mask = null;
    if (!this.#isDisposed) this.#onDisposed();
    this.#isDisposed = true;
  }
}

function notAllowed(tokenId: number): ToastError {
  return new ToastError("engine_failed", `Token ${tokenId} was drawn, which the grammar does not allow.`);
}
