import { at } from "../../at.js";

/**
 * What a prompt's last tokens leave behind every layer, gathered while the prompt is computed. What is computed again
 * after a preemption is the same chunk of tokens, and takes its place.
 */
export class LayerMeans {
  readonly #first: number;
  readonly #count: number;
  /** By the first token of each chunk: float64 [L,D], added up over those of its tokens that count. */
  readonly #sums = new Map<number, Float64Array>();

  /** @param lastTokens at least 1; of a shorter prompt, all tokens count. */
  constructor(promptTokens: number, lastTokens: number) {
    this.#count = Math.min(promptTokens, lastTokens);
    this.#first = promptTokens - this.#count;
  }

  /** The first token that counts: it must be computed, and all behind it. */
  get first(): number {
    return this.#first;
  }

  /** @param layerOutputs of each layer float32 [T,D], of the T tokens from `from` on. */
  add(from: number, tokens: number, layerOutputs: readonly Float32Array[]): void {
    const hiddenSize = (layerOutputs[0]?.length ?? 0) / tokens;
    const sum = new Float64Array(layerOutputs.length * hiddenSize);
    for (const [layer, values] of layerOutputs.entries()) {
      for (let token = Math.max(0, this.#first - from); token < tokens; token++) {
        for (let i = 0; i < hiddenSize; i++) {
          const target = layer * hiddenSize + i;
          sum[target] = (sum[target] as number) + at(values, token * hiddenSize + i);
        }
      }
    }
    this.#sums.set(from, sum);
  }

  /** @returns float32 [L,D]; null when nothing was computed. */
  mean(): Float32Array | null {
    const [first, ...others] = this.#sums.values();
    if (first === undefined) return null;
    return Float32Array.from(first, (value, index) => {
      const sum = others.reduce((total, other) => total + (other[index] as number), value);
      return sum / this.#count;
    });
  }
}
