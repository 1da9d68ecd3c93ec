import { anchorGroups, centre, logSigmoid, sigmoid } from "./bradley-terry.js";
import { at, solveInPlace } from "./linear-system.js";

/** A match whose answers' lengths are known. */
export interface MeasuredMatch {
  /** The contestants' numbers. */
  readonly first: number;
  readonly second: number;
  /** Of the first: 1 won, 0.5 tied, 0 lost. */
  readonly score: number;
  /** Characters of the first's answer minus the second's. */
  readonly lengthDifference: number;
}

export interface LengthControlledFit {
  /** Log-odds at equal length; the mean of each group is 0. */
  readonly strengths: Float64Array;
  /** Log-odds that a much longer answer wins by its length alone; negative: shorter ones are preferred. */
  readonly lengthEffect: number;
}

/**
 * Strengths as if all answers were of equal length: P(i beats j) = σ(θᵢ − θⱼ + φ·tanh(Δ/s)), Δ the difference in length
 * and s its standard deviation within pairs; φ is fitted with the strengths and left out when they are read. For two
 * contestants that is the logistic regression of AlpacaEval 2 without its term for an instruction's difficulty, which
 * needs many models' answers to be known; for more it is Chatbot Arena's style control with length as the style.
 *
 * @returns null where length and strength cannot be told apart: lengths never differ from their pair's mean, or the
 *   votes have no finite maximum, which a prior would only hide.
 * @see Dubois et al., "Length-Controlled AlpacaEval", arXiv 2404.04475.
 */
export function fitLengthControlled(
  matches: readonly MeasuredMatch[],
  contestants: number,
  groups: Int32Array,
): LengthControlledFit | null {
  const scale = deviationWithinPairs(matches);
  if (scale === null) return null;
  const rows = matches.map(({ first, second, score, lengthDifference }) => ({
    first,
    second,
    score,
    length: Math.tanh(lengthDifference / scale),
  }));
  return newton(rows, contestants, groups);
}

/** Does not depend on which of a pair is called the first. */
function deviationWithinPairs(matches: readonly MeasuredMatch[]): number | null {
  const byPair = new Map<string, number[]>();
  for (const { first, second, lengthDifference } of matches) {
    const [low, high, sign] = first < second ? [first, second, 1] : [second, first, -1];
    const key = `${low},${high}`;
    const differences = byPair.get(key) ?? [];
    differences.push(sign * lengthDifference);
    byPair.set(key, differences);
  }
  let squares = 0;
  for (const differences of byPair.values()) {
    const mean = differences.reduce((sum, value) => sum + value, 0) / differences.length;
    squares += differences.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  }
  const freedom = matches.length - byPair.size;
  return freedom > 0 && squares > 0 ? Math.sqrt(squares / freedom) : null;
}

interface Row {
  readonly first: number;
  readonly second: number;
  readonly score: number;
  readonly length: number;
}

/** Beyond these odds (1 : 3 million) a maximum is taken to lie at infinity. */
const largestLogOdds = 15;

/** @returns null when there is no finite maximum. */
function newton(rows: readonly Row[], contestants: number, groups: Int32Array): LengthControlledFit | null {
  const size = contestants + 1;
  let values: Float64Array = new Float64Array(size);
  let likelihood = objective(rows, values);
  const step = new Float64Array(size);
  const information = new Float64Array(size * size);
  const add = (row: number, column: number, amount: number) => {
    information[row * size + column] = at(information, row * size + column) + amount;
  };
  for (let iteration = 0; iteration < 100; iteration++) {
    step.fill(0);
    information.fill(0);
    for (const { first, second, score, length } of rows) {
      const expected = sigmoid(logOdds(values, first, second, length));
      const surplus = score - expected;
      const weight = expected * (1 - expected);
      const design = [
        [first, 1],
        [second, -1],
        [contestants, length],
      ] as const;
      for (const [row, left] of design) {
        step[row] = at(step, row) + left * surplus;
        for (const [column, right] of design) add(row, column, left * right * weight);
      }
    }
    anchorGroups(information, groups, contestants, size);
    if (!solveInPlace(information, step, size)) return null;
    let factor = 1;
    let next = values.map((value, index) => value + factor * at(step, index));
    let nextLikelihood = objective(rows, next);
    while (nextLikelihood < likelihood - 1e-12 * Math.abs(likelihood) && factor > 1e-6) {
      factor /= 2;
      next = values.map((value, index) => value + factor * at(step, index));
      nextLikelihood = objective(rows, next);
    }
    values = next;
    likelihood = nextLikelihood;
    if (values.some((value) => !(Math.abs(value) < largestLogOdds))) return null;
    if (step.every((value) => Math.abs(value) < 1e-10)) {
      const strengths = values.slice(0, contestants);
      centre(strengths, groups);
      return { strengths, lengthEffect: at(values, contestants) };
    }
  }
  return null;
}

function logOdds(values: Float64Array, first: number, second: number, length: number): number {
  return at(values, first) - at(values, second) + at(values, values.length - 1) * length;
}

function objective(rows: readonly Row[], values: Float64Array): number {
  let sum = 0;
  for (const { first, second, score, length } of rows) {
    const odds = logOdds(values, first, second, length);
    sum += score * logSigmoid(odds) + (1 - score) * logSigmoid(-odds);
  }
  return sum;
}
