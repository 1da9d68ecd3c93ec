import type { Normalizer } from "./normalizer.js";
import { whiteSpace, wordCharacter } from "./patterns.js";
import type { AddedTokenSpecification } from "./specification.js";

/** A stretch of a text: a token that stands in it, or what lies between tokens. */
export type Section =
  | { readonly kind: "token"; readonly id: number }
  | { readonly kind: "text"; readonly text: string; readonly start: number };

const wordBefore = new RegExp(`${wordCharacter}$`, "u");
const wordBehind = new RegExp(`^${wordCharacter}`, "u");
const spaceBefore = new RegExp(`(?<!${whiteSpace})${whiteSpace}+$`, "u");
const spaceBehind = new RegExp(`^${whiteSpace}+`, "u");

interface Node {
  readonly next: Map<string, Node>;
  token: AddedTokenSpecification | null;
}

/** Finds tokens that stand in a text as they are written, the longest at the first place. */
export class AddedTokens {
  readonly #root: Node = { next: new Map(), token: null };
  readonly #isEmpty: boolean;

  /** @param normalize what is done to their texts, as it is to the text that they are looked for in */
  constructor(tokens: readonly AddedTokenSpecification[], normalize: Normalizer | null) {
    for (const token of tokens) {
      let node = this.#root;
      for (const unit of units(normalize?.(token.content) ?? token.content)) {
        let next = node.next.get(unit);
        if (next === undefined) {
          next = { next: new Map(), token: null };
          node.next.set(unit, next);
        }
        node = next;
      }
      // The first of two that read the same.
      if (node !== this.#root) node.token ??= token;
    }
    this.#isEmpty = this.#root.next.size === 0;
  }

  split(text: string): readonly Section[] {
    if (this.#isEmpty) return [{ kind: "text", text, start: 0 }];
    const sections: Section[] = [];
    let done = 0;
    const add = (token: AddedTokenSpecification, from: number, to: number): void => {
      const before = token.lstrip === true ? (spaceBefore.exec(text.slice(0, from))?.[0].length ?? 0) : 0;
      const behind = token.rstrip === true ? (spaceBehind.exec(text.slice(to))?.[0].length ?? 0) : 0;
      const start = Math.max(from - before, done);
      if (start > done) sections.push({ kind: "text", text: text.slice(done, start), start: done });
      sections.push({ kind: "token", id: token.id });
      done = to + behind;
    };
    for (let at = 0; at < text.length; ) {
      const found = this.#longestAt(text, at);
      if (found === null) at++;
      else {
        // Where it is no word of its own, nothing else is looked for in its place.
        if (found.token.single_word !== true || standsAlone(text, at, found.end)) add(found.token, at, found.end);
        at = found.end;
      }
    }
    if (done < text.length) sections.push({ kind: "text", text: text.slice(done), start: done });
    return sections;
  }

  #longestAt(text: string, start: number): { token: AddedTokenSpecification; end: number } | null {
    let found: { token: AddedTokenSpecification; end: number } | null = null;
    let node = this.#root.next.get(text.charAt(start));
    for (let at = start + 1; node !== undefined; at++) {
      if (node.token !== null) found = { token: node.token, end: at };
      if (at >= text.length) break;
      node = node.next.get(text.charAt(at));
    }
    return found;
  }
}

function standsAlone(text: string, from: number, to: number): boolean {
  return !wordBefore.test(text.slice(0, from)) && !wordBehind.test(text.slice(to));
}

function units(text: string): readonly string[] {
  return text.split("");
}
