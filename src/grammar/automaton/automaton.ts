import { ToastError } from "../../errors.js";
import type { Expression, Rules } from "../expression.js";
import { Pace } from "../pace.js";
import type { TokenMask } from "../token-mask.js";
import { CompiledRules } from "./compile-rules.js";
import type { DistinctPlace, Language } from "./language.js";
import { plainCharacters, type TokenIndex, type TokenTrie } from "./token-trie.js";
import { utf8Sequences } from "./utf8-sequences.js";

/** Masks that are kept for the next text that comes to the same place; each has V bits. */
const maxMasks = 256;
/** Languages that are kept; a grammar has hundreds as a rule. Beyond these everything is found anew. */
const maxLanguages = 400_000;
/** Languages that are made for one mask. */
const maxNewLanguages = 200_000;
const unknown = -1;
const dead = 0;

const plainAscii = plainCharacters.flatMap(([from, to]) =>
  Array.from({ length: Math.max(0, Math.min(to, 0x7f) - from + 1) }, (_, at) => from + at),
);
const plainSequences = utf8Sequences(plainCharacters);

/**
 * Tells which tokens may follow in the texts of a grammar. Its states are languages: that of all texts, then what is
 * left of it behind each byte. They are found when a text, or a token that might follow, first leads to them.
 */
export class Automaton {
  readonly #rules: CompiledRules;
  readonly #tokens: TokenIndex;
  /** Languages that were made before everything was last forgotten. */
  #forgotten = 0;
  #states: Language[] = [];
  #stateOf = new Map<Language, number>();
  /** [states × classes] the next state, or `unknown`. */
  #transitions = new Int32Array(0);
  /** [states] whether plain characters of ASCII lead back to the same state, where that is known. */
  #stays: (boolean | undefined)[] = [];
  readonly #path: Int32Array;
  /** By language, the least recently used one first. */
  #masks = new Map<Language, TokenMask>();
  #nearby = new Map<Language, Language>();
  /** The place whose mask is being made, and how many languages there were when that began. */
  #making: { readonly place: Language; readonly languages: number } | null = null;
  /** By which it is prepared, and masks are made. */
  readonly pace = new Pace();

  constructor(rules: Rules, tokens: TokenIndex) {
    this.#rules = new CompiledRules(rules, this.pace);
    this.#tokens = tokens;
    this.#path = new Int32Array(tokens.maxLength + 1);
    this.#reset();
  }

  /**
   * To be called before anything else, again where the pace made it stop.
   * @throws ToastError `invalid_request` for rules that cannot be followed.
   */
  prepare(): void {
    this.#rules.prepare();
  }

  /** What a text is at its beginning; see {@link isDead}. */
  root(): Language {
    return this.#rules.root();
  }

  /** Languages that it holds, which is what it takes of memory: some hundred bytes each. */
  get size(): number {
    return this.#rules.languages.count - this.#forgotten;
  }

  isDead(language: Language): boolean {
    return language === this.#rules.languages.none;
  }

  /** What may follow `bytes`; no text where they may not come. @throws ToastError as {@link mask} */
  after(language: Language, bytes: Uint8Array): Language {
    let next = language;
    for (const byte of bytes) next = this.#rules.derivatives.by(next, this.#rules.classes.of[byte] as number);
    return next;
  }

  /**
   * The same place, with what follows the items that may have ended here: in a list without doubles, this item is left
   * out from now on.
   * @param spellings of the JSON scalar that the text ends with
   */
  settled(language: Language, spellings: () => Expression): Language {
    if (!this.#rules.hasDistinct) return language;
    switch (language.kind) {
      case "afterItem":
        return this.#afterItem(language.at, this.#rules.lower(spellings()));
      case "sequence": {
        const { head, tail } = language;
        const goesOn = this.#rules.languages.sequence(this.settled(head, spellings), tail);
        // A number may end here, or go on and end later.
        return head.isNullable ? this.#rules.languages.choice([goesOn, this.settled(tail, spellings)]) : goesOn;
      }
      case "choice":
        return this.#rules.languages.choice(language.options.map((option) => this.settled(option, spellings)));
      default:
        return language;
    }
  }

  #afterItem(at: DistinctPlace, last: Language): Language {
    const { languages, derivatives } = this.#rules;
    const seen = languages.choice([at.seen, last]);
    const end = at.count >= at.min ? languages.empty : languages.none;
    if (at.max !== null && at.count >= at.max) return end;
    const others = languages.intersection([at.item, languages.complement(seen)]);
    if (derivatives.isDead(others)) return end;
    const next = languages.sequence(others, languages.afterItem({ ...at, count: at.count + 1, seen }));
    return languages.choice([end, languages.sequence(at.separator, next)]);
  }

  /**
   * Which tokens may follow, an end of sequence where the text may end.
   * @returns int32 [⌈V/32⌉], not to be changed.
   * @throws ToastError `invalid_request` where the grammar is too entangled to be followed.
   */
  mask(language: Language): TokenMask {
    if (this.size > maxLanguages) this.#reset();
    const place = this.#near(language);
    const known = this.#masks.get(place);
    if (known !== undefined) this.#masks.delete(place);
    const mask = known ?? this.#made(place);
    this.#masks.set(place, mask);
    const [oldest] = this.#masks.keys();
    if (this.#masks.size > maxMasks && oldest !== undefined) this.#masks.delete(oldest);
    return mask;
  }

  #reset(): void {
    this.#rules.forget();
    this.#forgotten = this.#rules.languages.count;
    this.#states = [];
    this.#stateOf = new Map();
    this.#stays = [];
    this.#masks = new Map();
    this.#nearby = new Map();
    this.#state(this.#rules.languages.none);
  }

