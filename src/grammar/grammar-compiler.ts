import { ToastError } from "../errors.js";
import { Automaton } from "./automaton/automaton.js";
import type { Language } from "./automaton/language.js";
import { indexTokens, type TokenIndex } from "./automaton/token-trie.js";
import type { OutputConstraint } from "./constraint.js";
import { constraintRules, named } from "./constraint-rules.js";
import type { Rules } from "./expression.js";
import { type CompiledConstraint, Matcher } from "./matcher.js";
import { isAllowed, type TokenMask } from "./token-mask.js";
import type { Vocabulary } from "./vocabulary.js";

/** Compiled grammars that are kept for the next request with the same one, and languages in all of them together. */
const maxKept = 32;
const maxKeptSize = 400_000;
/** Languages in grammars that are in use; that of a usual schema has some thousand. */
const defaultSizeInUse = 1_000_000;
/** Tokens of a text by which a new grammar is tried: what cannot be followed shows before a token is generated. */
const triedTokens = 12;

/** A grammar on its way to a matcher. */
export interface Compilation {
  /**
   * Goes on where it stopped.
   * @returns null where it is to be called again.
   * @throws ToastError `invalid_request` with the constraint's `param`
   */
  advance(milliseconds: number): CompiledConstraint | null;
}

/**
 * Makes matchers of constraints, for one model. All limits count work, not time: what is refused is refused on every
 * machine.
 */
export class GrammarCompiler {
  readonly #tokens: TokenIndex;
  /** By constraint, the least recently used one first. */
  readonly #kept = new Map<string, Automaton>();
  /** How many matchers follow each. */
  readonly #inUse = new Map<Automaton, number>();

  readonly #maxSizeInUse: number;

  constructor(vocabulary: Vocabulary, maxSizeInUse = defaultSizeInUse) {
    this.#maxSizeInUse = maxSizeInUse;
    this.#tokens = indexTokens(vocabulary);
  }

  /** @returns what was compiled before; null: it has to be. */
  find(constraint: OutputConstraint): CompiledConstraint | null {
    const automaton = this.#kept.get(keyOf(constraint));
    return automaton === undefined ? null : this.#keep(constraint, automaton);
  }

  /** @param rules of the constraint */
  begin(constraint: OutputConstraint, rules: Rules): Compilation {
    const automaton = named(constraint.param, () => new Automaton(rules, this.#tokens));
    const trial = new Trial(automaton, this.#tokens);
    return {
      advance: (milliseconds) => {
        this.#requireRoom();
        const passed = named(constraint.param, () => automaton.pace.within(milliseconds, () => trial.pass()));
        return passed === null ? null : this.#keep(constraint, automaton);
      },
    };
  }

  /** At once. @throws ToastError `invalid_request` with the constraint's `param` */
  compile(constraint: OutputConstraint): CompiledConstraint {
    const compiled =
      this.find(constraint) ?? this.begin(constraint, constraintRules(constraint)).advance(Number.POSITIVE_INFINITY);
    if (compiled === null) throw new Error("a compilation without an end of its time was not done");
    return compiled;
  }

  /** Only what has passed its trial is kept: nothing that fails, or is given up, takes the place of what works. */
  #keep(constraint: OutputConstraint, automaton: Automaton): CompiledConstraint {
    const key = keyOf(constraint);
    this.#kept.delete(key);
    this.#kept.set(key, automaton);
    for (const [oldest] of this.#kept) {
      if (oldest === key || (this.#kept.size <= maxKept && sizeOf(this.#kept.values()) <= maxKeptSize)) break;
      this.#kept.delete(oldest);
    }
    const options = { param: constraint.param, isJson: holdsJson(constraint) };
    return {
      matcher: () => {
        this.#inUse.set(automaton, (this.#inUse.get(automaton) ?? 0) + 1);
        return new Matcher(automaton, this.#tokens, options, () => this.#release(automaton));
      },
    };
  }

  #release(automaton: Automaton): void {
    const others = (this.#inUse.get(automaton) ?? 1) - 1;
    if (others > 0) this.#inUse.set(automaton, others);
    else this.#inUse.delete(automaton);
  }

  /** @throws ToastError `server_overloaded` */
  #requireRoom(): void {
    if (sizeOf(this.#inUse.keys()) <= this.#maxSizeInUse) return;
    const message = "The grammars that are followed now have no room for another one. Try again in a moment.";
    throw new ToastError("server_overloaded", message);
  }
}

function sizeOf(automata: Iterable<Automaton>): number {
  let size = 0;
  for (const automaton of automata) size += automaton.size;
  return size;
}

/** Goes some way along a text of a grammar that is new. */
class Trial {
  readonly #automaton: Automaton;
  readonly #tokens: TokenIndex;
  /** Where it has come to; null before it has begun. */
  #rest: Language | null = null;
  #tried = 0;
  #noise = 1;

  constructor(automaton: Automaton, tokens: TokenIndex) {
    this.#automaton = automaton;
    this.#tokens = tokens;
  }

  /** @returns itself, when it is done; may stop and be called again. @throws ToastError `invalid_request` */
  pass(): this {
    const automaton = this.#automaton;
    if (this.#rest === null) {
      automaton.prepare();
      if (automaton.isDead(automaton.root())) {
        throw new ToastError(
          "invalid_request",
          "No finite text can fulfil what is asked of the output: it contradicts itself, or needs itself.",
        );
      }
      this.#rest = automaton.root();
    }
    while (this.#tried < triedTokens) {
      const next = this.#nextToken(automaton.mask(this.#rest));
      if (next === null) {
        if (this.#tried === 0 && automaton.root().isNullable)
          throw new ToastError("invalid_request", "The grammar of the output allows the empty text only.");
        return this;
      }
      // The first item of a list without doubles is as far as a text gets that no matcher follows.
      this.#rest = automaton.after(this.#rest, next);
      this.#tried++;
      this.#noise = following(this.#noise);
    }
    return this;
  }

  /** Any allowed token: the first one behind a random place. */
  #nextToken(mask: TokenMask): Uint8Array | null {
    const { tokens } = this.#tokens;
    const allowed = (from: number) =>
      tokens.findIndex((bytes, id) => id >= from && bytes.length > 0 && isAllowed(mask, id));
    const behind = allowed(following(this.#noise) % tokens.length);
    return tokens[behind === -1 ? allowed(0) : behind] ?? null;
  }
}

function following(noise: number): number {
  return (Math.imul(noise, 1_103_515_245) + 12_345) >>> 0;
}

function keyOf(constraint: OutputConstraint): string {
  return JSON.stringify(constraint);
}

function holdsJson(constraint: OutputConstraint): boolean {
  if (constraint.kind === "tagsOr") return holdsJson(constraint.other);
  return !["regex", "choice", "grammar"].includes(constraint.kind);
}
