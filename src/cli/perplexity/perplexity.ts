import { ToastError } from "../../errors.js";

/** How well one served model predicts a text. */
export interface Perplexity {
  readonly model: string;
  /** Null of a server, which does not say. */
  readonly quantization: string | null;
  readonly tokens: number;
  readonly bytes: number;
  readonly perplexity: number;
  readonly bitsPerByte: number;
}

/** How much of a text is predicted, and from how far back. */
export interface PerplexitySettings {
  /** Tokens of a block, BOS included. */
  readonly block: number;
  readonly maxTokens: number;
}

/** Log probabilities of tokens, added up. */
export class PerplexitySum {
  #tokens = 0;
  #bytes = 0;
  #logProbability = 0;

  /** @param bytes of the text that the scored tokens spell. */
  add(scores: Iterable<number>, bytes: number): void {
    this.#bytes += bytes;
    for (const score of scores) {
      this.#tokens += 1;
      this.#logProbability += score;
    }
  }

  of(model: string, quantization: string | null): Perplexity {
    return {
      model,
      quantization,
      tokens: this.#tokens,
      bytes: this.#bytes,
      perplexity: Math.exp(-this.#logProbability / this.#tokens),
      bitsPerByte: -this.#logProbability / Math.LN2 / this.#bytes,
    };
  }
}

/**
 * Cuts the tokens of each text into blocks that begin anew.
 * @param start what stands before each block: BOS, when the model has one.
 * @param texts token ids of one text each, without `start`.
 * @throws ToastError `invalid_option` when nothing is left to predict.
 */
export function blocksOf(
  texts: Iterable<readonly number[]>,
  start: readonly number[],
  { block, maxTokens }: PerplexitySettings,
): readonly Block[] {
  const blocks: Block[] = [];
  let left = maxTokens;
  for (const ids of texts) {
    for (let from = 0; from < ids.length && left > 0; from += block - start.length) {
      const part = ids.slice(from, Math.min(from + block - start.length, from + left));
      left -= part.length;
      // Without BOS a block's first token is given, not predicted.
      const predicted = start.length > 0 ? part : part.slice(1);
      if (predicted.length > 0) blocks.push({ ids: [...start, ...part], predicted, isBeginning: from === 0 });
    }
  }
  if (blocks.length === 0) throw new ToastError("invalid_option", "The text has no tokens to predict.");
  return blocks;
}

export interface Block {
  readonly ids: readonly number[];
  /** The last ones of `ids`. */
  readonly predicted: readonly number[];
  /** Of its text. */
  readonly isBeginning: boolean;
}