  #made(language: Language): TokenMask {
    if (this.#making?.place !== language) this.#making = { place: language, languages: this.#rules.languages.count };
    const most = this.#making.languages + maxNewLanguages;
    const mask = this.#madeOf(language, most);
    this.#making = null;
    return mask;
  }

  /** @param most languages that there may be before it is given up */
  #madeOf(language: Language, most: number): TokenMask {
    const { tokens, eosIds, all, plain, special } = this.#tokens;
    const mask = new Int32Array(Math.ceil(tokens.length / 32));
    const state = this.#state(language);
    if (this.#staysUnderPlainCharacters(state)) {
      for (const id of plain) allow(mask, id);
      this.#walk(special, state, mask, most);
    } else this.#walk(all, state, mask, most);
    if (language.isNullable) for (const id of eosIds) allow(mask, id);
    return mask;
  }

  #walk(
    { bytes, depths, ends, isPlainBelow, tokens, same }: TokenTrie,
    from: number,
    mask: TokenMask,
    most: number,
  ): void {
    const path = this.#path;
    const { of } = this.#rules.classes;
    const width = this.#rules.classes.samples.length;
    let transitions = this.#transitions;
    path[0] = from;
    for (let node = 0; node < bytes.length; ) {
      const depth = depths[node] as number;
      const before = path[depth - 1] as number;
      const byteClass = of[bytes[node] as number] as number;
      let state = transitions[before * width + byteClass] as number;
      if (state === unknown) {
        state = this.#step(before, byteClass);
        transitions = this.#transitions;
        if (this.#rules.languages.count > most) throw tooEntangled();
      }
      if (state === dead) {
        node = ends[node] as number;
        continue;
      }
      path[depth] = state;
      // Where nothing below leads anywhere else, all of it is allowed.
      const isAll = isPlainBelow[node] === 1 && this.#staysUnderAscii(state);
      for (const end = isAll ? (ends[node] as number) : node + 1; node < end; node++)
        for (let id = tokens[node] as number; id >= 0; id = same[id] as number) allow(mask, id);
      transitions = this.#transitions;
    }
  }

  #staysUnderAscii(state: number): boolean {
    const known = this.#stays[state];
    if (known !== undefined) return known;
    const { of } = this.#rules.classes;
    const stays = plainAscii.every((byte) => this.#step(state, of[byte] as number) === state);
    this.#stays[state] = stays;
    return stays;
  }

  /** Whether every plain character leads back to the same state, as in a string or a text without bounds. */
  #staysUnderPlainCharacters(state: number): boolean {
    const { of } = this.#rules.classes;
    return plainSequences.every((ranges) => {
      let places = new Set([state]);
      for (const [from, to] of ranges) {
        const classes = new Set(of.subarray(from, to + 1));
        places = new Set([...places].flatMap((place) => [...classes].map((byteClass) => this.#step(place, byteClass))));
        if (places.size > 4 || places.has(dead)) return false;
      }
      return places.size === 1 && places.has(state);
    });
  }

  #step(state: number, byteClass: number): number {
    const at = state * this.#rules.classes.samples.length + byteClass;
    const known = this.#transitions[at] as number;
    if (known !== unknown) return known;
    const next = this.#state(this.#rules.derivatives.by(this.#states[state] as Language, byteClass));
    this.#transitions[at] = next;
    return next;
  }

  #state(language: Language): number {
    const known = this.#stateOf.get(language);
    if (known !== undefined) return known;
    const state = this.#states.length;
    this.#states.push(language);
    this.#stateOf.set(language, state);
    const width = this.#rules.classes.samples.length;
    if ((state + 1) * width > this.#transitions.length) {
      const larger = new Int32Array(Math.max(64, state * 2) * width);
      larger.set(this.#transitions.subarray(0, state * width));
      this.#transitions = larger;
    }
    this.#transitions.fill(unknown, state * width, (state + 1) * width);
    return state;
  }

  /**
   * A language of which the same tokens may follow: counts beyond the longest token are all alike to it. So the places
   * of a long string with a bound on its length share their masks.
   */
  #near(language: Language): Language {
    const known = this.#nearby.get(language);
    if (known !== undefined) return known;
    const near = this.#nearNow(language);
    this.#nearby.set(language, near);
    return near;
  }

  #nearNow(language: Language): Language {
    const { languages } = this.#rules;
    switch (language.kind) {
      case "sequence":
        return languages.sequence(this.#near(language.head), this.#near(language.tail));
      case "choice":
        return languages.choice(language.options.map((option) => this.#near(option)));
      case "repeat": {
        const most = this.#tokens.maxLength + 1;
        const { part, min, max } = language;
        return languages.repeat(part, Math.min(min, most), max === null || max > most ? null : max);
      }
      default:
        return language;
    }
  }
}

function allow(mask: TokenMask, id: number): void {
  mask[id >> 5] = (mask[id >> 5] as number) | (1 << (id & 31));
}

function tooEntangled(): ToastError {
  return new ToastError(
    "invalid_request",
    "The grammar of the output takes too much work for each token: parts that repeat within parts that repeat are the usual cause.",
  );
}
