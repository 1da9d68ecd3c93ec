import type { Steering } from "./steering.js";

/**
 * The gain of each layer, float32 [L]: the strength inside the steered range, 0 outside.
 * Scaling the top-down values is exact: everything behind the relevance is linear (docs/architecture.md, "Steering").
 */
export function layerGains(steering: Extract<Steering, { kind: "steered" }>, layers: number): Float32Array {
  const [from, to] = steering.layers;
  return Float32Array.from({ length: layers }, (_, layer) => (layer >= from && layer <= to ? steering.strength : 0));
}
