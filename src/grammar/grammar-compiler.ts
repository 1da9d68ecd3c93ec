import { ToastError } from "../errors.js";
import { Automaton } from "./automaton/automaton.js";
import { indexTokens, type TokenIndex } from "./automaton/token-trie.js";
import type { OutputConstraint } from "./constraint.js";
import { constraintRules, named } from "./constraint-rules.js";
import { type CompiledConstraint, Matcher } from "./matcher.js";
import { isAllowed } from "./token-mask.js";
import type { Vocabulary } from "./vocabulary.js";

/** Compiled grammars that are kept for the next request with the same one. */
const maxKept = 32;
/** Tokens of a text by which a new grammar is tried: what cannot be followed shows before a token is generated. */
const triedTokens = 12;

/**
 * Makes matchers of constraints, for one model. All limits count work, not time: what is refused is refused on every
 * machine.
 */
export class GrammarCompiler {
  readonly #tokens: TokenIndex;
  /** By constraint, the least recently used one first. */
  readonly #kept = new Map<string, Automaton>();

  constructor(vocabulary: Vocabulary) {
    this.#tokens = indexTokens(vocabulary);
  }

  /** @throws ToastError `invalid_request` with the constraint's `param` */
  compile(constraint: OutputConstraint): CompiledConstraint {
    const key = JSON.stringify(constraint);
    const automaton = this.#kept.get(key) ?? named(constraint.param, () => this.#compileNow(constraint));
    this.#kept.delete(key);
    this.#kept.set(key, automaton);
    const [oldest] = this.#kept.keys();
    if (this.#kept.size > maxKept && oldest !== undefined) this.#kept.delete(oldest);
    const options = { param: constraint.param, isJson: holdsJson(constraint) };
    return { matcher: () => new Matcher(automaton, this.#tokens, options) };
  }

  #compileNow(constraint: OutputConstraint): Automaton {
    const automaton = new Automaton(constraintRules(constraint), this.#tokens);
    if (automaton.isDead(automaton.root())) {
      throw new ToastError(
        "invalid_request",
        "No finite text can fulfil what is asked of the output: it contradicts itself, or needs itself.",
      );
    }
    this.#tryOut(automaton);
    return automaton;
  }

  /** Goes some way along a text of the grammar. */
  #tryOut(automaton: Automaton): void {
    const { tokens } = this.#tokens;
    let rest = automaton.root();
    for (let token = 0, noise = 1; token < triedTokens; token++) {
      const mask = automaton.mask(rest);
      // Any allowed token: the first one behind a random place.
      noise = (Math.imul(noise, 1_103_515_245) + 12_345) >>> 0;
      const allowed = (from: number) =>
        tokens.findIndex((bytes, id) => id >= from && bytes.length > 0 && isAllowed(mask, id));
      const behind = allowed(noise % tokens.length);
      const next = behind === -1 ? allowed(0) : behind;
      if (next === -1) {
        if (token === 0 && automaton.root().isNullable)
          throw new ToastError("invalid_request", "The grammar of the output allows the empty text only.");
        return;
      }
      // The first item of a list without doubles is as far as a text gets that no matcher follows.
      rest = automaton.after(rest, tokens[next] as Uint8Array);
    }
  }
}

function holdsJson(constraint: OutputConstraint): boolean {
  if (constraint.kind === "tagsOr") return holdsJson(constraint.other);
  return !["regex", "choice", "grammar"].includes(constraint.kind);
}
