import { median } from "./statistics.js";

/** How two figures compare: the median of their quotients, round by round, and how far the rounds are apart. */
export interface Ratio {
  readonly name: string;
  /** Streams or tokens that it was measured at; null where there is one figure only. */
  readonly at: number | null;
  readonly median: number;
  readonly low: number;
  readonly high: number;
}

/**
 * @param above, below the same rounds of two cases: a quotient within a round is free of what changed between rounds.
 */
export function ratioOf(name: string, at: number | null, above: readonly number[], below: readonly number[]): Ratio {
  return spreadOf(
    name,
    at,
    above.map((value, round) => value / (below[round] ?? Number.NaN)),
  );
}

/** A figure that is a quotient already. */
export function spreadOf(name: string, at: number | null, values: readonly number[]): Ratio {
  return { name, at, median: median(values), low: Math.min(...values), high: Math.max(...values) };
}
