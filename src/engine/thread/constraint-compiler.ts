import type { OutputConstraint } from "../../grammar/constraint.js";
import { GrammarCompiler } from "../../grammar/grammar-compiler.js";
import type { CompiledConstraint } from "../../grammar/matcher.js";
import { packVocabulary } from "../../grammar/vocabulary.js";
import type { LoadedModel } from "../load-model.js";

/** Compiles what requests bind their output to, in the vocabulary of one model. */
export class ConstraintCompiler {
  readonly #model: LoadedModel;
  /** Made for the first request that constrains its output. */
  #grammars: GrammarCompiler | null = null;

  constructor(model: LoadedModel) {
    this.#model = model;
  }

  /** @throws ToastError for a constraint that cannot be honoured */
  compile(constraint: OutputConstraint): CompiledConstraint {
    this.#grammars ??= this.#makeGrammars();
    return this.#grammars.compile(constraint);
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
