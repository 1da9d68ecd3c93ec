import { logProbabilities } from "../../sampling/log-probabilities.js";
import type { TokenSteering } from "../../steering/token-steering.js";
import type { VectorProjection } from "../../steering/vector-stack.js";
import { IncrementalDetokenizer } from "../../text/incremental-detokenizer.js";
import type { Tokenizer } from "../../text/tokenizer.js";
import type { ReportRequest } from "../generation-request.js";
import type { TokenReport } from "../token-report.js";
import { type TokenFacts, tokenReport } from "./token-facts.js";

/**
 * The reports of a prompt, gathered while it is computed: chunk by chunk, so that a chunk's logits need not be kept.
 * What is computed again after a preemption is written in the same place.
 */
export class PromptReport {
  readonly #promptIds: readonly number[];
  readonly #wanted: ReportRequest;
  readonly #facts: TokenFacts[];

  constructor(promptIds: readonly number[], wanted: ReportRequest) {
    this.#promptIds = promptIds;
    this.#wanted = wanted;
    this.#facts = promptIds.map(() => ({ logprob: null, top: [], steering: null, vectors: [], draft: "none" }));
  }

  /** Whether the prompt's tokens have to be computed with their logits, from `promptLogprobsFrom` on. */
  get needsLogits(): boolean {
    return this.#wanted.promptLogprobs !== null;
  }

  /** @param logits float32 [T,V] of the tokens from `from` on; only read. @throws ToastError `engine_failed` */
  addLogits(from: number, logits: Float32Array, vocabSize: number): void {
    const top = this.#wanted.promptLogprobs;
    if (top === null) return;
    for (let t = 0; (t + 1) * vocabSize <= logits.length; t++) {
      const next = from + t + 1;
      const id = this.#promptIds[next];
      if (id === undefined) return;
      if (next < (this.#wanted.promptLogprobsFrom ?? 0)) continue;
      this.#add(next, logProbabilities(logits.subarray(t * vocabSize, (t + 1) * vocabSize), id, top));
    }
  }

  /** Of the tokens from `from` on. */
  addSteering(from: number, steering: readonly TokenSteering[]): void {
    for (const [index, of] of steering.entries()) this.#add(from + index, { steering: of });
  }

  /** Of the tokens from `from` on. */
  addVectors(from: number, vectors: readonly (readonly VectorProjection[])[]): void {
    for (const [index, of] of vectors.entries()) this.#add(from + index, { vectors: of });
  }

  /** The first run of at most `most` tokens of which no steering is known; null when there is none. */
  unsteered(most: number): { readonly from: number; readonly count: number } | null {
    const isMissing = ({ steering }: TokenFacts): boolean => steering === null;
    const from = this.#facts.findIndex(isMissing);
    if (from === -1) return null;
    const known = this.#facts.slice(from, from + most).findIndex((facts) => !isMissing(facts));
    return { from, count: known === -1 ? Math.min(most, this.#facts.length - from) : known };
  }

  /** The bytes of all are the prompt's text. */
  reports(tokenizer: Tokenizer): readonly TokenReport[] {
    const text = new IncrementalDetokenizer(tokenizer, []);
    return this.#promptIds.map((id, token) => {
      const report = tokenReport(id, this.#facts[token] as TokenFacts, text);
      text.push(id);
      return report;
    });
  }

  #add(token: number, facts: Partial<TokenFacts>): void {
    const known = this.#facts[token];
    if (known !== undefined) this.#facts[token] = { ...known, ...facts };
  }
}
