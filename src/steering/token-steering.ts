import { at } from "../at.js";
import type { TopDown } from "./adapter.js";

/** How the features of one place in the text were weighed and fed back. */
export interface TokenSteering {
  /** clamp(cos(hidden state, task embedding), 0, 1); strength has no part in it. */
  readonly relevance: number;
  /**
   * For each layer, the size (root mean square) of what was added to the values, with strength and layer range applied.
   */
  readonly layerGains: readonly number[];
}

/**
 * What steering did with `count` of the N tokens of one adapter run.
 * @param layers L
 * @param from the first of them
 */
export function tokenSteering(
  { relevance, topDownValues }: TopDown,
  layers: number,
  from: number,
  count: number,
): readonly TokenSteering[] {
  const total = relevance.length;
  const kvSize = topDownValues.length / layers / total;
  return Array.from({ length: count }, (_, index) => ({
    relevance: at(relevance, from + index),
    layerGains: Array.from({ length: layers }, (_, layer) => {
      const start = (layer * total + from + index) * kvSize;
      let sum = 0;
      for (let i = start; i < start + kvSize; i++) sum += at(topDownValues, i) ** 2;
      return Math.sqrt(sum / kvSize);
    }),
  }));
}
