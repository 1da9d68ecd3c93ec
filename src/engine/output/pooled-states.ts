import type { FinalNorm } from "../../model/final-norm.js";
import type { Pooling } from "../generation-request.js";
import { LayerMeans } from "./layer-means.js";

/** One vector of a whole prompt, gathered while the prompt is computed. */
export class PooledStates {
  readonly #norm: Pick<FinalNorm, "of">;
  readonly #means: LayerMeans;

  constructor(promptTokens: number, pooling: Pooling, norm: Pick<FinalNorm, "of">) {
    this.#norm = norm;
    this.#means = new LayerMeans(promptTokens, pooling === "last" ? 1 : promptTokens);
  }

  /** The first token that counts: it must be computed, and all behind it. */
  get first(): number {
    return this.#means.first;
  }

  /** @param hiddenStates float32 [T,D] of the T tokens from `from` on, in the pass that decides. */
  add(from: number, tokens: number, hiddenStates: Float32Array): void {
    if (from + tokens <= this.first) return;
    this.#means.add(from, tokens, [this.#norm.of(hiddenStates)]);
  }

  /** @returns float32 [D], of length 1. */
  unit(): Float32Array {
    const mean = this.#means.mean();
    if (mean === null) throw new Error("nothing of the prompt was computed");
    const length = Math.hypot(...mean);
    return mean.map((value) => value / length);
  }
}
