import { randomBytes } from "node:crypto";
import type { GenerationRequest } from "../engine/generation-request.js";
import { callMarkup } from "../text/tool-call-format.js";

/** Whether the text may hold calls of functions, to be told from it; `callsOrText` is one or the other as a whole. */
export type Reading = "text" | "calls" | "callsOrText";

export function readingOf({ constraint }: GenerationRequest): Reading {
  if (constraint?.kind === "tagsOr") return "callsOrText";
  return constraint?.kind === "tags" || constraint?.kind === "textWithTags" ? "calls" : "text";
}

/** A piece of an answer that may call functions. */
export type AnswerPart =
  | { readonly kind: "content"; readonly text: string }
  | { readonly kind: "callStart"; readonly index: number; readonly id: string; readonly name: string }
  /** More of the JSON text of a call's arguments. */
  | { readonly kind: "arguments"; readonly index: number; readonly text: string };

/** All of a call in front of its arguments, as the grammar of calls writes it; blanks as a model might. */
const opening = /^\s*\{\s*"name"\s*:\s*("(?:[^"\\]|\\.)*")\s*,\s*"arguments"\s*:\s*(?=\{)/;

type State =
  | /** Whatever comes is content. */ { readonly kind: "text" }
  | { readonly kind: "content" }
  /** Behind the opening tag, before the arguments. */
  | { readonly kind: "head" }
  | { readonly kind: "arguments"; depth: number; inString: boolean; escaped: boolean }
  /** Behind the arguments, before the closing tag has passed. */
  | { readonly kind: "tail" };

/**
 * Tells calls from content while the text arrives; whatever way it is cut, the parts joined are the same. No markup
 * ever becomes content: held back is what could be the beginning of a tag, and blanks that may turn out to stand beside
 * a call. What a text cut short leaves of a call without a name is dropped.
 */
export class ToolCallParser {
  readonly #newId: () => string;
  readonly #reading: Reading;
  #state: State = { kind: "content" };
  #held = "";
  #calls = 0;

  constructor(reading: Reading = "calls", newId: () => string = newCallId) {
    this.#reading = reading;
    this.#newId = newId;
    if (reading === "text") this.#state = { kind: "text" };
  }

  /** Calls begun so far. */
  get calls(): number {
    return this.#calls;
  }

  push(text: string): readonly AnswerPart[] {
    this.#held += text;
    const parts: AnswerPart[] = [];
    while (this.#advance(parts)) {}
    return parts;
  }

  /** The end of the text. */
  flush(): readonly AnswerPart[] {
    const text = this.#held;
    this.#held = "";
    if (this.#state.kind !== "content" || text === "") return [];
    // A tag that only just began is no content either; a text may well end in "<", one of nothing but calls does not.
    const plain = text.slice(0, text.length - beginningOf(callMarkup.open, text, this.#calls > 0 ? 1 : 5));
    return plain === "" || (this.#calls > 0 && plain.trim() === "") ? [] : [{ kind: "content", text: plain }];
  }

  /** @returns whether there may be more to do with what is held. */
  #advance(parts: AnswerPart[]): boolean {
    switch (this.#state.kind) {
      case "text":
        if (this.#held !== "") parts.push({ kind: "content", text: this.#held });
        this.#held = "";
        return false;
      case "content":
        if (this.#reading === "callsOrText" && this.#calls === 0 && !mayBegin(callMarkup.open, this.#held)) {
          this.#state = { kind: "text" };
          return true;
        }
        return this.#readContent(parts);
      case "head": {
        const match = opening.exec(this.#held);
        const name = match?.[1];
        if (match === null || name === undefined) return this.#skipTo(callMarkup.close, "only when complete");
        this.#held = this.#held.slice(match[0].length);
        parts.push({ kind: "callStart", index: this.#calls, id: this.#newId(), name: JSON.parse(name) as string });
        this.#calls++;
        this.#state = { kind: "arguments", depth: 0, inString: false, escaped: false };
        return true;
      }
      case "arguments":
        return this.#readArguments(this.#state, parts);
      case "tail":
        return this.#skipTo(callMarkup.close, "in any case");
    }
  }

  #readContent(parts: AnswerPart[]): boolean {
    const at = this.#held.indexOf(callMarkup.open);
    const isCall = at !== -1;
    const known = isCall
      ? this.#held.slice(0, at)
      : this.#held.slice(0, this.#held.length - beginningOf(callMarkup.open, this.#held, 1));
    // Blanks beside a call separate it from other things and are no content; whether one follows is not known at the
    // end.
    const text = known.trimEnd();
    if (text !== "") parts.push({ kind: "content", text: this.#held.slice(0, text.length) });
    if (isCall) {
      this.#held = this.#held.slice(at + callMarkup.open.length);
      this.#state = { kind: "head" };
      return true;
    }
    this.#held = this.#held.slice(text.length);
    return false;
  }

  #readArguments(state: Extract<State, { kind: "arguments" }>, parts: AnswerPart[]): boolean {
    let end = 0;
    let isComplete = false;
    while (end < this.#held.length && !isComplete) {
      const character = this.#held[end++];
      if (state.inString) {
        if (state.escaped) state.escaped = false;
        else if (character === "\\") state.escaped = true;
        else if (character === '"') state.inString = false;
      } else if (character === '"') state.inString = true;
      else if (character === "{" || character === "[") state.depth++;
      else if (character === "}" || character === "]") isComplete = --state.depth === 0;
    }
    if (end > 0) parts.push({ kind: "arguments", index: this.#calls - 1, text: this.#held.slice(0, end) });
    this.#held = this.#held.slice(end);
    if (isComplete) this.#state = { kind: "tail" };
    return isComplete;
  }

  #skipTo(tag: string, how: "in any case" | "only when complete"): boolean {
    const at = this.#held.indexOf(tag);
    if (at === -1) {
      if (how === "in any case") this.#held = this.#held.slice(this.#held.length - beginningOf(tag, this.#held, 1));
      return false;
    }
    this.#held = this.#held.slice(at + tag.length);
    this.#state = { kind: "content" };
    return true;
  }
}

function mayBegin(tag: string, text: string): boolean {
  return tag.startsWith(text.slice(0, tag.length));
}

/** @returns the length of the longest beginning of `tag`, of `least` characters or more, that `text` ends with. */
function beginningOf(tag: string, text: string, least: number): number {
  for (let length = Math.min(tag.length - 1, text.length); length >= least; length--) {
    if (text.endsWith(tag.slice(0, length))) return length;
  }
  return 0;
}

function newCallId(): string {
  return `call_${randomBytes(12).toString("hex")}`;
}
