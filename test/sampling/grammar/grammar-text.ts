import { fileURLToPath } from "node:url";
import type { OutputConstraint } from "../../../src/sampling/grammar/constraint.js";
import { grammarSource } from "../../../src/sampling/grammar/grammar-source.js";
import { Matcher } from "../../../src/sampling/grammar/matcher.js";
import { isAllowed } from "../../../src/sampling/grammar/token-mask.js";
import { Utf8Guard } from "../../../src/sampling/grammar/utf8-guard.js";
import { packVocabulary, type Vocabulary } from "../../../src/sampling/grammar/vocabulary.js";
import { XgrammarInstance } from "../../../src/sampling/grammar/xgrammar.js";
import { Tokenizer } from "../../../src/text/tokenizer.js";

export const eosId = 2;

/** The default model's vocabulary: pieces of words, and all bytes. */
export async function tinyVocabulary(): Promise<Vocabulary> {
  const path = fileURLToPath(new URL("../../../models/toast-tiny/tokenizer.json", import.meta.url));
  const tokenizer = await Tokenizer.fromFile(path);
  const bytesOf = (id: number) => (tokenizer.isSpecial(id) ? undefined : tokenizer.tokenBytes(id, "later"));
  return packVocabulary(tokenizer.vocabSize, bytesOf, [eosId]);
}

/** Every byte a token of its own: masks say which byte may come next. The end of sequence comes behind them. */
export function byteVocabulary(): Vocabulary {
  return packVocabulary(257, (id) => (id < 256 ? Uint8Array.of(id) : undefined), [256]);
}

/** Grammars compiled in the test's own thread. */
export class TestGrammars {
  readonly #instance: XgrammarInstance;
  readonly #vocabulary: Vocabulary;
  readonly #guard: Utf8Guard;

  private constructor(instance: XgrammarInstance, vocabulary: Vocabulary) {
    this.#instance = instance;
    this.#vocabulary = vocabulary;
    this.#guard = new Utf8Guard(vocabulary);
  }

  static async open(vocabulary: Vocabulary): Promise<TestGrammars> {
    return new TestGrammars(await XgrammarInstance.load(vocabulary), vocabulary);
  }

  get vocabulary(): Vocabulary {
    return this.#vocabulary;
  }

  /** @returns makes a matcher for each text. */
  compile(constraint: OutputConstraint): () => Matcher {
    const compiled = this.#instance.compile(grammarSource(constraint));
    const options = { guard: this.#guard, eosIds: this.#vocabulary.eosIds, param: constraint.param };
    return () => new Matcher(this.#instance, compiled, options);
  }

  allowed(matcher: Matcher): readonly number[] {
    const mask = matcher.mask();
    return Array.from(this.#vocabulary.ends.keys()).filter((id) => isAllowed(mask, id));
  }

  bytesOf(id: number): Uint8Array {
    const { bytes, ends } = this.#vocabulary;
    return bytes.subarray(id === 0 ? 0 : ends[id - 1], ends[id]);
  }
}

/**
 * Any text of a grammar: allowed tokens by chance, closing ones preferred so that it ends.
 * @returns null when it did not end in time.
 */
export function randomText(grammars: TestGrammars, matcher: Matcher, seed: number, maxTokens = 150): string | null {
  const bytes: number[] = [];
  let noise = Math.imul(seed + 1, 0x9e3779b1) >>> 0;
  for (let token = 0; token < maxTokens && !matcher.isComplete; token++) {
    const allowed = grammars.allowed(matcher);
    noise = (Math.imul(noise, 1_103_515_245) + 12_345) >>> 0;
    const mayEnd = allowed.some((id) => grammars.vocabulary.eosIds.includes(id));
    if (mayEnd && (noise >>> 8) % 3 === 0) break;
    const words = allowed.filter((id) => !grammars.vocabulary.eosIds.includes(id));
    const closing = words.filter((id) => [0x22, 0x5d, 0x7d].includes(grammars.bytesOf(id)[0] ?? 0));
    const pool = closing.length > 0 && (noise >>> 12) % 5 < 2 ? closing : words;
    const id = pool[(noise >>> 16) % pool.length] ?? 0;
    matcher.append(id);
    bytes.push(...grammars.bytesOf(id));
    if (token === maxTokens - 1 && !matcher.isComplete) return null;
  }
  matcher.dispose();
  return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(Uint8Array.from(bytes));
}
