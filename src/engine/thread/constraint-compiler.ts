import type { OutputConstraint } from "../../sampling/grammar/constraint.js";
import { GrammarCompiler } from "../../sampling/grammar/grammar-compiler.js";
import type { CompiledConstraint } from "../../sampling/grammar/matcher.js";
import { packVocabulary } from "../../sampling/grammar/vocabulary.js";
import type { LoadedModel } from "../load-model.js";

/** Compiles what requests bind their output to, which takes its time; a request may be cancelled meanwhile. */
export class ConstraintCompiler {
  readonly #model: LoadedModel;
  /** Made for the first request that constrains its output. */
  #grammars: GrammarCompiler | null = null;
  /** Requests whose constraints are being compiled. */
  readonly #compiling = new Set<string>();

  constructor(model: LoadedModel) {
    this.#model = model;
  }

  /** @throws ToastError for a constraint that cannot be honoured */
  async compile(requestId: string, constraint: OutputConstraint): Promise<CompiledConstraint | "cancelled"> {
    this.#compiling.add(requestId);
    this.#grammars ??= this.#makeGrammars();
    try {
      const compiled = await this.#grammars.compile(constraint);
      return this.#compiling.has(requestId) ? compiled : "cancelled";
    } finally {
      this.#compiling.delete(requestId);
    }
  }

  /** @returns whether the request's constraint was being compiled; `compile` then gives "cancelled". */
  cancel(requestId: string): boolean {
    return this.#compiling.delete(requestId);
  }

  /** What is being compiled is cancelled. */
  async close(): Promise<void> {
    this.#compiling.clear();
    await this.#grammars?.close();
  }

  /** With the tokens as the detokenizer writes them in the middle of a text. */
  #makeGrammars(): GrammarCompiler {
    const { tokenizer, folder } = this.#model;
    const { architecture, tokens } = folder.manifest;
    const bytesOf = (id: number) => (tokenizer.isSpecial(id) ? undefined : tokenizer.tokenBytes(id, "later"));
    const eosIds = tokens.eos.map(({ id }) => id);
    return new GrammarCompiler(packVocabulary(architecture.vocabSize, bytesOf, eosIds));
  }
}
