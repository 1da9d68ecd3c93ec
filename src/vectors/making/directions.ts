import { at } from "../../at.js";
import type { VectorMethod } from "../vector-file.js";

/** One layer's outputs of the two sides: each float32 [D]. */
export interface LayerSides {
  readonly positive: readonly Float32Array[];
  readonly negative: readonly Float32Array[];
  /** Whether the two of an index differ in nothing but the side: then each pair has a centre of its own. */
  readonly paired: boolean;
}

/** What a layer's direction is good for. */
export interface LayerDirection {
  /** float32 [D]: as far from the negative side's mean as from there to the positive side's. */
  readonly direction: Float32Array;
  /** Mean length of the layer's outputs. */
  readonly outputNorm: number;
  /** Area under the ROC curve over examples that had no part in the direction they were projected on. */
  readonly separation: number;
}

const folds = 4;
/** Of the power iteration; it ends earlier once the component stands still. */
const mostRounds = 200;
const still = 1e-7;

/** @returns null where the two sides have the same mean: there is no direction then. */
export function layerDirection(sides: LayerSides, method: VectorMethod): LayerDirection | null {
  const direction = directionOf(sides, method);
  if (direction === null) return null;
  const all = [...sides.positive, ...sides.negative];
  const outputNorm = all.reduce((sum, row) => sum + lengthOf(row), 0) / all.length;
  return { direction, outputNorm, separation: heldOutSeparation(sides, method) };
}

/** The mean difference of the two sides; with `pca`, as long as that, the first principal component. */
function directionOf(sides: LayerSides, method: VectorMethod): Float32Array | null {
  const difference = subtract(meanOf(sides.positive), meanOf(sides.negative));
  const length = lengthOf(difference);
  if (length === 0) return null;
  if (method === "mean") return difference;
  const component = principalComponent(centred(sides), difference);
  // A component has no sign of its own.
  const scale = Math.sign(dot(component, difference) || 1) * length;
  return component.map((value) => value * scale);
}

/**
 * Both sides around their centre: half of each pair's difference, to both sides, where there are pairs (their mean is
 * 0 then, and the
 * first component is that of the differences, with their mean in it); else around the point between the means.
 */
function centred({ positive, negative, paired }: LayerSides): readonly Float32Array[] {
  if (paired) return positive.map((row, index) => subtract(row, at2(negative, index)).map((value) => value / 2));
  const above = meanOf(positive);
  const below = meanOf(negative);
  const centre = above.map((value, index) => (value + at(below, index)) / 2);
  // The smaller side counts as much as the larger.
  const weigh = (rows: readonly Float32Array[]) => {
    const weight = Math.sqrt(1 / rows.length);
    return rows.map((row) => subtract(row, centre).map((value) => value * weight));
  };
  return [...weigh(positive), ...weigh(negative)];
}

/**
 * First principal component of rows whose mean counts as 0, by power iteration from a direction that is known to be
 * near.
 */
function principalComponent(rows: readonly Float32Array[], near: Float32Array): Float32Array {
  let component = unitOf(near);
  for (let round = 0; round < mostRounds; round++) {
    const next = new Float64Array(component.length);
    for (const row of rows) {
      const along = dot(row, component);
      for (let i = 0; i < next.length; i++) next[i] = (next[i] as number) + along * at(row, i);
    }
    const turned = unitOf(Float32Array.from(next));
    const moved = lengthOf(subtract(turned, component));
    component = turned;
    if (moved < still) break;
  }
  return component;
}

/**
 * Each example is projected on a direction made without it and its fold, from the middle between that direction's
 * means on; then how
 * likely a positive one lies above a negative one.
 */
function heldOutSeparation(sides: LayerSides, method: VectorMethod): number {
  const { positive, negative, paired } = sides;
  const count = Math.min(folds, positive.length, negative.length);
  const above: number[] = [];
  const below: number[] = [];
  for (let fold = 0; fold < count; fold++) {
    const isHeld = (index: number) => index % count === fold;
    const rest = {
      positive: positive.filter((_, index) => !isHeld(index)),
      negative: negative.filter((_, index) => !isHeld(index)),
      paired,
    };
    const direction = directionOf(rest, method);
    if (direction === null) return 0.5;
    const unit = unitOf(direction);
    const middle = (dot(meanOf(rest.positive), unit) + dot(meanOf(rest.negative), unit)) / 2;
    const place = (row: Float32Array) => dot(row, unit) - middle;
    above.push(...positive.filter((_, index) => isHeld(index)).map(place));
    below.push(...negative.filter((_, index) => isHeld(index)).map(place));
  }
  return areaUnderCurve(above, below);
}

/** How likely one of `above` is larger than one of `below`; the same counts half. */
export function areaUnderCurve(above: readonly number[], below: readonly number[]): number {
  const wins = above.reduce(
    (sum, high) => sum + below.reduce((won, low) => won + (high > low ? 1 : high === low ? 0.5 : 0), 0),
    0,
  );
  return wins / (above.length * below.length);
}

function meanOf(rows: readonly Float32Array[]): Float32Array {
  const sum = new Float64Array(rows[0]?.length ?? 0);
  for (const row of rows) for (let i = 0; i < sum.length; i++) sum[i] = (sum[i] as number) + at(row, i);
  return Float32Array.from(sum, (value) => value / rows.length);
}

function subtract(a: Float32Array, b: Float32Array): Float32Array {
  return a.map((value, index) => value - at(b, index));
}

function unitOf(row: Float32Array): Float32Array {
  const length = lengthOf(row) || 1;
  return row.map((value) => value / length);
}

export function lengthOf(row: Float32Array): number {
  return Math.sqrt(dot(row, row));
}

function dot(a: Float32Array, b: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += at(a, i) * at(b, i);
  return sum;
}

function at2(rows: readonly Float32Array[], index: number): Float32Array {
  const row = rows[index];
  if (row === undefined) throw new RangeError(`a side has no example ${index}; pairs have two`);
  return row;
}
