import { randomBytes } from "node:crypto";
import type { GenerationRequest } from "../engine/generation-request.js";
import { beginningOf, type CallMarkup } from "../text/call-spans.js";
import { type CallFormat, ownFormat } from "../text/tool-call-format.js";

/** Whether the text may hold calls of functions, to be told from it; `callsOrText` is one or the other as a whole. */
export type Reading = "text" | "calls" | "callsOrText";

export function readingOf({ constraint }: GenerationRequest): Reading {
  if (constraint?.kind === "tagsOr") return "callsOrText";
  return constraint?.kind === "tags" || constraint?.kind === "textWithTags" ? "calls" : "text";
}

/** How the calls stand that a constraint lets a text have; null: it has none. */
export function callMarkupOf(constraint: GenerationRequest["constraint"], format: CallFormat): CallMarkup | null {
  const { trigger } = format;
  switch (constraint?.kind) {
    case "tags":
      return { trigger, calls: constraint.tags, where: "nothingElse", format };
    case "textWithTags":
      return { trigger, calls: constraint.tags, where: "anywhere", format };
    case "tagsOr":
      return { trigger, calls: constraint.tags.tags, where: "fromStart", format };
    default:
      return null;
  }
}

/** A piece of an answer that may call functions. */
export type DeltaPart =
  | { readonly kind: "content"; readonly text: string }
  | { readonly kind: "callStart"; readonly index: number; readonly id: string; readonly name: string }
  /** More of the JSON text of a call's arguments. */
  | { readonly kind: "arguments"; readonly index: number; readonly text: string };

/** All of a call behind its trigger and in front of its arguments; blanks as a model might put them. */
function openingOf({ trigger, head, middle }: CallFormat): RegExp {
  const rest = loose(head.startsWith(trigger) ? head.slice(trigger.length) : "");
  return new RegExp(`^${rest}([\\w.-]+)${loose(middle)}(?=\\{)`);
}

function loose(text: string): string {
  const pieces = [...text].map((character) => {
    if (/\s/.test(character)) return "\\s*";
    const plain = character.replace(/[.*+?^${}()|[\]\\]/, "\\$&");
    return /[{}[\]:,]/.test(character) ? `\\s*${plain}\\s*` : plain;
  });
  return pieces.join("").replace(/(?:\\s\*)+/g, "\\s*");
}

/** What a call ends with: the last word of its end. */
function closeOf({ end }: CallFormat): string {
  return end.trim().split(/\s+/).at(-1) ?? "";
}

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
  readonly #trigger: string;
  readonly #opening: RegExp;
  readonly #close: string;
  readonly #reading: Reading;
  #state: State = { kind: "content" };
  #held = "";
  #calls = 0;

  constructor(reading: Reading = "calls", newId: () => string = newCallId, format: CallFormat = ownFormat) {
    this.#reading = reading;
    this.#trigger = format.trigger;
    this.#opening = openingOf(format);
    this.#close = closeOf(format);
    this.#newId = newId;
    if (reading === "text") this.#state = { kind: "text" };
  }

  /** Calls begun so far. */
  get calls(): number {
    return this.#calls;
  }

  push(text: string): readonly DeltaPart[] {
    this.#held += text;
    const parts: DeltaPart[] = [];
    while (this.#advance(parts)) {}
    return parts;
  }

  /** The end of the text. */
  flush(): readonly DeltaPart[] {
    const text = this.#held;
    this.#held = "";
    // What a tag has begun is no content; a name of an object may just be one.
    if (this.#state.kind === "head" && !this.#trigger.startsWith("<")) {
      return [{ kind: "content", text: this.#trigger + text }];
    }
    if (this.#state.kind !== "content" || text === "") return [];
    // A tag that only just began is no content either; a text may well end in "<", one of nothing but calls does not.
    const plain = text.slice(0, text.length - beginningOf(this.#trigger, text, this.#calls > 0 ? 1 : 5));
    return plain === "" || (this.#calls > 0 && plain.trim() === "") ? [] : [{ kind: "content", text: plain }];
  }

  /** @returns whether there may be more to do with what is held. */
  #advance(parts: DeltaPart[]): boolean {
    switch (this.#state.kind) {
      case "text":
        if (this.#held !== "") parts.push({ kind: "content", text: this.#held });
        this.#held = "";
        return false;
      case "content":
        if (this.#reading === "callsOrText" && this.#calls === 0 && !mayBegin(this.#trigger, this.#held)) {
          this.#state = { kind: "text" };
          return true;
        }
        return this.#readContent(parts);
      case "head": {
        const match = this.#opening.exec(this.#held);
        const name = match?.[1];
        if (match === null || name === undefined) return this.#skipTo(this.#close, "only when complete");
        this.#held = this.#held.slice(match[0].length);
        parts.push({ kind: "callStart", index: this.#calls, id: this.#newId(), name });
        this.#calls++;
        this.#state = { kind: "arguments", depth: 0, inString: false, escaped: false };
        return true;
      }
      case "arguments":
        return this.#readArguments(this.#state, parts);
      case "tail":
        return this.#skipTo(this.#close, "in any case");
    }
  }

  #readContent(parts: DeltaPart[]): boolean {
    const at = this.#held.indexOf(this.#trigger);
    const isCall = at !== -1;
    const known = isCall
      ? this.#held.slice(0, at)
      : this.#held.slice(0, this.#held.length - beginningOf(this.#trigger, this.#held, 1));
    // Blanks beside a call separate it from other things and are no content; whether one follows is not known at the
    // end.
    const text = known.trimEnd();
    if (text !== "") parts.push({ kind: "content", text: this.#held.slice(0, text.length) });
    if (isCall) {
      this.#held = this.#held.slice(at + this.#trigger.length);
      this.#state = { kind: "head" };
      return true;
    }
    this.#held = this.#held.slice(text.length);
    return false;
  }

  #readArguments(state: Extract<State, { kind: "arguments" }>, parts: DeltaPart[]): boolean {
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

function newCallId(): string {
  return `call_${randomBytes(12).toString("hex")}`;
}
