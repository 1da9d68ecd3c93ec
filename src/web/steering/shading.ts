import type { TokenRun } from "./token-runs.js";

/** Maps values of one kind to shades. */
export interface ShadingScale {
  /** The value of the darkest shade. */
  readonly max: number;
  /** 0 (none) … 1 (darkest), whatever the sign. */
  shade(value: number | null): number;
}

/** Below this everything would be noise blown up to full colour. */
const smallestMax = 1e-6;

/**
 * A scale from 0 to what is given, linear: twice the value is twice the shade. 0 is always unshaded, so that "not
 * relevant" looks like it.
 */
export function scaleTo(most: number): ShadingScale {
  const max = Math.max(smallestMax, most);
  return { max, shade: (value) => Math.min(1, Math.abs(value ?? 0) / max) };
}

/** @returns the mean of each layer over the tokens that have gains. */
export function meanGains(tokens: readonly { readonly gains: readonly number[] }[]): readonly number[] {
  return meanOf(tokens.map(({ gains }) => gains));
}

/** @returns the mean of each layer over the lists that have something. */
export function meanOf(lists: readonly (readonly number[])[]): readonly number[] {
  const known = lists.filter((values) => values.length > 0);
  const layers = known[0]?.length ?? 0;
  return Array.from(
    { length: layers },
    (_, layer) => known.reduce((sum, values) => sum + (values[layer] ?? 0), 0) / known.length,
  );
}

/** @returns how far the stream lies along a vector at a token, by layer; empty where nobody looked. */
export function projectionOf(
  { vectors }: TokenRun["tokens"][number],
  name: string,
  side: "before" | "after",
): readonly number[] {
  return vectors.find((vector) => vector.name === name)?.[side] ?? [];
}

/** @returns one number for a token's gains over all layers: their root mean square, as each layer's own is. */
export function overallGain(gains: readonly number[]): number | null {
  if (gains.length === 0) return null;
  return Math.sqrt(gains.reduce((sum, gain) => sum + gain * gain, 0) / gains.length);
}

/**
 * The largest sizes of an answer: of one layer at one token, and of a token over all layers. Of a layer's values it is
 * what one in twenty passes: a single one would leave the others no height.
 */
export interface GainSizes {
  readonly layer: number;
  readonly token: number;
}

export const noGains: GainSizes = { layer: 0, token: 0 };

/**
 * Gains grow in proportion to the strength; those of several strengths compare at 1.
 * @param known of other runs, which stay within what is returned.
 */
export function largestGains(
  tokens: readonly { readonly gains: readonly number[] }[],
  strength: number,
  known: GainSizes,
): GainSizes {
  if (strength <= 0) return known;
  const layers = Math.max(0, ...tokens.map(({ gains }) => gains.length));
  const ofLayer = (layer: number) => nearlyLargest(tokens.flatMap(({ gains }) => gains[layer] ?? []));
  const layer = Math.max(0, ...Array.from({ length: layers }, (_, at) => ofLayer(at))) / strength;
  const token = tokens.reduce((most, { gains }) => Math.max(most, overallGain(gains) ?? 0), 0) / strength;
  return { layer: Math.max(known.layer, layer), token: Math.max(known.token, token) };
}

/**
 * How far the stream lies along a vector, on both sides of 0, of one layer at one token and of a token over all layers.
 * The size is what one value in twenty passes: the first token of a text is a place where models put numbers a hundred
 * times larger than anywhere else. What is added grows in proportion to the strength, what was there before does not.
 * @param grows how many times as strong the vector may become.
 * @param known of other runs, which stay within what is returned.
 */
export function largestProjections(
  tokens: readonly TokenRun["tokens"][number][],
  name: string,
  grows: number,
  known: GainSizes,
): GainSizes {
  const sides = tokens.map(
    (token) => [projectionOf(token, name, "before"), projectionOf(token, name, "after")] as const,
  );
  const most = (before: number, after: number) => Math.abs(before) + Math.max(1, grows) * Math.abs(after - before);
  const layers = sides.flatMap(([before, after]) => after.map((value, layer) => most(before[layer] ?? 0, value)));
  const means = sides.flatMap(([before, after]) => (after.length === 0 ? [] : [most(mean(before), mean(after))]));
  return { layer: Math.max(known.layer, nearlyLargest(layers)), token: Math.max(known.token, nearlyLargest(means)) };
}

function nearlyLargest(sizes: readonly number[]): number {
  const sorted = sizes.toSorted((a, b) => a - b);
  return sorted[Math.floor((sorted.length - 1) * 0.95)] ?? 0;
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);
}

/** A vector's name behind the side of its addition that is looked at; names have no colon. */
export type VectorShade = `${"before" | "after"}:${string}`;
export type ShadeBy = "relevance" | "gain" | "draft" | VectorShade;

export function isVectorShade(by: ShadeBy): by is VectorShade {
  return by.startsWith("before:") || by.startsWith("after:");
}

/** @returns the side and the name of the vector. */
export function partsOf(by: VectorShade): { readonly side: "before" | "after"; readonly name: string } {
  const side = by.startsWith("before:") ? "before" : "after";
  return { side, name: by.slice(side.length + 1) };
}

/** What a run of tokens is shaded by; of several tokens the strongest counts. */
export function shadedValue({ tokens }: TokenRun, by: ShadeBy): number | null {
  const values = tokens.map((token) => valueOfToken(token, by)).filter((value) => value !== null);
  return values.length === 0 ? null : values.reduce((most, value) => (Math.abs(value) > Math.abs(most) ? value : most));
}

function valueOfToken(token: TokenRun["tokens"][number], by: ShadeBy): number | null {
  if (by === "gain") return overallGain(token.gains);
  if (!isVectorShade(by)) return token.relevance;
  const { side, name } = partsOf(by);
  const along = projectionOf(token, name, side);
  return along.length === 0 ? null : mean(along);
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
