import type { CallFormat } from "./tool-call-format.js";

/** How calls stand in a text: what begins as `trigger` does is one of the calls, whose arguments are a JSON object. */
export interface CallMarkup {
  readonly trigger: string;
  /** All of a call in front of its arguments, and all behind them. */
  readonly calls: readonly { readonly begin: string; readonly end: string }[];
  /** `fromStart`: a text that does not begin with a call has none. */
  readonly where: "anywhere" | "fromStart" | "nothingElse";
  /** Absent: our own. */
  readonly format?: CallFormat;
}

/** A piece of a text: of a call with its markup, or of what stands beside calls. */
export interface Span {
  readonly text: string;
  readonly isCall: boolean;
}

type State =
  | { readonly kind: "text" }
  /** Within what stands in front of a call's arguments; `read` of it is known. */
  | { readonly kind: "begin"; read: string }
  | { readonly kind: "arguments"; readonly end: string; depth: number; inString: boolean; escaped: boolean }
  | { readonly kind: "end"; left: number };

/**
 * Parts a text, while it arrives, into calls and what is none. Held back is what could be the beginning of a call. The
 * spans joined are the text.
 */
export class CallSpans {
  readonly #markup: CallMarkup;
  #state: State = { kind: "text" };
  #held = "";
  #mayCall = true;
  #hasCalled = false;

  constructor(markup: CallMarkup) {
    this.#markup = markup;
  }

  push(text: string): readonly Span[] {
    const spans: Span[] = [];
    this.#held += text;
    for (;;) {
      const span = this.#next();
      if (span === null) return spans;
      if (span.text !== "") spans.push(span);
    }
  }

  /** The end of the text. */
  flush(): readonly Span[] {
    const text = this.#held;
    this.#held = "";
    return text === "" ? [] : [{ text, isCall: this.#state.kind !== "text" }];
  }

  /** @returns null when what is held has to wait for more. */
  #next(): Span | null {
    if (this.#held === "") return null;
    switch (this.#state.kind) {
      case "text":
        return this.#readText();
      case "begin":
        return this.#readBegin(this.#state);
      case "arguments":
        return this.#readArguments(this.#state);
      case "end":
        return this.#readEnd(this.#state);
    }
  }

  #readText(): Span | null {
    const { trigger, where } = this.#markup;
    if (!this.#mayCall) return this.#take(this.#held.length, where === "nothingElse");
    const at = this.#held.indexOf(trigger);
    if (where === "fromStart" && !this.#hasCalled && at !== 0 && !trigger.startsWith(this.#held)) this.#mayCall = false;
    if (at === -1) {
      const free = this.#held.length - beginningOf(trigger, this.#held);
      return free === 0 ? null : this.#take(free, this.#isMarkup());
    }
    if (at > 0) return this.#take(at, this.#isMarkup());
    this.#hasCalled = true;
    this.#state = { kind: "begin", read: "" };
    return { text: "", isCall: true };
  }

  /** Whether what stands beside calls is the separator between them. */
  #isMarkup(): boolean {
    return this.#markup.where === "nothingElse" || (this.#markup.where === "fromStart" && this.#hasCalled);
  }

  #readBegin(state: Extract<State, { kind: "begin" }>): Span {
    for (let end = 1; end <= this.#held.length; end++) {
      const read = state.read + this.#held.slice(0, end);
      const call = this.#markup.calls.find(({ begin }) => begin === read);
      if (call === undefined) continue;
      this.#state = { kind: "arguments", end: call.end, depth: 0, inString: false, escaped: false };
      return this.#take(end, true);
    }
    state.read += this.#held;
    return this.#take(this.#held.length, true);
  }

  #readArguments(state: Extract<State, { kind: "arguments" }>): Span {
    for (let at = 0; at < this.#held.length; at++) {
      const character = this.#held[at];
      if (state.escaped) state.escaped = false;
      else if (state.inString) {
        if (character === "\\") state.escaped = true;
        else if (character === '"') state.inString = false;
      } else if (character === '"') state.inString = true;
      else if (character === "{" || character === "[") state.depth++;
      else if ((character === "}" || character === "]") && --state.depth === 0) {
        this.#state = state.end === "" ? { kind: "text" } : { kind: "end", left: state.end.length };
        return this.#take(at + 1, true);
      }
    }
    return this.#take(this.#held.length, true);
  }

  #readEnd(state: Extract<State, { kind: "end" }>): Span {
    const length = Math.min(state.left, this.#held.length);
    state.left -= length;
    if (state.left === 0) this.#state = { kind: "text" };
    return this.#take(length, true);
  }

  #take(length: number, isCall: boolean): Span {
    const text = this.#held.slice(0, length);
    this.#held = this.#held.slice(length);
    return { text, isCall };
  }
}

/** @returns the length of the longest beginning of `word` that `text` ends with. */
export function beginningOf(word: string, text: string, least = 1): number {
  for (let length = Math.min(word.length - 1, text.length); length >= least; length--) {
    if (text.endsWith(word.slice(0, length))) return length;
  }
  return 0;
}
