import { field, fields, list, number, text } from "../wire/read.js";

/** What GET /v1/arena/leaderboard says, as the page reads it; null: not known. */
export interface Leaderboard {
  readonly battles: number;
  readonly confidence: number;
  readonly categories: readonly string[];
  readonly contestants: readonly Standing[];
  readonly pairs: readonly Pair[];
  readonly position: {
    readonly left: number;
    readonly right: number;
    readonly leftShare: number | null;
    readonly p: number | null;
  };
  readonly notes: readonly string[];
}

export interface Standing {
  readonly contestant: string;
  readonly rank: number;
  readonly rating: number | null;
  readonly low: number | null;
  readonly high: number | null;
  readonly group: number;
  readonly battles: number;
  readonly wins: number;
  readonly losses: number;
  readonly ties: number;
  readonly bothBad: number;
  readonly winRate: number | null;
  readonly lengthControlledWinRate: number | null;
  readonly meanCharacters: number | null;
}

export interface Pair {
  readonly a: string;
  readonly b: string;
  readonly wins: number;
  readonly losses: number;
  readonly ties: number;
  readonly winRate: number | null;
  readonly signTestP: number | null;
  readonly lengthControlledWinRate: number | null;
  readonly separable: boolean;
}

export function readLeaderboard(body: unknown): Leaderboard {
  const board = fields(body);
  const position = fields(field(board, "position"));
  return {
    battles: number(field(board, "battles")) ?? 0,
    confidence: number(field(board, "confidence")) ?? 0.95,
    categories: list(field(board, "categories")).flatMap((category) => text(category) ?? []),
    contestants: list(field(board, "contestants")).map(readStanding),
    pairs: list(field(board, "pairs")).map(readPair),
    position: {
      left: number(field(position, "left")) ?? 0,
      right: number(field(position, "right")) ?? 0,
      leftShare: number(field(position, "left_share")),
      p: number(field(position, "p")),
    },
    notes: list(field(board, "notes")).flatMap((note) => text(note) ?? []),
  };
}

function readStanding(value: unknown): Standing {
  const standing = fields(value);
  return {
    contestant: text(field(standing, "contestant")) ?? "unknown",
    rank: number(field(standing, "rank")) ?? 0,
    rating: number(field(standing, "rating")),
    low: number(field(standing, "low")),
    high: number(field(standing, "high")),
    group: number(field(standing, "group")) ?? 0,
    battles: number(field(standing, "battles")) ?? 0,
    wins: number(field(standing, "wins")) ?? 0,
    losses: number(field(standing, "losses")) ?? 0,
    ties: number(field(standing, "ties")) ?? 0,
    bothBad: number(field(standing, "both_bad")) ?? 0,
    winRate: number(field(standing, "win_rate")),
    lengthControlledWinRate: number(field(standing, "length_controlled_win_rate")),
    meanCharacters: number(field(standing, "mean_characters")),
  };
}

function readPair(value: unknown): Pair {
  const pair = fields(value);
  return {
    a: text(field(pair, "a")) ?? "unknown",
    b: text(field(pair, "b")) ?? "unknown",
    wins: number(field(pair, "wins")) ?? 0,
    losses: number(field(pair, "losses")) ?? 0,
    ties: number(field(pair, "ties")) ?? 0,
    winRate: number(field(pair, "win_rate")),
    signTestP: number(field(pair, "sign_test_p")),
    lengthControlledWinRate: number(field(pair, "length_controlled_win_rate")),
    separable: field(pair, "separable") === true,
  };
}

/** One cell of the win matrix: how `row` did against `column`. */
export interface Meeting {
  readonly winRate: number | null;
  readonly battles: number;
  readonly separable: boolean;
}

/** @returns null when the two never met. */
export function meetingOf(pairs: readonly Pair[], row: string, column: string): Meeting | null {
  const pair = pairs.find(({ a, b }) => (a === row && b === column) || (a === column && b === row));
  if (pair === undefined) return null;
  const winRate = pair.winRate === null || pair.a === row ? pair.winRate : 1 - pair.winRate;
  return { winRate, battles: pair.wins + pair.losses + pair.ties, separable: pair.separable };
}

/** @returns round tick values that cover the range, at most about `count` of them. */
export function ticks(low: number, high: number, count: number): readonly number[] {
  const rough = Math.max(high - low, 1) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough) ?? rough;
  const first = Math.ceil(low / step);
  const last = Math.floor(high / step);
  return Array.from({ length: Math.max(0, last - first + 1) }, (_, at) => (first + at) * step);
}
