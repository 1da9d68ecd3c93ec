import { ToastError } from "../../errors.js";
import type { OutputConstraint } from "../../grammar/constraint.js";
import { constraintRules } from "../../grammar/constraint-rules.js";
import type { Rules } from "../../grammar/expression.js";
import { type Compilation, GrammarCompiler } from "../../grammar/grammar-compiler.js";
import type { CompiledConstraint } from "../../grammar/matcher.js";
import { packVocabulary, type Vocabulary } from "../../grammar/vocabulary.js";
import type { BackboneManifest } from "../../model/manifest.js";
import type { Tokenizer } from "../../text/tokenizer.js";
import type { LoadedModel } from "../load-model.js";
import { FairTurns, mayWait, type TurnTaker } from "../loop/fair-turns.js";
import type { Asker } from "./long-work.js";

/** Of a forward's time or less, between two of them. */
const sliceMs = 10;
/** Grammars that may be on their way; more are told to come back, but for who has less than his share. */
const mostCompiling = 64;

interface Job extends TurnTaker {
  readonly constraint: OutputConstraint;
  readonly compilation: Compilation;
  resolve(compiled: CompiledConstraint): void;
  reject(error: unknown): void;
}

/** The tokens as the detokenizer writes them in the middle of a text. */
export function vocabularyOf(tokenizer: Tokenizer, { architecture, tokens }: BackboneManifest): Vocabulary {
  const bytesOf = (id: number) => (tokenizer.isSpecial(id) ? undefined : tokenizer.tokenBytes(id, "later"));
  const eosIds = tokens.eos.map(({ id }) => id);
  return packVocabulary(architecture.vocabSize, bytesOf, eosIds);
}

/**
 * Compiles what requests bind their output to, in the vocabulary of one model, in slices between the forwards: one that
 * takes long keeps streams waiting no longer than a slice, and other grammars no longer than a turn. Turns go round
 * between callers; what is not wanted any more leaves.
 */
export class GrammarQueue {
  readonly #compiler: GrammarCompiler;
  readonly #turns = new FairTurns();
  readonly #jobs: Job[] = [];
  #isScheduled = false;

  constructor({ tokenizer, folder }: LoadedModel) {
    this.#compiler = new GrammarCompiler(vocabularyOf(tokenizer, folder.manifest));
  }

  /** @returns what was compiled before; null: it has to be. */
  find(constraint: OutputConstraint): CompiledConstraint | null {
    return this.#compiler.find(constraint);
  }

  /** At once. @throws ToastError `invalid_request` with the constraint's `param` */
  read(constraint: OutputConstraint): Rules {
    return constraintRules(constraint);
  }

  /**
   * @param rules of the constraint.
   * @throws ToastError `invalid_request` for a constraint that cannot be honoured; `server_overloaded`; the signal's
   * reason
   */
  compile(
    constraint: OutputConstraint,
    rules: Rules,
    { caller, requestId, signal }: Asker,
  ): CompiledConstraint | Promise<CompiledConstraint> {
    signal.throwIfAborted();
    const compilation = this.#compiler.begin(constraint, rules);
    // Most are done within a slice; where others wait it is not this one's turn.
    const compiled = this.#jobs.length === 0 ? compilation.advance(sliceMs) : null;
    return compiled ?? this.#wait(constraint, compilation, { caller, requestId, signal });
  }

  close(): void {
    for (const { reject } of this.#jobs.splice(0)) {
      reject(new ToastError("server_draining", "The server is shutting down."));
    }
  }

  async #wait(
    constraint: OutputConstraint,
    compilation: Compilation,
    { caller, requestId, signal }: Asker,
  ): Promise<CompiledConstraint> {
    if (!mayWait(this.#jobs, { caller }, mostCompiling)) {
      const message = `${this.#jobs.length} grammars are being compiled already. Try again in a moment.`;
      throw new ToastError("server_overloaded", message);
    }
    let leave = () => {};
    try {
      return await new Promise<CompiledConstraint>((resolve, reject) => {
        const job: Job = { constraint, compilation, caller, requestId, resolve, reject };
        leave = () => {
          this.#remove(job);
          reject(signal.reason);
        };
        signal.addEventListener("abort", leave, { once: true });
        this.#jobs.push(job);
        this.#schedule();
      });
    } finally {
      signal.removeEventListener("abort", leave);
    }
  }

  #schedule(): void {
    if (this.#isScheduled || this.#jobs.length === 0) return;
    this.#isScheduled = true;
    setImmediate(() => {
      this.#isScheduled = false;
      this.#slice();
      this.#schedule();
    });
  }

  /**
   * One slice of one grammar. Of each caller's the first one goes on until it is done: what a grammar has found so far
   * takes memory.
   */
  #slice(): void {
    const job = this.#turns.next(this.#jobs, []);
    if (job === null) return;
    this.#turns.took(job);
    try {
      // Another request may have had the same.
      const compiled = this.#compiler.find(job.constraint) ?? job.compilation.advance(sliceMs);
      if (compiled === null) return;
      this.#remove(job);
      job.resolve(compiled);
    } catch (cause) {
      this.#remove(job);
      job.reject(cause);
    }
  }

  #remove(job: Job): void {
    const at = this.#jobs.indexOf(job);
    if (at !== -1) this.#jobs.splice(at, 1);
  }
}
