import { at, solveInPlace } from "./linear-system.js";

/**
 * All matches between contestants, pair by pair: `first[p]` met `second[p]` (both are contestants' numbers, each
 * unordered pair once), and scored `firstScore[p]` against `secondScore[p]`; a tie scores a half for each.
 */
export interface PairScores {
  readonly contestants: number;
  readonly first: Int32Array;
  readonly second: Int32Array;
  readonly firstScore: Float64Array;
  readonly secondScore: Float64Array;
}

export interface Strengths {
  /** Natural log-odds scale; the mean of each group is 0. */
  readonly strengths: Float64Array;
  /**
   * `exact`: the maximum likelihood. `corrected`: there is no finite one, so one tie more was counted in every pair
   * that met.
   */
  readonly kind: "exact" | "corrected";
}

/** 400·log₁₀ of the odds: Elo's scale. */
export const eloPerLogOdds = 400 / Math.LN10;

/**
 * Contestants that met, directly or through others, share a group; ratings of different groups cannot be compared.
 * @returns each contestant's group, numbered in the order of their first contestants.
 */
export function groupsOf({ contestants, first, second }: PairScores): Int32Array {
  const parent = Int32Array.from({ length: contestants }, (_, contestant) => contestant);
  const rootOf = (contestant: number): number => {
    let root = contestant;
    while (at(parent, root) !== root) root = at(parent, root);
    return root;
  };
  for (let pair = 0; pair < first.length; pair++) {
    const a = rootOf(at(first, pair));
    const b = rootOf(at(second, pair));
    parent[Math.max(a, b)] = Math.min(a, b);
  }
  const numbers = new Map<number, number>();
  return parent.map((_, contestant) => {
    const root = rootOf(contestant);
    const number = numbers.get(root) ?? numbers.size;
    numbers.set(root, number);
    return number;
  });
}

/**
 * Strengths of the Bradley–Terry model, P(i beats j) = σ(θᵢ − θⱼ), by maximum likelihood (Newton's method).
 *
 * A finite maximum exists if and only if no group can be split in two so that one part never scored against the other
 * (Ford, "Solution of a ranking problem from binary comparisons", 1957). Where it can (somebody never lost, say), one
 * tie more is counted in every pair that met: half a win each way is the usual correction of log-odds with an empty
 * cell (Haldane, 1956), it keeps the order and makes everything finite.
 *
 * @param groups of {@link groupsOf}, for these pairs (a bootstrap's resample keeps the groups of the original).
 * @param start where to begin; near the answer it saves iterations.
 */
export function fitBradleyTerry(pairs: PairScores, groups: Int32Array, start?: Float64Array): Strengths {
  const exact = isConnectedByWins(pairs, groups);
  const scores = exact ? pairs : withOneTieMore(pairs);
  return { strengths: maximise(scores, groups, start), kind: exact ? "exact" : "corrected" };
}

export function withOneTieMore(pairs: PairScores): PairScores {
  return {
    ...pairs,
    firstScore: pairs.firstScore.map((score) => score + 0.5),
    secondScore: pairs.secondScore.map((score) => score + 0.5),
  };
}

const maxIterations = 100;

function maximise(pairs: PairScores, groups: Int32Array, start?: Float64Array): Float64Array {
  const size = pairs.contestants;
  let strengths: Float64Array = start === undefined ? new Float64Array(size) : Float64Array.from(start);
  centre(strengths, groups);
  const step = new Float64Array(size);
  const information = new Float64Array(size * size);
  for (let iteration = 0; iteration < maxIterations; iteration++) {
    scoreAndInformation(pairs, strengths, step, information);
    anchorGroups(information, groups, size, size);
    if (!solveInPlace(information, step, size)) break;
    const largest = step.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    strengths = largest < 0.1 ? moved(strengths, step, 1) : carefullyMoved(pairs, strengths, step);
    // Newton's steps square their error: what is left is of the order of 1e-12.
    if (largest < 1e-6) break;
  }
  centre(strengths, groups);
  return strengths;
}

/** Gradient (into `score`) and negative Hessian (into `information`) of the log-likelihood. */
function scoreAndInformation(
  { contestants: size, first, second, firstScore, secondScore }: PairScores,
  strengths: Float64Array,
  score: Float64Array,
  information: Float64Array,
): void {
  score.fill(0);
  information.fill(0);
  for (let pair = 0; pair < first.length; pair++) {
    const i = at(first, pair);
    const j = at(second, pair);
    const games = at(firstScore, pair) + at(secondScore, pair);
    if (games === 0) continue;
    const expected = sigmoid(at(strengths, i) - at(strengths, j));
    const surplus = at(firstScore, pair) - games * expected;
    score[i] = at(score, i) + surplus;
    score[j] = at(score, j) - surplus;
    const weight = games * expected * (1 - expected);
    information[i * size + i] = at(information, i * size + i) + weight;
    information[j * size + j] = at(information, j * size + j) + weight;
    information[i * size + j] = at(information, i * size + j) - weight;
    information[j * size + i] = at(information, j * size + i) - weight;
  }
}

