import { ToastError } from "../../errors.js";
import { allCodePoints, type CodePoints, codePoints, complement } from "../code-points.js";
import {
  characters,
  choice,
  type Expression,
  literal,
  nothing,
  partsOf,
  type Rules,
  repeat,
  rule,
  sequence,
} from "../expression.js";
import { withoutLeftRecursion } from "./left-recursion.js";

const maxDepth = 200;
const maxRepetitions = 100_000;
const controlEscapes: Readonly<Record<string, string>> = {
  n: "\n",
  r: "\r",
  t: "\t",
  f: "\f",
  v: "\v",
  b: "\b",
  "0": "\0",
};

/**
 * Reads a grammar in GBNF: rules `name ::= …`, of which `root` is the whole text; texts in quotes, classes of
 * characters, `.`, parentheses, `|`, `* + ?` and `{m,n}`; comments from `#` to the end of a line.
 * @throws ToastError `invalid_request` with the line where it goes wrong
 * @see llama.cpp, grammars/README.md
 */
export function parseGbnf(grammar: string): Rules {
  return withoutLeftRecursion(new GbnfParser(grammar).parse());
}

class GbnfParser {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  parse(): Rules {
    const rules = new Map<string, Expression>();
    for (this.#skipBlanks(); this.#at < this.#text.length; this.#skipBlanks()) {
      const name = this.#take(/[A-Za-z_][\w.-]*/y) ?? this.#fail("the name of a rule is expected");
      this.#skipBlanks();
      if (this.#take(/::=/y) === null) this.#fail(`'::=' is expected behind the name '${name.slice(0, 40)}'`);
      if (rules.has(name)) this.#fail(`there is a rule '${name.slice(0, 40)}' already`);
      rules.set(name, this.#choice(0));
    }
    if (!rules.has("root")) throw unusable("it has no rule 'root'");
    for (const expression of rules.values()) checkNames(expression, rules);
    return rules;
  }

  #choice(depth: number): Expression {
    if (depth > maxDepth) this.#fail(`parentheses are nested too deep, more than ${maxDepth} times`);
    const options: Expression[] = [];
    do {
      const parts: Expression[] = [];
      for (this.#skipBlanks(); !this.#isAtEndOfSequence(); this.#skipBlanks()) parts.push(this.#repeated(depth));
      options.push(parts.length === 0 ? nothing : sequence(...parts));
    } while (this.#take(/\|/y) !== null);
    return choice(...options);
  }

  /** A rule ends where the next one begins, wherever lines end. */
  #isAtEndOfSequence(): boolean {
    return this.#at >= this.#text.length || this.#peek(/[|)]|[A-Za-z_][\w.-]*\s*::=/y);
  }

  #repeated(depth: number): Expression {
    let part = this.#atom(depth);
    for (;;) {
      this.#skipBlanks();
      const sign = this.#take(/[*+?]|\{\s*\d*\s*(?:,\s*\d*\s*)?\}/y);
      if (sign === null) return part;
      const [min, max] = this.#bounds(sign);
      part = repeat(part, min, max);
    }
  }

  #bounds(sign: string): readonly [min: number, max: number | null] {
    if (sign === "*") return [0, null];
    if (sign === "+") return [1, null];
    if (sign === "?") return [0, 1];
    const [low = "", high = low] = sign.slice(1, -1).replace(/\s/g, "").split(",");
    const [min, max] = [Number(low), high === "" ? null : Number(high)];
    if (sign.replace(/[{}\s]/g, "") === "") this.#fail("a repetition has no bounds");
    if (Math.max(min, max ?? 0) > maxRepetitions) this.#fail(`a part repeats more than ${maxRepetitions} times`);
    if (max !== null && max < min) this.#fail("a repetition has its bounds the wrong way round");
    return [min, max];
  }

  #atom(depth: number): Expression {
    if (this.#take(/\(/y) !== null) {
      if (this.#peek(/[=!]/y)) this.#fail("lookahead is not supported");
      const inner = this.#choice(depth + 1);
      if (this.#take(/\)/y) === null) this.#fail("a parenthesis is not closed");
      return inner;
    }
    if (this.#take(/"/y) !== null) return literal(this.#quoted());
    if (this.#take(/\[/y) !== null) return characters(this.#class());
    if (this.#take(/\./y) !== null) return characters(allCodePoints);
    const name = this.#take(/[A-Za-z_][\w.-]*/y);
    return name === null ? this.#fail(`'${this.#text.charAt(this.#at)}' is not expected`) : rule(name);
  }

  #quoted(): string {
    let text = "";
    for (;;) {
      const character = this.#take(/[^"\\\n]/uy);
      if (character !== null) text += character;
      else if (this.#take(/"/y) !== null) return text;
      else if (this.#peek(/\\/y)) text += this.#escape();
      else this.#fail("a text in quotes is not closed");
    }
  }

  #class(): CodePoints {
    const isNegated = this.#take(/\^/y) !== null;
    const ranges: [number, number][] = [];
    while (this.#take(/\]/y) === null) {
      const from = this.#classItem();
      const to = this.#take(/-(?!\])/y) === null ? from : this.#classItem();
      if (to < from) this.#fail("a class has a range that is none");
      ranges.push([from, to]);
    }
    const set = codePoints(...ranges);
    return isNegated ? complement(set) : set;
  }

  #classItem(): number {
    const character = this.#peek(/\\/y) ? this.#escape() : this.#take(/[^\]]/suy);
    return character?.codePointAt(0) ?? this.#fail("a class is not closed");
  }

  #escape(): string {
    const code = this.#take(/\\(?:x[0-9A-Fa-f]{2}|u\{[0-9A-Fa-f]{1,6}\}|u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8})/y);
    if (code !== null) {
      const value = Number.parseInt(code.slice(2).replace(/[{}]/g, ""), 16);
      if (value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff)) this.#fail(`'${code}' names no character`);
      return String.fromCodePoint(value);
    }
    const escaped = this.#take(/\\./suy)?.slice(1) ?? this.#fail("it ends in a backslash");
    const control = controlEscapes[escaped];
    if (control === undefined && /^[A-Za-z1-9]$/.test(escaped)) this.#fail(`'\\${escaped}' is not supported`);
    return control ?? escaped;
  }

  #skipBlanks(): void {
    this.#take(/(?:\s|#[^\n]*)*/y);
  }

  #peek(shape: RegExp): boolean {
    shape.lastIndex = this.#at;
    return shape.test(this.#text);
  }

  /** @returns null where the text does not go on so. */
  #take(shape: RegExp): string | null {
    shape.lastIndex = this.#at;
    const [taken = null] = shape.exec(this.#text) ?? [];
    this.#at += taken?.length ?? 0;
    return taken;
  }

  #fail(problem: string): never {
    throw unusable(`${problem} (line ${this.#text.slice(0, this.#at).split("\n").length})`);
  }
}

function checkNames(expression: Expression, rules: Rules): void {
  if (expression.kind === "rule" && !rules.has(expression.name))
    throw unusable(`it has no rule '${expression.name.slice(0, 40)}'`);
  for (const part of partsOf(expression)) checkNames(part, rules);
}

function unusable(problem: string): ToastError {
  return new ToastError("invalid_request", `The grammar cannot be used: ${problem}.`);
}
