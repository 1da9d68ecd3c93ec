import { ToastError } from "../../errors.js";
import { type ByteSet, isEmptySet, unionOf } from "./byte-set.js";

/**
 * A language of byte strings. Equal ones that were made in the same way are the same object, so that what follows from
 * one has to be found once only.
 */
export type Language = { readonly id: number; readonly isNullable: boolean } & (
  | /** No text at all. */ { readonly kind: "none" }
  /** The empty text. */
  | { readonly kind: "empty" }
  | { readonly kind: "bytes"; readonly set: ByteSet }
  /** `head` is no sequence itself. */
  | { readonly kind: "sequence"; readonly head: Language; readonly tail: Language }
  | { readonly kind: "choice"; readonly options: readonly Language[] }
  | { readonly kind: "repeat"; readonly part: Language; readonly min: number; readonly max: number | null }
  | { readonly kind: "intersection"; readonly parts: readonly Language[] }
  | { readonly kind: "complement"; readonly part: Language }
  | { readonly kind: "multiple"; readonly at: MultiplePlace }
  /** What follows an item of a list without doubles: not known before the item is (see Automaton.settled). */
  | { readonly kind: "afterItem"; readonly at: DistinctPlace }
  | { readonly kind: "rule"; readonly name: string }
);

/** How far a list without doubles has come. */
export interface DistinctPlace {
  readonly item: Language;
  readonly separator: Language;
  readonly min: number;
  readonly max: number | null;
  /** Items so far. */
  readonly count: number;
  /** All spellings of the items before the last one. */
  readonly seen: Language;
}

/** How far a decimal number has come on its way to a multiple of `unit` / 10^`decimals`. */
export interface MultiplePlace {
  readonly unit: number;
  readonly decimals: number;
  /** Of what was read, times 10^(decimals that were read), divided by `unit`. */
  readonly remainder: number;
  /** Digits behind the point; null in front of it. */
  readonly fraction: number | null;
}

/** A language without id; a plain copy of the union, since `Omit` of a union loses its variants. */
type Shape = Language extends infer One ? (One extends Language ? Omit<One, "id" | "isNullable"> : never) : never;

/** Alternatives at one place: beyond these, a text is read in too many ways at once. */
const maxOptions = 4_000;

/** Makes languages, simplified where that is cheap: whatever has no text is `none`, and none is a part of another. */
export class Languages {
  readonly none: Language;
  readonly empty: Language;
  readonly #known = new Map<string, Language>();
  readonly #nullableRules: ReadonlySet<string>;
  #nextId = 0;

  /** @param nullableRules rules with the empty text. */
  constructor(nullableRules: ReadonlySet<string>) {
    this.#nullableRules = nullableRules;
    this.none = this.#intern("none", { kind: "none" }, false);
    this.empty = this.#intern("empty", { kind: "empty" }, true);
  }

  /** Languages made so far. */
  get count(): number {
    return this.#nextId;
  }

  /** Lets go of all languages for later ones; those in use stay as they are. */
  forget(): void {
    this.#known.clear();
    this.#known.set("none", this.none);
    this.#known.set("empty", this.empty);
  }

  bytes(set: ByteSet): Language {
    return isEmptySet(set) ? this.none : this.#intern(`b${set.join()}`, { kind: "bytes", set }, false);
  }

  rule(name: string): Language {
    return this.#intern(`r${name}`, { kind: "rule", name }, this.#nullableRules.has(name));
  }

  multiple(at: MultiplePlace): Language {
    const left = at.decimals - (at.fraction ?? 0);
    const isNullable = (at.remainder * (10 ** left % at.unit)) % at.unit === 0;
    const key = `m${at.unit},${at.decimals},${at.remainder},${at.fraction}`;
    return this.#intern(key, { kind: "multiple", at }, isNullable);
  }

  afterItem(at: DistinctPlace): Language {
    const { item, separator, min, max, count, seen } = at;
    const key = `d${item.id},${separator.id},${min},${max},${count},${seen.id}`;
    return this.#intern(key, { kind: "afterItem", at }, false);
  }

  sequence(head: Language, tail: Language): Language {
    if (head === this.none || tail === this.none) return this.none;
    if (head === this.empty) return tail;
    if (tail === this.empty) return head;
    if (head.kind === "sequence") return this.sequence(head.head, this.sequence(head.tail, tail));
    const isNullable = head.isNullable && tail.isNullable;
    return this.#intern(`s${head.id},${tail.id}`, { kind: "sequence", head, tail }, isNullable);
  }