/**
 * The likelihood does not change when a whole group moves, so its information is singular in that direction. The score
 * has no part in that direction either, so any weight there leaves the step as it is.
 * @param stride length of a row of `information`.
 */
export function anchorGroups(information: Float64Array, groups: Int32Array, size: number, stride: number): void {
  for (let i = 0; i < size; i++) {
    for (let j = 0; j < size; j++) {
      if (groups[i] === groups[j]) information[i * stride + j] = at(information, i * stride + j) + 1;
    }
  }
}

function logLikelihood({ first, second, firstScore, secondScore }: PairScores, strengths: Float64Array): number {
  let sum = 0;
  for (let pair = 0; pair < first.length; pair++) {
    const difference = at(strengths, at(first, pair)) - at(strengths, at(second, pair));
    sum += at(firstScore, pair) * logSigmoid(difference) + at(secondScore, pair) * logSigmoid(-difference);
  }
  return sum;
}

/** Far from the maximum a full step may overshoot; the likelihood is concave, so some part of it always helps. */
function carefullyMoved(pairs: PairScores, strengths: Float64Array, step: Float64Array): Float64Array {
  const likelihood = logLikelihood(pairs, strengths);
  let factor = 1;
  let next = moved(strengths, step, factor);
  while (logLikelihood(pairs, next) < likelihood - 1e-12 * Math.abs(likelihood) && factor > 1e-6) {
    factor /= 2;
    next = moved(strengths, step, factor);
  }
  return next;
}

function moved(from: Float64Array, step: Float64Array, factor: number): Float64Array {
  return from.map((value, index) => value + factor * at(step, index));
}

/** Moves each group's mean to 0. */
export function centre(strengths: Float64Array, groups: Int32Array): void {
  const sums = new Map<number, { sum: number; count: number }>();
  for (const [contestant, group] of groups.entries()) {
    const { sum, count } = sums.get(group) ?? { sum: 0, count: 0 };
    sums.set(group, { sum: sum + at(strengths, contestant), count: count + 1 });
  }
  for (const [contestant, group] of groups.entries()) {
    const { sum, count } = sums.get(group) ?? { sum: 0, count: 1 };
    strengths[contestant] = at(strengths, contestant) - sum / count;
  }
}

/** Whether in each group everybody can be reached from everybody along "scored against". */
function isConnectedByWins(pairs: PairScores, groups: Int32Array): boolean {
  const count = groups.reduce((most, group) => Math.max(most, group + 1), 0);
  for (const direction of ["won", "lost"] as const) {
    if (reachable(pairs, groups, count, direction) < pairs.contestants) return false;
  }
  return true;
}

/** @returns how many contestants can be reached from the first of each group. */
function reachable(pairs: PairScores, groups: Int32Array, groupCount: number, direction: "won" | "lost"): number {
  const seen = new Uint8Array(pairs.contestants);
  for (let group = 0; group < groupCount; group++) seen[groups.indexOf(group)] = 1;
  // At most as many sweeps as contestants; a handful in practice.
  for (let changed = true; changed; ) {
    changed = false;
    for (let pair = 0; pair < pairs.first.length; pair++) {
      const i = at(pairs.first, pair);
      const j = at(pairs.second, pair);
      const iScored = at(pairs.firstScore, pair) > 0;
      const jScored = at(pairs.secondScore, pair) > 0;
      const [iToJ, jToI] = direction === "won" ? [iScored, jScored] : [jScored, iScored];
      if (iToJ && seen[i] === 1 && seen[j] === 0) {
        seen[j] = 1;
        changed = true;
      }
      if (jToI && seen[j] === 1 && seen[i] === 0) {
        seen[i] = 1;
        changed = true;
      }
    }
  }
  return seen.reduce((sum, one) => sum + one, 0);
}

export function sigmoid(value: number): number {
  return 1 / (1 + Math.exp(-value));
}

export function logSigmoid(value: number): number {
  return value > 0 ? -Math.log1p(Math.exp(-value)) : value - Math.log1p(Math.exp(value));
}
