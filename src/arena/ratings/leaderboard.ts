import { bootstrapIntervals, type Interval, type PairCounts, scoresOf } from "./bootstrap.js";
import { eloPerLogOdds, fitBradleyTerry, groupsOf, sigmoid } from "./bradley-terry.js";
import { fitLengthControlled, type LengthControlledFit, type MeasuredMatch } from "./length-control.js";
import { at } from "./linear-system.js";
import { leftScore, type Match } from "./match.js";
import { signTest } from "./sign-test.js";

/** Seen from one contestant, or from the first of a pair. */
export interface Tally {
  readonly wins: number;
  readonly losses: number;
  readonly ties: number;
  readonly bothBad: number;
  /** Wins and half of the ties, of all. */
  readonly winRate: number;
}

export interface Standing extends Tally {
  readonly contestant: string;
  /** 1 + how many of its group are better beyond both intervals. */
  readonly rank: number;
  /** The last that its interval leaves it: how many are in its group, less those that it is better than beyond both. */
  readonly lastRank: number;
  readonly rating: number;
  readonly low: number;
  readonly high: number;
  /** Ratings of different groups cannot be compared: their contestants never met, directly or through others. */
  readonly group: number;
  readonly battles: number;
  /** As if all answers were of equal length; null where lengths are not known or never differ. */
  readonly lengthControlledRating: number | null;
  /** Mean of the expected win rates against all others of its group, at equal length. */
  readonly lengthControlledWinRate: number | null;
  readonly meanCharacters: number | null;
}

/** Two contestants that met; `a` is the higher rated. */
export interface Pairing extends Tally {
  readonly a: string;
  readonly b: string;
  /** Exact, two-sided, of wins against losses. */
  readonly signTestP: number;
  /** Of `a`, by the ratings. */
  readonly expectedWinRate: number;
  /** Of `a`, at equal length. */
  readonly lengthControlledWinRate: number | null;
  /** Whether the ratings' intervals do not overlap. */
  readonly separable: boolean;
}

/** Whether the place of an answer mattered. */
export interface PositionBias {
  readonly left: number;
  readonly right: number;
  /** Of the decided ones; null without any. */
  readonly leftShare: number | null;
  /** Exact, two-sided. */
  readonly p: number;
}

export interface Leaderboard {
  readonly battles: number;
  readonly rounds: number;
  readonly confidence: number;
  /** Best first, group after group. */
  readonly standings: readonly Standing[];
  readonly pairings: readonly Pairing[];
  readonly position: PositionBias;
  /** Log-odds of a much longer answer to win by length alone. */
  readonly lengthEffect: number | null;
  /** What a reader has to know before believing a number, in sentences. */
  readonly notes: readonly string[];
}

/** With fewer battles a single long answer decides what would be at equal length. */
const fewestForLength = 30;

/** Of more pairs only the number is told. */
const mostNamed = 3;

/** The mean rating of a group. */
const meanRating = 1000;

export interface LeaderboardOptions {
  readonly rounds?: number;
  readonly seed?: number;
  readonly confidence?: number;
}

/** Everything that the votes say. Pure, and the same for the same matches in the same order. */
export function leaderboardOf(
  matches: readonly Match[],
  { rounds = 1000, seed = 2305, confidence = 0.95 }: LeaderboardOptions = {},
): Leaderboard {
  const names = [...new Set(matches.flatMap(({ left, right }) => [left, right]))].toSorted();
  const numbers = new Map(names.map((name, number) => [name, number]));
  const numberOf = (name: string) => numbers.get(name) ?? 0;
  // A contestant against itself says nothing of anybody's strength; its places still count below.
  const proper = matches.filter(({ left, right }) => left !== right);
  const counts = countPairs(proper, names.length, numberOf);
  const groups = groupsOf(scoresOf(counts));
  const fit = fitBradleyTerry(scoresOf(counts), groups);
  const intervals =
    proper.length === 0
      ? names.map((): Interval => ({ low: 0, high: 0 }))
      : bootstrapIntervals(counts, groups, fit, { rounds, seed, confidence });
  const ratedIntervals = intervals.map(({ low, high }) => ({ low: ratingOf(low), high: ratingOf(high) }));
  const measured = proper.flatMap((match) => measure(match, numberOf));
  const lengthControlled =
    measured.length < fewestForLength ? null : fitLengthControlled(measured, names.length, groups);
  const controlled = new Set(measured.flatMap(({ first, second }) => [first, second]));
  const standings = names
    .map((name, number): Standing => {
      const interval = ratedIntervals[number] ?? { low: meanRating, high: meanRating };
      const group = ratedIntervals.filter((_, index) => groups[index] === groups[number]);
      const better = group.filter(({ low }) => low > interval.high);
      const worse = group.filter(({ high }) => high < interval.low);
      return {
        contestant: name,
        rank: 1 + better.length,
        lastRank: group.length - worse.length,
        rating: ratingOf(at(fit.strengths, number)),
        ...interval,
        group: at(groups, number),
        battles: proper.filter(({ left, right }) => left === name || right === name).length,
        ...tally(proper.flatMap((match) => seenBy(name, match))),
        lengthControlledRating:
          lengthControlled !== null && controlled.has(number) ? ratingOf(at(lengthControlled.strengths, number)) : null,
        lengthControlledWinRate: controlled.has(number) ? meanWinRate(number, lengthControlled, groups) : null,
        meanCharacters: meanCharacters(name, proper),
      };
    })
    .toSorted((one, other) => one.group - other.group || other.rating - one.rating);
  const places = matches.flatMap((match) => match.places ?? [match.winner]);
  const position = positionBias(places);
  const order = new Map(standings.map(({ contestant }, index) => [contestant, index]));
  const pairings = pairingsOf(proper, standings, order, (a, b) =>
    lengthControlled !== null && controlled.has(numberOf(a)) && controlled.has(numberOf(b))
      ? sigmoid(at(lengthControlled.strengths, numberOf(a)) - at(lengthControlled.strengths, numberOf(b)))
      : null,
  );
  return {
    battles: matches.length,
    rounds,
    confidence,
    standings,
    pairings,
    position,
    lengthEffect: lengthControlled?.lengthEffect ?? null,
    notes: notesOf(standings, pairings, position, {
      matches: proper.length,
      corrected: fit.kind === "corrected",
      lengthControlled: lengthControlled !== null,
      measured: measured.length,
    }),
  };
}

