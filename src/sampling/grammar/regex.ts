import { ToastError } from "../../errors.js";
import { allCodePoints, type CodePoints, codePoints, complement, union } from "./code-points.js";
import { choice, type Expression, nothing, repeat, sequence } from "./expression.js";

/** A regular expression as a grammar's expression, and whether it is tied to the ends of the text. */
export interface ParsedRegex {
  readonly expression: Expression;
  readonly anchoredAtStart: boolean;
  readonly anchoredAtEnd: boolean;
}

const digits = codePoints([0x30, 0x39]);
const wordCharacters = codePoints([0x30, 0x39], [0x41, 0x5a], [0x5f, 0x5f], [0x61, 0x7a]);
// Of ASCII: what these leave then is all or nothing of the rest, which is what XGrammar can say (see printClass).
const spaces = codePoints([0x09, 0x0d], [0x20, 0x20]);
const lineEnds = codePoints([0x0a, 0x0a], [0x0d, 0x0d]);
const controlEscapes: Readonly<Record<string, number>> = { t: 9, n: 10, v: 11, f: 12, r: 13, "0": 0 };
/** Groups in groups; the parser, and whoever walks its result, is recursive. */
const maxDepth = 50;
const maxRepetitions = 10_000;

/**
 * Reads a regular expression in JavaScript's syntax, of what describes a regular language: no lookaround, back references or word
 * boundaries. Lazy quantifiers mean the same language as greedy ones. Blanks and line ends are those of ASCII.
 * @throws ToastError `invalid_request` for anything else, with the place.
 */
export function parseRegex(pattern: string): ParsedRegex {
  return new RegexParser(pattern).parse();
}

class RegexParser {
  readonly #characters: readonly string[];
  #at = 0;

  constructor(pattern: string) {
    this.#characters = [...pattern];
  }

