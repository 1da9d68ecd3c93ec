import { join } from "node:path";
import type { OutputConstraint } from "../../src/grammar/constraint.js";
import { GrammarCompiler } from "../../src/grammar/grammar-compiler.js";
import type { Matcher } from "../../src/grammar/matcher.js";
import { isAllowed } from "../../src/grammar/token-mask.js";
import { packVocabulary, type Vocabulary } from "../../src/grammar/vocabulary.js";
import { Tokenizer } from "../../src/text/tokenizer.js";
import { toastTiny } from "../support/toast-tiny.js";

export const eosId = 2;

/** toast-tiny's vocabulary: pieces of words, and all bytes. */
export async function tinyVocabulary(): Promise<Vocabulary> {
  const tokenizer = await Tokenizer.fromFile(join(toastTiny, "tokenizer.json"));
  const bytesOf = (id: number) => (tokenizer.isSpecial(id) ? undefined : tokenizer.tokenBytes(id, "later"));
  return packVocabulary(tokenizer.vocabSize, bytesOf, [eosId]);
}

/** Every byte a token of its own: masks say which byte may come next. The end of sequence comes behind them. */
export function byteVocabulary(): Vocabulary {
  return packVocabulary(257, (id) => (id < 256 ? Uint8Array.of(id) : undefined), [256]);
}

/** Matchers for the texts of grammars. */
export class TestGrammars {
  readonly vocabulary: Vocabulary;
  readonly #compiler: GrammarCompiler;

  constructor(vocabulary: Vocabulary) {
    this.vocabulary = vocabulary;
    this.#compiler = new GrammarCompiler(vocabulary);
  }

  /** @returns makes a matcher for each text. */
  compile(constraint: OutputConstraint): () => Matcher {
    return this.#compiler.compile(constraint).matcher;
  }

  allowed(matcher: Matcher): readonly number[] {
    const mask = matcher.mask();
    return Array.from(this.vocabulary.ends.keys()).filter((id) => isAllowed(mask, id));
  }

  bytesOf(id: number): Uint8Array {
    const { bytes, ends } = this.vocabulary;
    return bytes.subarray(id === 0 ? 0 : ends[id - 1], ends[id]);
  }
}

/** Whether a text is one of a JSON Schema's, byte by byte. @param bytes of {@link byteVocabulary} */
export function schemaTakes(bytes: TestGrammars, schema: object | boolean | string): (text: string) => boolean {
  const written = typeof schema === "string" ? schema : JSON.stringify(schema);
  return takes(bytes, { kind: "jsonSchema", schema: written, param: "schema" });
}

/** Whether a text is one of a grammar's. @param bytes of {@link byteVocabulary} */
export function takes(bytes: TestGrammars, constraint: OutputConstraint): (text: string) => boolean {
  const matcherOf = bytes.compile(constraint);
  return (text) => {
    const matcher = matcherOf();
    for (const byte of new TextEncoder().encode(text)) {
      if (!isAllowed(matcher.mask(), byte)) return false;
      matcher.append(byte);
    }
    return isAllowed(matcher.mask(), 256);
  };
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
