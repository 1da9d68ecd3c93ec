import { IncrementalDetokenizer } from "../text/incremental-detokenizer.js";
import { StopMatcher } from "../text/stop-matcher.js";
import type { Tokenizer } from "../text/tokenizer.js";
import type { FinishReason } from "./messages.js";

/** What one more token means for the client. */
export interface ProcessedToken {
  /** Text that is final now; empty while a character or a stop string may still be coming. */
  readonly text: string;
  /** Tokens behind `text`, the held ones before it included. */
  readonly tokens: number;
  readonly finished: Exclude<FinishReason, "cancelled"> | null;
}

/** Sampled ids → text: end of sequence, detokenizing, stop strings, length. One for each running sequence. */
export class OutputProcessor {
  readonly #detokenizer: IncrementalDetokenizer;
  readonly #stopMatcher: StopMatcher;
  readonly #eosIds: ReadonlySet<number>;
  readonly #maxTokens: number;
  #tokens = 0;
  #reported = 0;

  constructor(
    tokenizer: Tokenizer,
    request: {
      readonly textContext: readonly number[];
      readonly stopStrings: readonly string[];
      readonly maxTokens: number;
    },
    eosIds: ReadonlySet<number>,
  ) {
    this.#detokenizer = new IncrementalDetokenizer(tokenizer, request.textContext);
    this.#stopMatcher = new StopMatcher(request.stopStrings);
    this.#eosIds = eosIds;
    this.#maxTokens = request.maxTokens;
  }

  /** Tokens sampled so far. */
  get tokens(): number {
    return this.#tokens;
  }

  push(tokenId: number): ProcessedToken {
    this.#tokens++;
    if (this.#eosIds.has(tokenId)) return this.#end("", "stop");
    const { emit, stopped } = this.#stopMatcher.push(this.#detokenizer.push(tokenId));
    if (stopped !== null) return this.#report(emit, "stop");
    if (this.#tokens >= this.#maxTokens) return this.#end(emit, "length");
    return this.#report(emit, null);
  }

  /** Nothing more comes: what was held back is text after all, unless it completes a stop string. */
  #end(text: string, finished: "stop" | "length"): ProcessedToken {
    const last = this.#stopMatcher.push(this.#detokenizer.flush());
    if (last.stopped !== null) return this.#report(text + last.emit, "stop");
    return this.#report(text + last.emit + this.#stopMatcher.flush(), finished);
  }

  #report(text: string, finished: ProcessedToken["finished"]): ProcessedToken {
    if (text === "") return { text, tokens: 0, finished };
    const tokens = this.#tokens - this.#reported;
    this.#reported = this.#tokens;
    return { text, tokens, finished };
  }
}