  parse(): ParsedRegex {
    const anchoredAtStart = this.#take("^");
    const { expression, anchored: anchoredAtEnd } = this.#choice(0);
    if (this.#at < this.#characters.length) this.#fail(`there is a '${this.#peek()}' too many`);
    if ((anchoredAtStart || anchoredAtEnd) && expression.kind === "choice") {
      this.#fail("'^' and '$' beside '|' would hold for one alternative only; put the alternatives into a group");
    }
    return { expression, anchoredAtStart, anchoredAtEnd };
  }

  #choice(depth: number): { expression: Expression; anchored: boolean } {
    if (depth > maxDepth) this.#fail(`its groups are nested more than ${maxDepth} deep`);
    const options: Expression[] = [];
    let anchored = false;
    do {
      const parts: Expression[] = [];
      while (this.#peek() !== undefined && this.#peek() !== "|" && this.#peek() !== ")") {
        if (this.#peek() === "$") {
          if (depth > 0 || this.#at < this.#characters.length - 1) this.#fail("'$' can stand at the end only");
          this.#at++;
          anchored = true;
          break;
        }
        parts.push(this.#quantified(depth));
      }
      options.push(parts.length === 0 ? nothing : sequence(...parts));
    } while (this.#take("|"));
    return { expression: choice(...options), anchored };
  }

  #quantified(depth: number): Expression {
    let expression = this.#atom(depth);
    for (;;) {
      const bounds = this.#quantifier();
      if (bounds === null) return expression;
      this.#take("?");
      if (this.#peek() === "+") this.#fail("possessive quantifiers are not supported");
      expression = repeat(expression, bounds[0], bounds[1]);
    }
  }

  #quantifier(): readonly [min: number, max: number | null] | null {
    if (this.#take("*")) return [0, null];
    if (this.#take("+")) return [1, null];
    if (this.#take("?")) return [0, 1];
    if (this.#peek() !== "{") return null;
    const match = /^\{(\d+)(,(\d*))?\}/.exec(this.#characters.slice(this.#at, this.#at + 24).join(""));
    if (match === null) this.#fail("a literal '{' must be written '\\{'");
    const min = Number(match[1]);
    const max = match[2] === undefined ? min : match[3] === "" ? null : Number(match[3]);
    if (Math.max(min, max ?? 0) > maxRepetitions) this.#fail(`it repeats a part more than ${maxRepetitions} times`);
    if (max !== null && max < min) this.#fail("a repetition has its bounds the wrong way round");
    this.#at += match[0].length;
    return [min, max];
  }

  #atom(depth: number): Expression {
    const character = this.#next();
    switch (character) {
      case "(": {
        if (this.#take("?") && !this.#take(":")) {
          this.#take("P");
          const name = /^<([A-Za-z_]\w*)>/.exec(this.#characters.slice(this.#at, this.#at + 66).join(""));
          if (name === null) this.#fail("lookahead, lookbehind and inline flags are not supported");
          this.#at += name[0].length;
        }
        const { expression } = this.#choice(depth + 1);
        if (!this.#take(")")) this.#fail("a parenthesis is not closed");
        return expression;
      }
      case "[":
        return { kind: "class", set: this.#class() };
      case ".":
        return { kind: "class", set: complement(lineEnds) };
      case "\\":
        return { kind: "class", set: this.#escape() };
      case "^":
        return this.#fail("'^' can stand at the beginning only");
      case "*":
      case "+":
      case "?":
      case "{":
        return this.#fail(`there is nothing that '${character}' could repeat`);
      default:
        return { kind: "literal", text: character };
    }
  }

  #class(): CodePoints {
    const negated = this.#take("^");
    const sets: CodePoints[] = [];
    while (!this.#take("]")) {
      const from = this.#classItem();
      if (this.#peek() === "-" && this.#characters[this.#at + 1] !== "]" && this.#at + 1 < this.#characters.length) {
        this.#at++;
        const to = this.#classItem();
        const [low, high] = [singleOf(from), singleOf(to)];
        if (low === null || high === null || low > high) this.#fail("a class has a range that is none");
        sets.push(codePoints([low, high]));
      } else {
        sets.push(from);
      }
    }
    const set = union(...sets);
    return negated ? complement(set) : set;
  }

  #classItem(): CodePoints {
    const character = this.#next("a class is not closed");
    return character === "\\" ? this.#escape() : single(character.codePointAt(0) ?? 0);
  }

  #escape(): CodePoints {
    const character = this.#next("it ends in a backslash");
    switch (character) {
      case "d":
        return digits;
      case "D":
        return complement(digits);
      case "w":
        return wordCharacters;
      case "W":
        return complement(wordCharacters);
      case "s":
        return spaces;
      case "S":
        return complement(spaces);
      case "x":
        return this.#hex(/^[0-9A-Fa-f]{2}/);
      case "u":
        return this.#hex(/^(?:[0-9A-Fa-f]{4}|\{[0-9A-Fa-f]{1,6}\})/);
    }
    const control = controlEscapes[character];
    if (control !== undefined) return single(control);
    if (/^[A-Za-z1-9]$/.test(character)) this.#fail(`'\\${character}' is not supported`);
    return single(character.codePointAt(0) ?? 0);
  }

  #hex(shape: RegExp): CodePoints {
    const match = shape.exec(this.#characters.slice(this.#at, this.#at + 8).join(""));
    const code = match === null ? Number.NaN : Number.parseInt(match[0].replace(/[{}]/g, ""), 16);
    if (match === null || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) {
      this.#fail("an escape names no character");
    }
    this.#at += match[0].length;
    return single(code);
  }

  #peek(): string | undefined {
    return this.#characters[this.#at];
  }

  #next(problem = "it ends too early"): string {
    const character = this.#characters[this.#at++];
    return character ?? this.#fail(problem);
  }

  #take(character: string): boolean {
    if (this.#peek() !== character) return false;
    this.#at++;
    return true;
  }

  #fail(problem: string): never {
    throw new ToastError("invalid_request", `The regular expression cannot be used: ${problem} (at ${this.#at}).`);
  }
}

function single(codePoint: number): CodePoints {
  // Half of a surrogate pair is no character of any text.
  return allCodePoints.some(([from, to]) => codePoint >= from && codePoint <= to) ? [[codePoint, codePoint]] : [];
}

function singleOf(set: CodePoints): number | null {
  const [range] = set;
  return set.length === 1 && range !== undefined && range[0] === range[1] ? range[0] : null;
}
