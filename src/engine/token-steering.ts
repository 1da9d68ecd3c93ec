import type { TopDown } from "../model/adapter.js";
import type { TokenSteering } from "./messages.js";

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
    relevance: relevance[from + index] ?? 0,
    layerGains: Array.from({ length: layers }, (_, layer) => {
      const start = (layer * total + from + index) * kvSize;
      let sum = 0;
      for (let at = start; at < start + kvSize; at++) sum += (topDownValues[at] ?? 0) ** 2;
      return Math.sqrt(sum / kvSize);
    }),
  }));
}
