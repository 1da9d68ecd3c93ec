import { ToastError } from "../../errors.js";
import type { OutputConstraint } from "./constraint.js";
import { type GrammarSource, grammarSource } from "./grammar-source.js";
import { GrammarTrial } from "./grammar-trial.js";
import { type CompiledConstraint, Matcher } from "./matcher.js";
import { Utf8Guard } from "./utf8-guard.js";
import type { Vocabulary } from "./vocabulary.js";
import { type CompiledHandle, GrammarAbort, XgrammarInstance } from "./xgrammar.js";

/** Compiled grammars that are kept for the next request with the same one. */
const maxKept = 32;

interface Kept {
  readonly instance: XgrammarInstance;
  readonly compiled: CompiledHandle;
}

/**
 * Makes matchers of constraints, for one model. What a client sends is tried in another thread first (see GrammarTrial), because
 * compiling can hang, grow without measure or abort; only what passed is compiled here, where the sampler needs it.
 */
export class GrammarCompiler {
  readonly #vocabulary: Vocabulary;
  readonly #trial: GrammarTrial;
  readonly #guard: Utf8Guard;
  #instance: Promise<XgrammarInstance> | null = null;
  /** By source, the least recently used one first. */
  readonly #kept = new Map<string, Promise<Kept>>();

  constructor(vocabulary: Vocabulary, workerUrl: URL = new URL("./trial-worker.js", import.meta.url)) {
    this.#vocabulary = vocabulary;
    this.#guard = new Utf8Guard(vocabulary);
    this.#trial = new GrammarTrial(vocabulary, workerUrl);
  }

  /** @throws ToastError `invalid_request` with the constraint's `param`, `server_overloaded` */
  async compile(constraint: OutputConstraint): Promise<CompiledConstraint> {
    const source = grammarSource(constraint);
    const { param } = constraint;
    const { instance, compiled } = await this.#keep(source, param);
    return {
      matcher: () => new Matcher(instance, compiled, { guard: this.#guard, eosIds: this.#vocabulary.eosIds, param }),
    };
  }

  async close(): Promise<void> {
    await this.#trial.close();
  }

  async #keep(source: GrammarSource, param: string): Promise<Kept> {
    const key = `${source.kind} ${source.text}`;
    const known = this.#kept.get(key);
    if (known !== undefined) {
      this.#kept.delete(key);
      const kept = await known;
      if (!kept.instance.isBroken) {
        this.#kept.set(key, known);
        return kept;
      }
    }
    const made = this.#make(source, param);
    this.#kept.set(key, made);
    made.catch(() => this.#kept.delete(key));
    this.#dropOldest();
    return made;
  }

  async #make(source: GrammarSource, param: string): Promise<Kept> {
    const problem = await this.#trial.run(source);
    if (problem !== null) {
      throw new ToastError("invalid_request", `The grammar of the output ${problem}.`, { param });
    }
    const instance = await this.#openInstance();
    try {
      return { instance, compiled: instance.compile(source) };
    } catch (cause) {
      if (!(cause instanceof GrammarAbort)) throw cause;
      throw new ToastError("invalid_request", `The grammar of the output cannot be compiled: ${cause.message}.`, {
        param,
        cause,
      });
    }
  }

  async #openInstance(): Promise<XgrammarInstance> {
    const instance = await this.#instance;
    if (instance !== null && !instance.isBroken) return instance;
    this.#instance = XgrammarInstance.load(this.#vocabulary);
    return this.#instance;
  }

  /** Matchers that still use a dropped grammar keep what they need of it. */
  #dropOldest(): void {
    for (const [key, kept] of this.#kept) {
      if (this.#kept.size <= maxKept) return;
      this.#kept.delete(key);
      kept.then(({ compiled }) => compiled.delete()).catch(() => {});
    }
  }
}