function ratingOf(strength: number): number {
  return meanRating + eloPerLogOdds * strength;
}

function countPairs(matches: readonly Match[], contestants: number, numberOf: (name: string) => number): PairCounts {
  const cells = new Map<string, { first: number; second: number; wins: [number, number, number] }>();
  for (const { left, right, winner } of matches) {
    const [first, second] = [numberOf(left), numberOf(right)].toSorted((a, b) => a - b) as [number, number];
    const key = `${first},${second}`;
    const cell = cells.get(key) ?? { first, second, wins: [0, 0, 0] };
    cells.set(key, cell);
    const score = leftScore(winner);
    if (score === 0.5) cell.wins[2]++;
    else if ((score === 1) === (first === numberOf(left))) cell.wins[0]++;
    else cell.wins[1]++;
  }
  const list = [...cells.values()].toSorted((one, other) => one.first - other.first || one.second - other.second);
  return {
    contestants,
    first: Int32Array.from(list, ({ first }) => first),
    second: Int32Array.from(list, ({ second }) => second),
    firstWins: Int32Array.from(list, ({ wins }) => wins[0]),
    secondWins: Int32Array.from(list, ({ wins }) => wins[1]),
    ties: Int32Array.from(list, ({ wins }) => wins[2]),
  };
}

function measure(match: Match, numberOf: (name: string) => number): readonly MeasuredMatch[] {
  const { left, right, winner, leftCharacters, rightCharacters } = match;
  if (leftCharacters === null || rightCharacters === null) return [];
  return [
    {
      first: numberOf(left),
      second: numberOf(right),
      score: leftScore(winner),
      lengthDifference: leftCharacters - rightCharacters,
    },
  ];
}

type Result = "win" | "loss" | "tie" | "bothBad";

/** @returns the match's result for `name`; nothing when it took no part. */
function seenBy(name: string, { left, right, winner }: Match): readonly Result[] {
  if (name !== left && name !== right) return [];
  if (winner === "tie" || winner === "bothBad") return [winner];
  return [(winner === "left") === (name === left) ? "win" : "loss"];
}

function tally(results: readonly Result[]): Tally {
  const count = (wanted: Result) => results.filter((result) => result === wanted).length;
  const [wins, losses, ties, bothBad] = [count("win"), count("loss"), count("tie"), count("bothBad")];
  return {
    wins,
    losses,
    ties,
    bothBad,
    winRate: results.length === 0 ? 0.5 : (wins + (ties + bothBad) / 2) / results.length,
  };
}

function pairingsOf(
  matches: readonly Match[],
  standings: readonly Standing[],
  order: ReadonlyMap<string, number>,
  lengthControlledWinRate: (a: string, b: string) => number | null,
): readonly Pairing[] {
  const met = new Map<string, { a: Standing; b: Standing; matches: Match[] }>();
  for (const match of matches) {
    const places = [order.get(match.left) ?? 0, order.get(match.right) ?? 0].toSorted((one, other) => one - other);
    const [a, b] = places.map((place) => standings[place]);
    if (a === undefined || b === undefined) continue;
    const key = places.join();
    const pair = met.get(key) ?? { a, b, matches: [] };
    pair.matches.push(match);
    met.set(key, pair);
  }
  return [...met.values()]
    .toSorted(
      (one, other) => one.a.rank - other.a.rank || other.a.rating - one.a.rating || other.b.rating - one.b.rating,
    )
    .map(({ a, b, matches }) => {
      const result = tally(matches.flatMap((match) => seenBy(a.contestant, match)));
      return {
        a: a.contestant,
        b: b.contestant,
        ...result,
        signTestP: signTest(result.wins, result.losses),
        expectedWinRate: sigmoid((a.rating - b.rating) / eloPerLogOdds),
        lengthControlledWinRate: lengthControlledWinRate(a.contestant, b.contestant),
        separable: a.low > b.high || b.low > a.high,
      };
    });
}

