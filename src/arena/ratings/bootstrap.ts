import { fitBradleyTerry, type PairScores, type Strengths } from "./bradley-terry.js";
import { at } from "./linear-system.js";
import { aliasSampler, seededRandom } from "./random.js";

/** How often each result of each pair was seen. */
export interface PairCounts {
  readonly contestants: number;
  readonly first: Int32Array;
  readonly second: Int32Array;
  readonly firstWins: Int32Array;
  readonly secondWins: Int32Array;
  /** "Both bad" among them. */
  readonly ties: Int32Array;
}

export function scoresOf({ ties, firstWins, secondWins, ...pairs }: PairCounts): PairScores {
  return {
    ...pairs,
    firstScore: Float64Array.from(firstWins, (wins, pair) => wins + at(ties, pair) / 2),
    secondScore: Float64Array.from(secondWins, (wins, pair) => wins + at(ties, pair) / 2),
  };
}

export interface Interval {
  readonly low: number;
  readonly high: number;
}

/**
 * Percentile bootstrap of the strengths: matches are drawn again with replacement, `rounds` times, and the model fitted
 * each time. What is drawn is only how often each result occurs (a multinomial over pair × result), so a round costs no
 * more for longer texts or longer lists of contestants, and the fit starts from the original's strengths.
 *
 * Where the original has no finite maximum, a resample of it would never show what it does not contain: one battle
 * would be certain of itself. There the results are drawn as if each pair that met had half a win more each way, which
 * is the correction that its strengths have too.
 * @param fitted strengths of the original, centred by group.
 * @returns for each contestant, on the strengths' scale.
 * @see Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13.
 */
export function bootstrapIntervals(
  counts: PairCounts,
  groups: Int32Array,
  fitted: Strengths,
  options: { readonly rounds: number; readonly seed: number; readonly confidence: number },
): readonly Interval[] {
  const { contestants, first, second } = counts;
  const pairs = first.length;
  // Cells 0…P−1: the first of the pair won; P…2P−1: the second; 2P…3P−1: a tie.
  const cells = [...counts.firstWins, ...counts.secondWins, ...counts.ties];
  const matches = cells.reduce((sum, count) => sum + count, 0);
  const smoothing = fitted.kind === "corrected" ? 0.5 : 0;
  const weights = cells.map((count, cell) => (cell < 2 * pairs ? count + smoothing : count));
  const draw = aliasSampler(weights, seededRandom(options.seed));
  const samples = Array.from({ length: contestants }, () => new Float64Array(options.rounds));
  const drawn = new Int32Array(cells.length);
  for (let round = 0; round < options.rounds; round++) {
    drawn.fill(0);
    for (let match = 0; match < matches; match++) {
      const cell = draw();
      drawn[cell] = at(drawn, cell) + 1;
    }
    const scores = scoresOf({
      contestants,
      first,
      second,
      firstWins: drawn.subarray(0, pairs),
      secondWins: drawn.subarray(pairs, 2 * pairs),
      ties: drawn.subarray(2 * pairs),
    });
    const { strengths } = fitBradleyTerry(scores, groups, fitted.strengths);
    for (const [contestant, sample] of samples.entries()) sample[round] = at(strengths, contestant);
  }
  const tail = (1 - options.confidence) / 2;
  return samples.map((sample) => {
    sample.sort();
    return { low: quantile(sample, tail), high: quantile(sample, 1 - tail) };
  });
}

/** Linear between the order statistics, as NumPy's default. */
function quantile(sorted: Float64Array, share: number): number {
  const position = (sorted.length - 1) * share;
  const below = Math.floor(position);
  const above = Math.min(below + 1, sorted.length - 1);
  return at(sorted, below) + (position - below) * (at(sorted, above) - at(sorted, below));
}
