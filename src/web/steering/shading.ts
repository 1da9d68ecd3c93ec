import type { TokenRun } from "./token-runs.js";

/** Maps values of one kind to shades. */
export interface ShadingScale {
  /** The value of the darkest shade. */
  readonly max: number;
  /** 0 (none) … 1 (darkest). */
  shade(value: number | null): number;
}

/** Below this everything would be noise blown up to full colour. */
const smallestMax = 1e-6;

/**
 * A scale from 0 to the largest value, linear: twice the value is twice the shade. 0 is always unshaded, so that "not
 * relevant" looks like it.
 */
export function shadingScale(values: readonly (number | null)[]): ShadingScale {
  const max = values.reduce<number>((largest, value) => Math.max(largest, value ?? 0), smallestMax);
  return { max, shade: (value) => Math.min(1, Math.max(0, (value ?? 0) / max)) };
}

/** @returns the mean of each layer over the tokens that have gains. */
export function meanGains(tokens: readonly { readonly gains: readonly number[] }[]): readonly number[] {
  const known = tokens.filter(({ gains }) => gains.length > 0);
  const layers = known[0]?.gains.length ?? 0;
  return Array.from(
    { length: layers },
    (_, layer) => known.reduce((sum, { gains }) => sum + (gains[layer] ?? 0), 0) / known.length,
  );
}

/** @returns one number for a token's gains over all layers: their root mean square, as each layer's own is. */
export function overallGain(gains: readonly number[]): number | null {
  if (gains.length === 0) return null;
  return Math.sqrt(gains.reduce((sum, gain) => sum + gain * gain, 0) / gains.length);
}

export type ShadeBy = "relevance" | "gain" | "draft";

/** What a run of tokens is shaded by; of several tokens the strongest counts. */
export function shadedValue({ tokens }: TokenRun, by: ShadeBy): number | null {
  const values = tokens
    .map((token) => (by === "gain" ? overallGain(token.gains) : token.relevance))
    .filter((value) => value !== null);
  return values.length === 0 ? null : Math.max(...values);
}

export interface DraftCount {
  readonly accepted: number;
  readonly proposed: number;
}

export function countDrafts(tokens: readonly { readonly draft: "accepted" | "refused" | "none" }[]): DraftCount {
  const accepted = tokens.filter(({ draft }) => draft === "accepted").length;
  const refused = tokens.filter(({ draft }) => draft === "refused").length;
  return { accepted, proposed: accepted + refused };
}