function meanWinRate(number: number, fit: LengthControlledFit | null, groups: Int32Array): number | null {
  if (fit === null) return null;
  const rates = [...groups.keys()]
    .filter((other) => other !== number && groups[other] === groups[number])
    .map((other) => sigmoid(at(fit.strengths, number) - at(fit.strengths, other)));
  return rates.length === 0 ? null : rates.reduce((sum, rate) => sum + rate, 0) / rates.length;
}

function meanCharacters(name: string, matches: readonly Match[]): number | null {
  const lengths = matches.flatMap(({ left, right, leftCharacters, rightCharacters }) =>
    [left === name ? leftCharacters : null, right === name ? rightCharacters : null].filter(
      (length) => length !== null,
    ),
  );
  return lengths.length === 0 ? null : lengths.reduce((sum, length) => sum + length, 0) / lengths.length;
}

function positionBias(places: readonly string[]): PositionBias {
  const left = places.filter((place) => place === "left").length;
  const right = places.filter((place) => place === "right").length;
  return { left, right, leftShare: left + right === 0 ? null : left / (left + right), p: signTest(left, right) };
}

/** Beyond so many times the votes there are, how many it takes says nothing. */
const farthest = 50;

/**
 * What settles the pair that is nearest to it, as the end of a sentence: intervals shrink with the root of the votes.
 */
function nearestOf(
  unsure: readonly Pairing[],
  standings: readonly Standing[],
  { matches }: { readonly matches: number },
): string {
  const known = new Map(standings.map((standing) => [standing.contestant, standing]));
  const needs = unsure.flatMap(({ a, b }) => {
    const [one, other] = [known.get(a), known.get(b)];
    if (one === undefined || other === undefined || one.rating <= other.rating) return [];
    const gap = one.rating - other.rating;
    const times = ((one.rating - one.low + other.high - other.rating) / gap) ** 2;
    return [{ a, b, more: (times - 1) * matches }];
  });
  const [nearest] = needs.toSorted((one, other) => one.more - other.more);
  if (nearest === undefined || nearest.more > farthest * matches) return "";
  const more = Math.max(1, Number(nearest.more.toPrecision(2)));
  const which = unsure.length === 1 ? "it" : `${nearest.a} and ${nearest.b}`;
  return `; about ${Math.ceil(more)} more would settle ${which}, if they go on like this`;
}

function notesOf(
  standings: readonly Standing[],
  pairings: readonly Pairing[],
  position: PositionBias,
  facts: { matches: number; corrected: boolean; lengthControlled: boolean; measured: number },
): readonly string[] {
  const notes: string[] = [];
  if (facts.matches === 0) return ["There are no votes yet."];
  if (facts.matches < 30) {
    notes.push(`${facts.matches === 1 ? "One battle" : `Only ${facts.matches} battles`}: too few to tell much.`);
  }
  const groups = new Set(standings.map(({ group }) => group)).size;
  if (groups > 1) {
    notes.push(
      `The contestants fall into ${groups} groups that never met; ratings can be compared within a group only, where the mean is ${meanRating}.`,
    );
  }
  for (const { contestant, losses, ties, bothBad, wins } of standings) {
    if (losses + ties + bothBad === 0 && wins > 0) {
      notes.push(`${contestant} has won every battle: its strength has no upper limit in these votes.`);
    }
    if (wins + ties + bothBad === 0 && losses > 0) {
      notes.push(`${contestant} has lost every battle: its strength has no lower limit in these votes.`);
    }
  }
  if (facts.corrected) {
    notes.push(
      "Some contestants never scored against others, so one tie more is counted in every pair that met; the ratings are finite by that only.",
    );
  }
  if (!facts.lengthControlled && facts.measured > 0) {
    notes.push(
      facts.measured < fewestForLength
        ? `Nothing is said of answers of equal length: that takes ${fewestForLength} battles whose answers are known.`
        : "Nothing is said of answers of equal length: in these votes length and strength cannot be told apart.",
    );
  }
  if (facts.lengthControlled && facts.measured < facts.matches) {
    notes.push(`Length control uses the ${facts.measured} of ${facts.matches} battles whose answers are known.`);
  }
  const unsure = pairings.filter(({ separable }) => !separable);
  if (unsure.length > 0) {
    const which =
      unsure.length > mostNamed
        ? `${unsure.length} of the ${pairings.length} pairs that met`
        : unsure.map(({ a, b }) => `${a} and ${b}`).join("; ");
    const votes = facts.matches === 1 ? "this vote" : `these ${facts.matches} votes`;
    notes.push(
      `Not separable by ${votes}, as their intervals overlap: ${which}${nearestOf(unsure, standings, facts)}.`,
    );
  }
  if (position.p < 0.05) {
    const favoured = position.left > position.right ? "left (or first)" : "right (or second)";
    notes.push(
      `The ${favoured} place was preferred more often than chance explains (p = ${position.p.toPrecision(2)}).`,
    );
  }
  return notes;
}
