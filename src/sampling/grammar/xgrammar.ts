import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { compileFunction } from "node:vm";
import type { GrammarSource } from "./grammar-source.js";
import { unpackVocabulary, type Vocabulary } from "./vocabulary.js";

/** An object inside of the WebAssembly instance; its memory is freed by hand. */
interface Handle {
  delete(): void;
}

/** A grammar with the masks that are known before any text. */
export interface CompiledHandle extends Handle {
  readonly compiled: true;
}

interface MatcherHandle extends Handle {
  AcceptToken(id: number, verbose: boolean): boolean;
  GetNextTokenBitmask(vocabSize: number): Handle;
  IsTerminated(): boolean;
}

interface CompilerHandle extends Handle {
  CompileGrammar(grammar: Handle): CompiledHandle;
}

/** What is used of the module that the package makes; its own JavaScript around it is asynchronous throughout, which a sampler cannot be. */
interface Binding {
  readonly Grammar: { FromEBNF(text: string, root: string): Handle; FromStructuralTag(text: string): Handle };
  readonly TokenizerInfo: new (
    tokens: Handle,
    kind: "RAW",
    size: number,
    stopIds: Handle,
    prependSpace: boolean,
  ) => Handle;
  readonly GrammarCompiler: new (tokenizer: Handle, threads: number, cached: boolean) => CompilerHandle;
  readonly GrammarMatcher: new (
    compiled: Handle,
    stopIds: undefined,
    endsWithoutStop: boolean,
    maxRollback: number,
  ) => MatcherHandle;
  vecStringFromJSArray(tokens: readonly Uint8Array[]): Handle;
  vecIntFromJSArray(ids: readonly number[]): Handle;
  vecIntToView(vector: Handle): Int32Array;
}

interface PackageExports {
  readonly Grammar: { builtinJSONGrammar(): Promise<{ dispose(): void }> };
  readonly binding: () => Binding;
}

/** Bytes of one instance's memory at most: a grammar that unfolds without measure ends there, and not the process. */
const maxMemoryBytes = 512 * 2 ** 20;

const packageFile = fileURLToPath(import.meta.resolve("@mlc-ai/web-xgrammar"));
/** Where the package hands out its classes; the module behind them is handed out beside them. */
const lastExport = "exports.default = index;";

/**
 * XGrammar in a WebAssembly instance of its own, for one vocabulary: the only door to the package.
 *
 * The build knows no exceptions: whatever it refuses, a schema with a typing error too, it ends by aborting, with a line on its
 * standard error and its memory as it happened to be. Such an instance is not used again (`isBroken`).
 */
export class XgrammarInstance {
  readonly vocabSize: number;
  readonly #binding: Binding;
  readonly #compiler: CompilerHandle;
  readonly #complaints: string[];
  #isBroken = false;

  private constructor(binding: Binding, vocabulary: Vocabulary, complaints: string[]) {
    this.#binding = binding;
    this.#complaints = complaints;
    this.vocabSize = vocabulary.ends.length;
    const tokens = binding.vecStringFromJSArray(unpackVocabulary(vocabulary));
    const stopIds = binding.vecIntFromJSArray(vocabulary.eosIds);
    const tokenizer = new binding.TokenizerInfo(tokens, "RAW", this.vocabSize, stopIds, false);
    this.#compiler = new binding.GrammarCompiler(tokenizer, 1, false);
    for (const handle of [tokens, stopIds]) handle.delete();
  }

  static async load(vocabulary: Vocabulary): Promise<XgrammarInstance> {
    const complaints: string[] = [];
    const exports = instantiate(await readFile(packageFile, "utf8"), (line) => complaints.push(line));
    (await exports.Grammar.builtinJSONGrammar()).dispose();
    return new XgrammarInstance(exports.binding(), vocabulary, complaints);
  }

  /** After an abort. What was made before it may be used to its end, nothing new should be begun. */
  get isBroken(): boolean {
    return this.#isBroken;
  }