  choice(options: readonly Language[]): Language {
    const flat = new Set(options.flatMap((option) => (option.kind === "choice" ? option.options : [option])));
    flat.delete(this.none);
    if (flat.size === 1) return [...flat][0] as Language;
    const simple = [...new Set(this.#withJoinedTails(joinRepeats(this.#withJoinedBytes([...flat]), this)))];
    if (simple.length === 0) return this.none;
    if (simple.length === 1) return simple[0] as Language;
    if (simple.length > maxOptions) {
      throw new ToastError(
        "invalid_request",
        "The grammar of the output can be read in too many ways at once: parts that repeat within parts that repeat are the usual cause.",
      );
    }
    const sorted = simple.toSorted((a, b) => a.id - b.id);
    const isNullable = sorted.some((option) => option.isNullable);
    return this.#intern(`c${sorted.map(({ id }) => id).join()}`, { kind: "choice", options: sorted }, isNullable);
  }

  repeat(part: Language, min: number, max: number | null): Language {
    if (part === this.none) return min === 0 ? this.empty : this.none;
    if (max === 0 || part === this.empty) return this.empty;
    if (min === 1 && max === 1) return part;
    const least = part.isNullable ? 0 : min;
    return this.#intern(`x${part.id},${least},${max}`, { kind: "repeat", part, min: least, max }, least === 0);
  }

  /** May be without a text all the same: see Derivatives.isDead. */
  intersection(parts: readonly Language[]): Language {
    const flat = new Set(parts.flatMap((part) => (part.kind === "intersection" ? part.parts : [part])));
    if (flat.has(this.none)) return this.none;
    const isNullable = [...flat].every((part) => part.isNullable);
    if (flat.has(this.empty)) return isNullable ? this.empty : this.none;
    if (flat.size === 1) return [...flat][0] as Language;
    const sorted = [...flat].toSorted((a, b) => a.id - b.id);
    return this.#intern(`i${sorted.map(({ id }) => id).join()}`, { kind: "intersection", parts: sorted }, isNullable);
  }

  complement(part: Language): Language {
    return part.kind === "complement"
      ? part.part
      : this.#intern(`n${part.id}`, { kind: "complement", part }, !part.isNullable);
  }

  #withJoinedBytes(options: readonly Language[]): readonly Language[] {
    const sets = options.flatMap((option) => (option.kind === "bytes" ? [option.set] : []));
    if (sets.length < 2) return options;
    return [...options.filter(({ kind }) => kind !== "bytes"), this.bytes(unionOf(sets))];
  }

  /** What ends alike is read in one way: `ax | bx` is `(a | b)x`. */
  #withJoinedTails(options: readonly Language[]): readonly Language[] {
    const heads = new Map<Language, Language[]>();
    for (const option of options) {
      if (option.kind !== "sequence") continue;
      const known = heads.get(option.tail);
      if (known === undefined) heads.set(option.tail, [option.head]);
      else known.push(option.head);
    }
    if ([...heads.values()].every(({ length }) => length === 1)) return options;
    const joined = [...heads].map(([tail, all]) => this.sequence(this.choice(all), tail));
    return [...options.filter(({ kind }) => kind !== "sequence"), ...joined];
  }

  #intern(key: string, shape: Shape, isNullable: boolean): Language {
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const made = { ...shape, id: this.#nextId++, isNullable } as Language;
    this.#known.set(key, made);
    return made;
  }
}

/** Repetitions of the same part, whose counts touch, are one. */
function joinRepeats(options: readonly Language[], languages: Languages): readonly Language[] {
  const byPart = new Map<Language, Extract<Language, { kind: "repeat" }>[]>();
  for (const option of options) {
    if (option.kind !== "repeat") continue;
    const known = byPart.get(option.part);
    if (known === undefined) byPart.set(option.part, [option]);
    else known.push(option);
  }
  if ([...byPart.values()].every(({ length }) => length === 1)) return options;
  const joined = [...byPart].flatMap(([part, repeats]) => {
    const spans: { min: number; max: number | null }[] = [];
    for (const { min, max } of repeats.toSorted((a, b) => a.min - b.min)) {
      const last = spans.at(-1);
      if (last === undefined || (last.max !== null && last.max + 1 < min)) spans.push({ min, max });
      else last.max = last.max === null || max === null ? null : Math.max(last.max, max);
    }
    return spans.map(({ min, max }) => languages.repeat(part, min, max));
  });
  return [...options.filter(({ kind }) => kind !== "repeat"), ...joined];
}
