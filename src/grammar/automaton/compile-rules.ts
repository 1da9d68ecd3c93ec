import { type Expression, partsOf, type Rules } from "../expression.js";
import type { Pace } from "../pace.js";
import { type ByteClasses, type ByteSet, byteClasses, byteSet } from "./byte-set.js";
import { Derivatives } from "./derivatives.js";
import { type Language, Languages } from "./language.js";
import { utf8Sequences } from "./utf8-sequences.js";

/**
 * The rules of a grammar as languages of bytes. A rule is compiled when a text first reaches it; what no finite text
 * goes through is left out.
 */
export class CompiledRules {
  readonly languages: Languages;
  readonly derivatives: Derivatives;
  readonly classes: ByteClasses;
  /** Whether there are lists without doubles. */
  readonly hasDistinct: boolean;
  readonly #rules: Rules;
  readonly #alive = new Set<string>();
  #lowered = new Map<Expression, Language>();
  #bodies = new Map<string, Language>();
  /** Lists of alternatives as they are read: new expressions, which are to be the same ones the next time. */
  readonly #grouped = new Map<readonly Expression[], readonly Expression[]>();
  readonly #pace: Pace;

  constructor(rules: Rules, pace: Pace) {
    this.#pace = pace;
    this.#rules = rules;
    this.hasDistinct = [...rules.values()].some(mentionsDistinct);
    this.classes = byteClasses(byteSetsOf(rules));
    this.languages = new Languages(nullableRules(rules));
    this.derivatives = new Derivatives(this.languages, this.classes, (name) => this.#bodyOf(name), pace);
  }

  /**
   * To be called before anything else, again where the pace made it stop.
   * @throws ToastError `invalid_request` where parts that have to hold together are too entangled.
   */
  prepare(): void {
    fixpoint(this.#rules, this.#alive, (expression) => this.#isAlive(expression));
  }

  /** All texts; `none` when there is none: a rule that needs itself, bounds that cross. */
  root(): Language {
    return this.#alive.has("root") ? this.languages.rule("root") : this.languages.none;
  }

  /** Frees what was compiled so far; languages that are in use go on. */
  forget(): void {
    this.languages.forget();
    this.derivatives.forget();
    this.#lowered = new Map();
    this.#bodies = new Map();
  }

  #isAlive(expression: Expression): boolean {
    switch (expression.kind) {
      case "literal":
      case "complement":
      case "multiple":
        return true;
      case "class":
        return expression.set.length > 0;
      case "sequence":
        return expression.parts.every((part) => this.#isAlive(part));
      case "choice":
        return expression.options.some((option) => this.#isAlive(option));
      case "repeat":
        return expression.min === 0 || this.#isAlive(expression.part);
      case "distinct":
        return expression.min === 0 || this.#lower(expression) !== this.languages.none;
      case "intersection":
        return this.#lower(expression) !== this.languages.none;
      case "rule":
        return this.#alive.has(expression.name);
    }
  }

  /** Alternatives that are nothing but other rules are written out: a rule may lead to itself before any byte. */
  #bodyOf(name: string): Language {
    const known = this.#bodies.get(name);
    if (known !== undefined) return known;
    const options: Language[] = [];
    const seen = new Set<string>();
    const add = (expression: Expression): void => {
      if (expression.kind === "choice") for (const option of this.#groupsOf(expression)) add(option);
      else if (expression.kind !== "rule") options.push(this.#lower(expression));
      else if (this.#alive.has(expression.name) && !seen.has(expression.name)) {
        seen.add(expression.name);
        add(this.#rule(expression.name));
      }
    };
    add({ kind: "rule", name });
    const body = this.languages.choice(options);
    this.#bodies.set(name, body);
    return body;
  }

  #rule(name: string): Expression {
    const expression = this.#rules.get(name);
    if (expression === undefined) throw new Error(`the grammar has no rule ${name}`);
    return expression;
  }

  #lower(expression: Expression): Language {
    const known = this.#lowered.get(expression);
    if (known !== undefined) return known;
    const lowered = this.#lowerNow(expression);
    // What needs a rule that is not known to be alive yet may come out otherwise later.
    if (mentionsRules(expression) && !this.#alive.has("root")) return lowered;
    this.#lowered.set(expression, lowered);
    this.#pace.step();
    return lowered;
  }

  #lowerNow(expression: Expression): Language {
    const { languages } = this;
    switch (expression.kind) {
      case "literal":
        return this.#literal(new TextEncoder().encode(expression.text));
      case "class":
        return languages.choice(
          utf8Sequences(expression.set).map((ranges) =>
            ranges.reduceRight(
              (rest, range) => languages.sequence(languages.bytes(byteSet(range)), rest),
              languages.empty,
            ),
          ),
        );
      case "sequence":
        return expression.parts.reduceRight(
          (rest, part) => languages.sequence(this.#lower(part), rest),
          languages.empty,
        );
      case "choice":
        return languages.choice(this.#groupsOf(expression).map((option) => this.#lower(option)));
      case "repeat":
        return languages.repeat(this.#lower(expression.part), expression.min, expression.max);
      case "intersection": {
        const both = languages.intersection(expression.parts.map((part) => this.#lower(part)));
        return this.derivatives.isDead(both) ? languages.none : both;
      }
      case "complement":
        return languages.complement(this.#lower(expression.part));
      case "multiple": {
        const { unit, decimals } = expression;
        return languages.multiple({ unit, decimals, remainder: 0, fraction: null });
      }
      case "distinct": {
        const { min, max } = expression;
        const [item, separator] = [this.#lower(expression.item), this.#lower(expression.separator)];
        const after = languages.afterItem({ item, separator, min, max, count: 1, seen: languages.none });
        const some = max === 0 ? languages.none : languages.sequence(item, after);
        return min === 0 ? languages.choice([languages.empty, some]) : some;
      }
      case "rule":
        return this.#alive.has(expression.name) ? languages.rule(expression.name) : languages.none;
    }
  }

  #groupsOf({ options }: Extract<Expression, { kind: "choice" }>): readonly Expression[] {
    const groups = this.#grouped.get(options) ?? grouped(options);
    this.#grouped.set(options, groups);
    return groups;
  }

  /**
   * @param expression refers to no rule; its characters are in the grammar, or the grammar has lists without doubles
   */
  lower(expression: Expression): Language {
    return this.#lower(expression);
  }

  #literal(bytes: Uint8Array): Language {
    const { languages } = this;
    return bytes.reduceRight<Language>(
      (rest, byte) => languages.sequence(languages.bytes(byteSet([byte, byte])), rest),
      languages.empty,
    );
  }
}

/** Options with literals of the same first character put together, so that thousands of them are read as one. */
function grouped(options: readonly Expression[]): readonly Expression[] {
  if (options.length < 16) return options;
  const byStart = new Map<string, string[]>();
  const others: Expression[] = [];
  for (const option of options) {
    if (option.kind !== "literal" || option.text === "") others.push(option);
    else {
      const [start = ""] = option.text;
      const rests = byStart.get(start) ?? [];
      byStart.set(start, rests);
      rests.push(option.text.slice(start.length));
    }
  }
  const groups = [...byStart].map(([start, rests]): Expression => {
    const text = commonStart(rests);
    const ends = [...new Set(rests)].map((rest): Expression => ({ kind: "literal", text: rest.slice(text.length) }));
    const head: Expression = { kind: "literal", text: start + text };
    return { kind: "sequence", parts: [head, { kind: "choice", options: ends }] };
  });
  return [...others, ...groups];
}

/** No half of a surrogate pair at its end. */
function commonStart(texts: readonly string[]): string {
  const [first = "", ...others] = texts;
  let length = first.length;
  for (const text of others) while (!text.startsWith(first.slice(0, length))) length--;
  const last = first.charCodeAt(length - 1);
  return first.slice(0, last >= 0xd800 && last <= 0xdbff ? length - 1 : length);
}

function mentionsDistinct(expression: Expression): boolean {
  return expression.kind === "distinct" || partsOf(expression).some(mentionsDistinct);
}

function mentionsRules(expression: Expression): boolean {
  return expression.kind === "rule" || partsOf(expression).some(mentionsRules);
}

function nullableRules(rules: Rules): ReadonlySet<string> {
  const nullable = new Set<string>();
  const isNullable = (expression: Expression): boolean => {
    switch (expression.kind) {
      case "literal":
        return expression.text === "";
      case "class":
        return false;
      case "sequence":
      case "intersection":
        return expression.parts.every(isNullable);
      case "choice":
        return expression.options.some(isNullable);
      case "repeat":
        return expression.min === 0 || isNullable(expression.part);
      case "distinct":
        return expression.min === 0;
      case "complement":
        return !isNullable(expression.part);
      case "multiple":
        return true;
      case "rule":
        return nullable.has(expression.name);
    }
  };
  fixpoint(rules, nullable, isNullable);
  return nullable;
}

/** Adds names of rules to `names` until no expression `holds` that did not before. */
function fixpoint(rules: Rules, names: Set<string>, holds: (expression: Expression) => boolean): void {
  for (let before = -1; before < names.size; ) {
    before = names.size;
    for (const [name, expression] of rules) if (!names.has(name) && holds(expression)) names.add(name);
  }
}

function* byteSetsOf(rules: Rules): Generator<ByteSet> {
  const seen = new Set<Expression>();
  const literals = new Set<number>();
  const waiting = [...rules.values()];
  for (let expression = waiting.pop(); expression !== undefined; expression = waiting.pop()) {
    if (seen.has(expression)) continue;
    seen.add(expression);
    waiting.push(...partsOf(expression));
    if (expression.kind === "literal") for (const byte of new TextEncoder().encode(expression.text)) literals.add(byte);
    else if (expression.kind === "multiple")
      for (const byte of new TextEncoder().encode(".0123456789")) literals.add(byte);
    // Which items will have to be left out is not known yet.
    else if (expression.kind === "distinct") for (let byte = 0; byte < 256; byte++) literals.add(byte);
    else if (expression.kind === "class")
      for (const ranges of utf8Sequences(expression.set)) for (const range of ranges) yield byteSet(range);
  }
  for (const byte of literals) yield byteSet([byte, byte]);
}