  /** @throws GrammarAbort */
  compile({ kind, text }: GrammarSource): CompiledHandle {
    return this.#guarded(() => {
      const { Grammar } = this.#binding;
      const grammar = kind === "ebnf" ? Grammar.FromEBNF(text, "root") : Grammar.FromStructuralTag(text);
      const compiled = this.#compiler.CompileGrammar(grammar);
      grammar.delete();
      return compiled;
    });
  }

  /** The beginning of a text of the grammar. @throws GrammarAbort */
  match(compiled: CompiledHandle): MatcherHandle {
    return this.#guarded(() => new this.#binding.GrammarMatcher(compiled, undefined, false, -1));
  }

  /** @param mask int32 [⌈V/32⌉], overwritten: a set bit is a token that may come next. @throws GrammarAbort */
  fillMask(matcher: MatcherHandle, mask: Int32Array): void {
    this.#guarded(() => {
      const vector = matcher.GetNextTokenBitmask(this.vocabSize);
      mask.set(this.#binding.vecIntToView(vector));
      vector.delete();
    });
  }

  /** @returns whether the token was allowed. @throws GrammarAbort */
  accept(matcher: MatcherHandle, tokenId: number): boolean {
    return this.#guarded(() => matcher.AcceptToken(tokenId, false));
  }

  #guarded<Result>(call: () => Result): Result {
    this.#complaints.length = 0;
    try {
      return call();
    } catch (cause) {
      this.#isBroken = true;
      const reason = this.#complaints.find((line) => line.startsWith("[FATAL]"));
      throw new GrammarAbort(reason?.replace(/^\[FATAL\] \S+: /, "") ?? null, { cause });
    }
  }
}

/** XGrammar gave up. `message` is what it said, its own source lines left out. */
export class GrammarAbort extends Error {
  /** Null where it said nothing: out of memory, or too deep. */
  readonly reason: string | null;

  constructor(reason: string | null, options: { cause: unknown }) {
    super(reason ?? "the grammar needs too much memory or is nested too deep", options);
    this.reason = reason;
  }
}

/**
 * Runs the package's one file as a function, because Node cannot load it: it is CommonJS by its contents and a module by its
 * package.json. Without a `process` it touches neither files nor the process (the WebAssembly is part of the text), and its
 * `console` is ours, since an abort says its reason there and nowhere else.
 */
function instantiate(source: string, say: (line: string) => void): PackageExports {
  if (!source.includes(lastExport))
    throw new Error(`${packageFile} is not the build of XGrammar that this server knows`);
  const text = source.replace(lastExport, `${lastExport} exports.binding = () => binding;`);
  const run = compileFunction(text, ["exports", "module", "process", "location", "console", "WebAssembly"], {
    filename: packageFile,
  }) as (...environment: readonly unknown[]) => void;
  const exports = {};
  const log = (...words: readonly unknown[]) => say(words.join(" "));
  const console = { log, warn: log, error: log };
  run(exports, { exports }, undefined, { href: "file:///xgrammar.js" }, console, boundedWebAssembly);
  return exports as PackageExports;
}

interface Memory {
  readonly buffer: ArrayBuffer;
  grow(pages: number): number;
}

/** Of the global object; its types come with those of browsers, which are not at home here. */
const webAssembly = Reflect.get(globalThis, "WebAssembly") as {
  readonly Module: unknown;
  readonly Instance: unknown;
  readonly RuntimeError: unknown;
  readonly Memory: new () => Memory;
  instantiate(
    bytes: Uint8Array,
    imports: object,
  ): Promise<{ readonly instance: { readonly exports: Record<string, unknown> } }>;
};

/** WebAssembly whose memory does not grow beyond {@link maxMemoryBytes}: an allocation fails instead. */
const boundedWebAssembly = {
  Module: webAssembly.Module,
  Instance: webAssembly.Instance,
  RuntimeError: webAssembly.RuntimeError,
  async instantiate(bytes: Uint8Array, imports: object) {
    const result = await webAssembly.instantiate(bytes, imports);
    for (const memory of Object.values(result.instance.exports)) {
      if (!(memory instanceof webAssembly.Memory)) continue;
      const grow = memory.grow.bind(memory);
      memory.grow = (pages) => {
        if (memory.buffer.byteLength + pages * 65_536 > maxMemoryBytes)
          throw new RangeError("the grammar is too large");
        return grow(pages);
      };
    }
    return result;
  },
};
