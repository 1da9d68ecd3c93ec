import { ToastError } from "../../errors.js";
import type { LogitsProcessor } from "../draw-rules.js";
import { allowsOnly, isEmpty, maskLogits, type TokenMask } from "./token-mask.js";
import { betweenCharacters, type Utf8Guard } from "./utf8-guard.js";
import { type CompiledHandle, GrammarAbort, type XgrammarInstance } from "./xgrammar.js";

/** Milliseconds that a text may cost for each of its tokens, on average; and what it may cost in the beginning. */
const patience = { perTokenMs: 30, atOnceMs: 5_000 } as const;

/** A grammar, ready for any number of texts. */
export interface CompiledConstraint {
  /** For one text, from its beginning; to be disposed of. */
  matcher(): Matcher;
}

/**
 * How far one text has come in its grammar. The mask of a place is computed once, whoever asks: a draft is drawn under the same one as
 * the token that decides about it, since both come after the same known tokens.
 */
export class Matcher implements LogitsProcessor {
  readonly active = true;
  readonly #instance: XgrammarInstance;
  readonly #handle: ReturnType<XgrammarInstance["match"]>;
  readonly #guard: Utf8Guard;
  readonly #eosIds: readonly number[];
  readonly #param: string;
  readonly #mask: TokenMask;
  #isMaskKnown = false;
  #state: "open" | "ended" | "disposed" = "open";
  #utf8 = betweenCharacters;
  #tokens = 0;
  #spentMs = 0;

  constructor(
    instance: XgrammarInstance,
    compiled: CompiledHandle,
    { guard, eosIds, param }: { readonly guard: Utf8Guard; readonly eosIds: readonly number[]; readonly param: string },
  ) {
    this.#instance = instance;
    this.#handle = instance.match(compiled);
    this.#guard = guard;
    this.#eosIds = eosIds;
    this.#param = param;
    this.#mask = new Int32Array(Math.ceil(instance.vocabSize / 32));
  }

  /** Nothing more may come: the text ends here, whether or not a token says so. */
  get isComplete(): boolean {
    return this.#state === "ended" || allowsOnly(this.mask(), this.#eosIds);
  }

  /**
   * @returns a view, valid until the next `append`.
   * @throws ToastError `invalid_request` where the grammar has led into a dead end or costs too much, `engine_failed`
   */
  mask(): TokenMask {
    if (this.#isMaskKnown) return this.#mask;
    this.#timed(() => this.#instance.fillMask(this.#handle, this.#mask));
    this.#guard.restrict(this.#mask, this.#utf8);
    this.#isMaskKnown = true;
    if (isEmpty(this.#mask)) this.#refuse("leads to a place from which no text goes on");
    return this.#mask;
  }

  /** @param logits [V] float32; −∞ for whatever the grammar does not allow here. */
  apply(logits: Float32Array): void {
    maskLogits(logits, this.mask());
  }

  append(tokenId: number): void {
    const isAccepted = this.#timed(() => this.#instance.accept(this.#handle, tokenId));
    if (!isAccepted)
      throw new ToastError("engine_failed", `Token ${tokenId} was drawn, which the grammar does not allow.`);
    this.#tokens++;
    this.#utf8 = this.#guard.append(this.#utf8, tokenId);
    this.#isMaskKnown = false;
    if (this.#handle.IsTerminated()) this.#state = "ended";
  }

  /** Frees what it holds outside of the garbage collector's reach. Safe to call again. */
  dispose(): void {
    if (this.#state !== "disposed") this.#handle.delete();
    this.#state = "disposed";
  }

  #timed<Result>(call: () => Result): Result {
    const startedAt = performance.now();
    let result: Result;
    try {
      result = call();
    } catch (cause) {
      if (!(cause instanceof GrammarAbort)) throw cause;
      throw new ToastError("engine_failed", `The grammar engine stopped: ${cause.message}.`, { cause });
    }
    this.#spentMs += performance.now() - startedAt;
    if (this.#spentMs > patience.atOnceMs + patience.perTokenMs * this.#tokens) {
      this.#refuse("takes too long for each token: parts that repeat within parts that repeat are the usual cause");
    }
    return result;
  }

  #refuse(problem: string): never {
    throw new ToastError("invalid_request", `The grammar of the output ${problem}.`, { param: this.#param });
  }
}
