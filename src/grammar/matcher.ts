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
  #mask: TokenMask | null = null;
  #hasEnded = false;

  /**
   * @param param the request field at fault where the grammar cannot be followed
   * @param isJson whether the texts hold JSON
   */
  constructor(
    automaton: Automaton,
    tokens: TokenIndex,
    { param, isJson }: { readonly param: string; readonly isJson: boolean },
  ) {
    this.#automaton = automaton;
    this.#tokens = tokens;
    this.#param = param;
    this.#restraint = isJson ? new Restraint(automaton, tokens) : null;
    this.#rest = automaton.root();
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
    this.#mask ??= named(this.#param, () => this.#automaton.mask(this.#rest));
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
    this.#restraint?.apply(logits, this.#rest);
  }

  append(tokenId: number): void {
    const { tokens, eosIds } = this.#tokens;
    const isEnd = eosIds.includes(tokenId);
    const rest = isEnd ? this.#rest : named(this.#param, () => this.#after(tokens[tokenId] as Uint8Array));
    if (this.#automaton.isDead(rest) || (isEnd && !rest.isNullable))
      throw new ToastError("engine_failed", `Token ${tokenId} was drawn, which the grammar does not allow.`);
    this.#rest = rest;
    this.#mask = null;
    this.#hasEnded ||= isEnd;
    if (!isEnd) this.#restraint?.append(tokens[tokenId] as Uint8Array);
  }

  #after(bytes: Uint8Array): Language {
    this.#lastScalar.append(bytes);
    const rest = this.#automaton.after(this.#rest, bytes);
    return this.#automaton.settled(rest, () => spellingsOfScalar(this.#lastScalar.text));
  }

  /** Lets go of the place, and with it of what was found on the way there. */
  dispose(): void {
    this.#rest = this.#automaton.root();
    this.#mask = null;
  }
}
