import { type CallMarkup, CallSpans } from "../../text/call-spans.js";
import { IncrementalDetokenizer } from "../../text/incremental-detokenizer.js";
import { type StopMatch, StopMatcher } from "../../text/stop-matcher.js";
import type { Tokenizer } from "../../text/tokenizer.js";
import type { FinishReason } from "../engine.js";
import type { TokenReport } from "../token-report.js";
import { ReportQueue, unfinishedCharacter } from "./report-queue.js";
import { type TokenFacts, tokenReport } from "./token-facts.js";

/** What one more token means for the client. */
export interface ProcessedToken {
  /** Text that is final now; empty while a character or a stop string may still be coming. */
  readonly text: string;
  /** Tokens behind `text`, the held ones before it included. */
  readonly tokens: number;
  /**
   * Of the tokens whose text is all out; empty when none are asked for. Their bytes, over all that is processed, are
   * the text (behind an unfinished character of the prompt: the rest of it). The token that ends the text is not part
   * of it. Where `text` is empty and this is not, the text has ended: with tokens that have none.
   */
  readonly reports: readonly TokenReport[];
  /** Of the tokens behind `text` and, at the end, of all that were sampled since; empty when none are asked for. */
  readonly ids: readonly number[];
  readonly finished: Exclude<FinishReason, "cancelled"> | null;
}

/** Sampled ids → text: end of sequence, detokenizing, stop strings, length. One for each running sequence. */
export class OutputProcessor {
  readonly #detokenizer: IncrementalDetokenizer;
  readonly #stopMatcher: StopMatcher;
  /** Null where there are no calls, or no stop strings to keep out of them. */
  readonly #spans: CallSpans | null;
  readonly #keepsStop: boolean;
  /** Tokens that end the text and, where stops are kept, are part of it. */
  readonly #stopTokenIds: ReadonlySet<number>;
  readonly #endIds: ReadonlySet<number>;
  readonly #minTokens: number;
  readonly #maxTokens: number;
  readonly #reports: ReportQueue;
  /** Of tokens that are not told yet; null where they are not to be. */
  readonly #ids: number[] | null;
  #tokens = 0;
  #counted = 0;

  constructor(
    tokenizer: Tokenizer,
    request: {
      readonly textContext: readonly number[];
      readonly stopStrings: readonly string[];
      readonly keepsStop?: boolean;
      readonly calls?: CallMarkup | null;
      readonly skipsSpecialTokens?: boolean;
      readonly stopTokenIds?: readonly number[];
      readonly minTokens: number;
      readonly maxTokens: number;
      readonly report?: { readonly tokenIds?: boolean };
    },
    endIds: ReadonlySet<number>,
  ) {
    this.#detokenizer = new IncrementalDetokenizer(tokenizer, request.textContext, {
      skipSpecialTokens: request.skipsSpecialTokens ?? true,
    });
    const context = request.textContext.flatMap((id) => [...this.#detokenizer.bytesOf(id)]);
    this.#reports = new ReportQueue(unfinishedCharacter(Uint8Array.from(context)));
    this.#stopMatcher = new StopMatcher(request.stopStrings);
    const calls = request.calls ?? null;
    this.#spans = calls === null || request.stopStrings.length === 0 ? null : new CallSpans(calls);
    this.#keepsStop = request.keepsStop ?? false;
    this.#stopTokenIds = new Set(this.#keepsStop ? request.stopTokenIds : []);
    this.#endIds = endIds;
    this.#minTokens = request.minTokens;
    this.#maxTokens = request.maxTokens;
    this.#ids = request.report?.tokenIds === true ? [] : null;
  }

  /** Tokens sampled so far. */
  get tokens(): number {
    return this.#tokens;
  }

  /**
   * @param facts what to report of the token; null when nothing was asked for.
   * @param place `last`: the text is complete with this token, as its grammar has it.
   */
  push(tokenId: number, facts: TokenFacts | null, place: "within" | "last" = "within"): ProcessedToken {
    this.#tokens++;
    this.#ids?.push(tokenId);
    const isEnd = this.#endIds.has(tokenId);
    if (isEnd && !this.#stopTokenIds.has(tokenId)) return this.#end("", "stop");
    if (facts !== null) this.#reports.push(tokenReport(tokenId, facts, this.#detokenizer));
    const { emit, stopped } = this.#match(this.#detokenizer.push(tokenId));
    if (stopped !== null) return this.#emit(emit, this.#reports.cut(emit), "stop");
    if (place === "last" || isEnd) return this.#end(emit, "stop");
    if (this.#tokens >= this.#maxTokens) return this.#end(emit, "length");
    return this.#emit(emit, this.#reports.take(emit), null);
  }

  /** Nothing more comes: what was held back is text after all, unless it completes a stop string. */
  #end(text: string, finished: "stop" | "length"): ProcessedToken {
    const last = this.#match(this.#detokenizer.flush(), "end");
    const whole = text + last.emit;
    if (last.stopped !== null) return this.#emit(whole, this.#reports.cut(whole), "stop");
    return this.#emit(whole + this.#stopMatcher.flush(), this.#reports.flush(), finished);
  }

  /** @param place `end`: what may yet have become a call is none. */
  #match(text: string, place: "within" | "end" = "within"): StopMatch {
    if (this.#spans === null) return this.#matchSpan(text, false);
    let emit = "";
    for (const span of [...this.#spans.push(text), ...(place === "end" ? this.#spans.flush() : [])]) {
      const match = this.#matchSpan(span.text, span.isCall);
      emit += match.emit;
      if (match.stopped !== null) return { emit, stopped: match.stopped };
    }
    return { emit, stopped: null };
  }

  /** A stop string counts where it ends behind the tokens that there have to be (vLLM, v1/engine/detokenizer.py). */
  #matchSpan(text: string, isCall: boolean): StopMatch {
    if (isCall) return this.#stopMatcher.skip(text);
    const match = this.#tokens <= this.#minTokens ? this.#stopMatcher.pass(text) : this.#stopMatcher.push(text);
    return match.stopped !== null && this.#keepsStop ? { ...match, emit: match.emit + match.stopped } : match;
  }

  #emit(text: string, reports: readonly TokenReport[], finished: ProcessedToken["finished"]): ProcessedToken {
    if (text === "" && reports.length === 0) {
      return { text, tokens: 0, reports, ids: finished === null ? [] : this.#takeIds(), finished };
    }
    const tokens = this.#tokens - this.#counted;
    this.#counted = this.#tokens;
    return { text, tokens, reports, ids: this.#takeIds(), finished };
  }

  #takeIds(): readonly number[] {
    return this.#ids?.splice(0) ?? [];
  }
}
