import { ToastError } from "../../errors.js";
import type { Pace } from "../pace.js";
import { type ByteClasses, hasByte } from "./byte-set.js";
import type { Language, Languages, MultiplePlace } from "./language.js";

/** Places that are looked at to find out whether an intersection has a text. */
const maxSearched = 100_000;

/** How far a search for a text has come. */
interface Search {
  /** Places that were reached, and from where. */
  readonly from: Map<Language, Language | null>;
  /** How many of them were looked at. */
  looked: number;
}

/**
 * What may follow a byte: the derivative of a language by b is the language of all t for which b t is in the language.
 * Found once for each language and class of bytes. A language without a text is `none`, so a place from which no text
 * goes on is never reached.
 * @see Janusz A. Brzozowski, "Derivatives of Regular Expressions" (1964)
 */
export class Derivatives {
  readonly #languages: Languages;
  readonly #classes: ByteClasses;
  readonly #bodyOf: (rule: string) => Language;
  readonly #pace: Pace;
  /** By id, then by class of bytes. */
  #known = new Map<number, Language[]>();
  #knownUnchecked = new Map<number, Language[]>();
  /** Intersections, and whether they have a text. */
  #isAlive = new Map<Language, boolean>();
  /** Searches that have stopped in the middle, by the intersection whose text they look for. */
  #searches = new Map<Language, Search>();

  constructor(languages: Languages, classes: ByteClasses, bodyOf: (rule: string) => Language, pace: Pace) {
    this.#pace = pace;
    this.#languages = languages;
    this.#classes = classes;
    this.#bodyOf = bodyOf;
  }

  forget(): void {
    this.#known = new Map();
    this.#knownUnchecked = new Map();
    this.#isAlive = new Map();
    this.#searches = new Map();
  }

  /** @throws ToastError `invalid_request` where the language is too entangled to be followed. */
  by(language: Language, byteClass: number): Language {
    return this.#memorized(this.#known, language, byteClass, () => {
      if (language.kind !== "intersection") return this.#derived(language, byteClass, this.by.bind(this));
      const next = this.#unchecked(language, byteClass);
      return this.isDead(next) ? this.#languages.none : next;
    });
  }

  /** Whether a language that refers to no rule has no text. */
  isDead(language: Language): boolean {
    if (language.kind !== "intersection") return language === this.#languages.none;
    const known = this.#isAlive.get(language);
    if (known !== undefined) return !known;
    const search = this.#searches.get(language) ?? { from: new Map([[language, null]]), looked: 0 };
    this.#searches.set(language, search);
    const isDead = this.#searched(search);
    this.#searches.delete(language);
    return isDead;
  }

  /** Breadth first: a text, where there is one, is short as a rule. */
  #searched(search: Search): boolean {
    const { from } = search;
    let at = 0;
    for (const place of from.keys()) {
      if (at++ < search.looked) continue;
      if (place.isNullable || this.#isAlive.get(place) === true) {
        for (let alive: Language | null = place; alive !== null; alive = from.get(alive) ?? null)
          this.#isAlive.set(alive, true);
        return false;
      }
      if (from.size > maxSearched) {
        throw new ToastError(
          "invalid_request",
          "The grammar of the output is too entangled: patterns, formats and lengths that have to hold together are the usual cause.",
        );
      }
      for (let byteClass = 0; byteClass < this.#classes.samples.length; byteClass++) {
        const next = this.#unchecked(place, byteClass);
        if (next !== this.#languages.none && !from.has(next) && this.#isAlive.get(next) !== false)
          from.set(next, place);
      }
      search.looked = at;
    }
    for (const place of from.keys()) this.#isAlive.set(place, false);
    return true;
  }

  #unchecked(language: Language, byteClass: number): Language {
    return this.#memorized(this.#knownUnchecked, language, byteClass, () =>
      this.#derived(language, byteClass, this.#unchecked.bind(this)),
    );
  }

  #memorized(memory: Map<number, Language[]>, language: Language, byteClass: number, make: () => Language): Language {
    let known = memory.get(language.id);
    if (known === undefined) {
      known = [];
      memory.set(language.id, known);
    }
    const before = known[byteClass];
    if (before !== undefined) return before;
    const next = make();
    known[byteClass] = next;
    this.#pace.step();
    return next;
  }

  #derived(language: Language, byteClass: number, by: (part: Language, byteClass: number) => Language): Language {
    const { none, empty } = this.#languages;
    switch (language.kind) {
      case "none":
      case "empty":
      case "afterItem":
        return none;
      case "bytes":
        return hasByte(language.set, this.#classes.samples[byteClass] as number) ? empty : none;
      case "sequence": {
        const { head, tail } = language;
        const next = this.#languages.sequence(by(head, byteClass), tail);
        return head.isNullable ? this.#languages.choice([next, by(tail, byteClass)]) : next;
      }
      case "choice":
        return this.#languages.choice(language.options.map((option) => by(option, byteClass)));
      case "repeat": {
        const { part, min, max } = language;
        const rest = this.#languages.repeat(part, Math.max(0, min - 1), max === null ? null : max - 1);
        return this.#languages.sequence(by(part, byteClass), rest);
      }
      case "intersection":
        return this.#languages.intersection(language.parts.map((part) => by(part, byteClass)));
      case "complement":
        return this.#languages.complement(by(language.part, byteClass));
      case "multiple": {
        const next = nextPlace(language.at, this.#classes.samples[byteClass] as number);
        return next === null ? none : this.#languages.multiple(next);
      }
      case "rule":
        return by(this.#bodyOf(language.name), byteClass);
    }
  }
}

function nextPlace(at: MultiplePlace, byte: number): MultiplePlace | null {
  if (byte === 0x2e) return at.fraction === null ? { ...at, fraction: 0 } : null;
  if (byte < 0x30 || byte > 0x39) return null;
  // Decimals behind those of the unit have to be zeros.
  if (at.fraction === at.decimals) return byte === 0x30 ? at : null;
  const remainder = (at.remainder * 10 + byte - 0x30) % at.unit;
  return { ...at, remainder, fraction: at.fraction === null ? null : at.fraction + 1 };
}
