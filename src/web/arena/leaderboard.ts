import type { Leaderboard, Pair, Standing } from "../../leaderboard/board.js";
import { field, fields, list, number, text } from "../wire/read.js";

export interface ServedLeaderboard extends Leaderboard {
  /** When its votes were counted; null from a server that does not say. */
  readonly computedAt: Date | null;
}

export function readLeaderboard(body: unknown): ServedLeaderboard {
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
    computedAt: dateOf(text(field(board, "computed_at"))),
  };
}

function dateOf(words: string | null): Date | null {
  const date = new Date(words ?? Number.NaN);
  return Number.isNaN(date.getTime()) ? null : date;
}

function readStanding(value: unknown): Standing {
  const standing = fields(value);
  return {
    contestant: text(field(standing, "contestant")) ?? "unknown",
    rank: number(field(standing, "rank")) ?? 0,
    lastRank: number(field(standing, "last_rank")) ?? number(field(standing, "rank")) ?? 0,
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
    bothBad: number(field(pair, "both_bad")) ?? 0,
    winRate: number(field(pair, "win_rate")),
    signTestP: number(field(pair, "sign_test_p")),
    lengthControlledWinRate: number(field(pair, "length_controlled_win_rate")),
    separable: field(pair, "separable") === true,
  };
}
