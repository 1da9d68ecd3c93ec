import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { eloPerLogOdds } from "../../../src/arena/ratings/bradley-terry.js";
import { type Leaderboard, leaderboardOf, type Standing } from "../../../src/arena/ratings/leaderboard.js";
import type { Match, Winner } from "../../../src/arena/ratings/match.js";
import { signTest } from "../../../src/arena/ratings/sign-test.js";

type Row = readonly [left: string, right: string, winner: Winner, leftCharacters: number, rightCharacters: number];

interface ReferenceCase {
  readonly matches: readonly Row[];
  readonly contestants: readonly string[];
  readonly ratings: readonly number[];
  readonly low: readonly number[];
  readonly high: readonly number[];
  readonly lengthControlledRatings: readonly number[];
  readonly lengthEffect: number;
}

/** Made by scripts/write_rating_reference.py with choix, statsmodels and scipy. */
const reference = JSON.parse(readFileSync(new URL("./reference.json", import.meta.url), "utf8")) as {
  readonly four: ReferenceCase;
  readonly two: ReferenceCase;
  readonly signTests: readonly { readonly wins: number; readonly losses: number; readonly p: number }[];
};

function matchOf([left, right, winner, leftCharacters, rightCharacters]: Row): Match {
  return { left, right, winner, leftCharacters, rightCharacters };
}

function match(left: string, right: string, winner: Winner): Match {
  return { left, right, winner, leftCharacters: null, rightCharacters: null };
}

function standing({ standings }: Leaderboard, contestant: string): Standing {
  const found = standings.find((one) => one.contestant === contestant);
  if (found === undefined) throw new Error(`${contestant} is not on the leaderboard`);
  return found;
}

describe.each(["four", "two"] as const)("against choix and statsmodels, %s contestants", (name) => {
  const expected = reference[name];
  const board = leaderboardOf(expected.matches.map(matchOf));

  it("ratings agree to 4 digits after the point", () => {
    expected.contestants.forEach((contestant, index) => {
      expect(standing(board, contestant).rating).toBeCloseTo(expected.ratings[index] ?? Number.NaN, 4);
    });
  });

  it("length-controlled ratings agree as far, and so does the effect of length", () => {
    expected.contestants.forEach((contestant, index) => {
      const rating = standing(board, contestant).lengthControlledRating;
      expect(rating).toBeCloseTo(expected.lengthControlledRatings[index] ?? Number.NaN, 4);
    });
    expect(board.lengthEffect).toBeCloseTo(expected.lengthEffect, 6);
  });

  it("intervals agree within the noise of the bootstrap", () => {
    expected.contestants.forEach((contestant, index) => {
      const { low, high } = standing(board, contestant);
      const width = (expected.high[index] ?? 0) - (expected.low[index] ?? 0);
      // The 2.5 % quantile of 1,000 normal samples has a standard error of 0.083 σ, 0.021 of the interval's width; 4 of those.
      expect(Math.abs(low - (expected.low[index] ?? 0)) / width).toBeLessThan(0.09);
      expect(Math.abs(high - (expected.high[index] ?? 0)) / width).toBeLessThan(0.09);
    });
  });
});

describe("a published example", () => {
  // American League East 1987: Agresti, Categorical Data Analysis (2002), table 10.10; the R package BradleyTerry2 prints the coefficients.
  const teams = ["Milwaukee", "Detroit", "Toronto", "New York", "Boston", "Cleveland", "Baltimore"];
  const winsAgainst = [
    [0, 7, 9, 7, 7, 9, 11],
    [6, 0, 7, 5, 11, 9, 9],
    [4, 6, 0, 7, 7, 8, 12],
    [6, 8, 6, 0, 6, 7, 10],
    [6, 2, 6, 7, 0, 7, 12],
    [4, 4, 5, 6, 6, 0, 6],
    [2, 4, 1, 3, 1, 7, 0],
  ];
  const coefficients = [1.5814, 1.4364, 1.2945, 1.2476, 1.1077, 0.6839, 0];

  it("gives the published abilities to 4 digits", () => {
    const matches = winsAgainst.flatMap((row, i) =>
      row.flatMap((wins, j) =>
        Array.from({ length: wins }, () => match(teams[i] as string, teams[j] as string, "left")),
      ),
    );
    const board = leaderboardOf(matches, { rounds: 10 });
    const baltimore = standing(board, "Baltimore").rating;
    const abilities = teams.map((team) => (standing(board, team).rating - baltimore) / eloPerLogOdds);
    abilities.forEach((ability, index) => {
      expect(ability).toBeCloseTo(coefficients[index] ?? Number.NaN, 4);
    });
  });
});

describe("the sign test", () => {
  it.each(reference.signTests)("of $wins to $losses is scipy's", ({ wins, losses, p }) => {
    expect(signTest(wins, losses) / p).toBeCloseTo(1, 9);
  });
});

describe("what the votes do not settle", () => {
  const votes = (left: string, right: string, wins: number, losses: number) => [
    ...Array.from({ length: wins }, () => match(left, right, "left")),
    ...Array.from({ length: losses }, () => match(left, right, "right")),
  ];

  it("is one sentence, whatever the number of pairs, with what the nearest of them would take", () => {
    const names = ["a", "b", "c", "d", "e"];
    const matches = names.flatMap((left, at) => names.slice(at + 1).flatMap((right) => votes(left, right, 3, 2)));
    const { notes, pairings, standings } = leaderboardOf(matches);
    const said = notes.filter((note) => /separable/.test(note));
    expect(pairings.filter(({ separable }) => !separable).length).toBeGreaterThan(3);
    expect(said).toHaveLength(1);
    expect(said[0]).toMatch(
      /^Not separable by these 50 votes, .*: \d+ of the 10 pairs that met; about \d+ more would settle \w and \w, if they go on like this\.$/,
    );
    // Any place that the intervals leave, not the first for everybody.
    expect(standings[0]?.rank).toBe(1);
    expect(standings[0]?.lastRank).toBeGreaterThan(1);
    expect(standings.at(-1)).toMatchObject({ lastRank: 5 });
  });

  it("takes about as many votes as it says: that many more of the same settle the pair", () => {
    const { notes, pairings } = leaderboardOf(votes("a", "b", 18, 12));
    expect(pairings[0]?.separable).toBe(false);
    const more = Number(/about (\d+) more/.exec(notes.join(" "))?.[1]);
    const times = (30 + more) / 30;
    const settled = (factor: number) =>
      leaderboardOf(votes("a", "b", Math.round(18 * factor), Math.round(12 * factor))).pairings[0]?.separable;
    expect([settled(times * 0.7), settled(times * 1.3)]).toEqual([false, true]);
  });

  it("has no number where it is out of sight, and ranks are single where all is settled", () => {
    expect(leaderboardOf(votes("a", "b", 10, 10)).notes.join(" ")).not.toMatch(/more would settle/);
    expect(leaderboardOf(votes("a", "b", 90, 10)).standings).toMatchObject([
      { rank: 1, lastRank: 1 },
      { rank: 2, lastRank: 2 },
    ]);
  });
});

describe("degenerate votes", () => {
  it("no vote at all makes an empty board that says so", () => {
    expect(leaderboardOf([])).toMatchObject({ battles: 0, standings: [], pairings: [], lengthEffect: null });
    expect(leaderboardOf([]).notes).toEqual(["There are no votes yet."]);
  });

  it("one battle gives finite ratings that are not separable, and a warning", () => {
    const board = leaderboardOf([match("a", "b", "left")]);
    expect(board.standings.map(({ contestant }) => contestant)).toEqual(["a", "b"]);
    // One win and one tie: odds of 3 to 1.
    expect(board.standings[0]?.rating).toBeCloseTo(1000 + 200 * Math.log10(3), 6);
    expect(board.pairings[0]).toMatchObject({ separable: false });
    expect(board.standings[0]?.low).toBeLessThan(1000);
    expect(board.notes.join(" ")).toMatch(/One battle: too few.*a has won every battle.*b has lost every battle/);
  });

  it("a contestant that never lost is rated finitely, above all, and named", () => {
    const matches = [
      ...Array.from({ length: 10 }, () => match("champion", "a", "left")),
      ...Array.from({ length: 10 }, () => match("b", "champion", "right")),
      ...Array.from({ length: 6 }, () => match("a", "b", "left")),
      ...Array.from({ length: 5 }, () => match("b", "a", "left")),
    ];
    const board = leaderboardOf(matches);
    expect(board.standings[0]).toMatchObject({ contestant: "champion", wins: 20, losses: 0, rank: 1 });
    expect(board.standings.every(({ rating, low, high }) => [rating, low, high].every(Number.isFinite))).toBe(true);
    expect(board.notes).toContain("champion has won every battle: its strength has no upper limit in these votes.");
    expect(board.pairings.find(({ a, b }) => a === "champion" && b === "b")).toMatchObject({ separable: true });
    expect(board.pairings.find(({ a }) => a !== "champion")).toMatchObject({ separable: false });
  });

  it("contestants that never met are rated in groups of their own", () => {
    const halves = [
      match("a", "b", "left"),
      match("a", "b", "right"),
      match("c", "d", "left"),
      match("d", "c", "left"),
    ];
    const board = leaderboardOf(halves);
    expect(board.standings.map(({ contestant, group, rating }) => [contestant, group, Math.round(rating)])).toEqual([
      ["a", 0, 1000],
      ["b", 0, 1000],
      ["c", 1, 1000],
      ["d", 1, 1000],
    ]);
    expect(board.notes.join(" ")).toContain("2 groups that never met");
  });

  it("nothing but ties leaves everybody equal", () => {
    const board = leaderboardOf(Array.from({ length: 8 }, (_, at) => match("a", "b", at % 2 ? "tie" : "bothBad")));
    expect(board.standings).toMatchObject([
      { rating: 1000, low: 1000, high: 1000, ties: 4, bothBad: 4, winRate: 0.5 },
      { rating: 1000, rank: 1 },
    ]);
    expect(board.pairings[0]).toMatchObject({ signTestP: 1, separable: false });
  });

  it("a contestant against itself counts for the places only", () => {
    const board = leaderboardOf([match("a", "a", "left"), match("a", "b", "left"), match("b", "a", "left")]);
    expect(board.standings).toMatchObject([{ battles: 2 }, { battles: 2 }]);
    expect(board.position).toMatchObject({ left: 3, right: 0, leftShare: 1 });
    expect(board.position.p).toBeCloseTo(0.25, 12);
  });

  it("votes that length alone explains say nothing of equal length, and neither do few", () => {
    const matches = Array.from(
      { length: 40 },
      (_, at): Match => ({
        left: "a",
        right: "b",
        winner: at % 2 ? "left" : "right",
        leftCharacters: at % 2 ? 300 + at : 100,
        rightCharacters: at % 2 ? 100 : 300 + at,
      }),
    );
    const board = leaderboardOf(matches);
    expect(board.lengthEffect).toBeNull();
    expect(board.standings[0]?.lengthControlledWinRate).toBeNull();
    expect(board.notes.join(" ")).toContain("in these votes length and strength cannot be told apart");
    const few = leaderboardOf([
      ...matches.slice(0, 8),
      ...matches.slice(0, 8).map((one) => ({ ...one, winner: "tie" as const })),
    ]);
    expect([few.lengthEffect, few.pairings[0]?.lengthControlledWinRate]).toEqual([null, null]);
    expect(few.notes.join(" ")).toContain("that takes 30 battles whose answers are known");
  });
});

describe("places", () => {
  it("a judge asked in both orders counts twice, by place", () => {
    const both: Match = { ...match("a", "b", "tie"), places: ["left", "left"] };
    const board = leaderboardOf(Array.from({ length: 10 }, () => both));
    expect(board.position).toMatchObject({ left: 20, right: 0, leftShare: 1 });
    expect(board.position.p).toBeCloseTo(2 ** -19, 10);
    expect(board.notes.join(" ")).toContain("The left (or first) place was preferred");
  });
});

describe("the board as a whole", () => {
  const votes = reference.four.matches.map(matchOf);

  it("does not depend on the sides, but for the places", () => {
    const turn: Record<Winner, Winner> = { left: "right", right: "left", tie: "tie", bothBad: "bothBad" };
    const turned = votes.map(
      ({ left, right, winner, leftCharacters, rightCharacters }): Match => ({
        left: right,
        right: left,
        winner: turn[winner],
        leftCharacters: rightCharacters,
        rightCharacters: leftCharacters,
      }),
    );
    const board = leaderboardOf(votes);
    const other = leaderboardOf(turned);
    for (const [index, one] of board.standings.entries()) {
      expect(other.standings[index]?.contestant).toBe(one.contestant);
      expect(other.standings[index]?.rating).toBeCloseTo(one.rating, 9);
      expect(other.standings[index]?.low).toBeCloseTo(one.low, 9);
      expect(other.standings[index]?.lengthControlledRating).toBeCloseTo(one.lengthControlledRating ?? 0, 9);
    }
    expect(other.position.left).toBe(board.position.right);
  });

  it("is the same every time, and other seeds move the intervals only a little", () => {
    expect(leaderboardOf(votes)).toEqual(leaderboardOf(votes));
    const [one, other] = [leaderboardOf(votes), leaderboardOf(votes, { seed: 1 })];
    expect(other.standings[0]?.rating).toBe(one.standings[0]?.rating);
    expect(other.standings[0]?.low).not.toBe(one.standings[0]?.low);
    expect(Math.abs((other.standings[0]?.low ?? 0) - (one.standings[0]?.low ?? 0))).toBeLessThan(8);
  });

  it("adds up: every battle is in one pairing and in two standings", () => {
    const { standings, pairings } = leaderboardOf(votes);
    const games = (tally: { wins: number; losses: number; ties: number; bothBad: number }) =>
      tally.wins + tally.losses + tally.ties + tally.bothBad;
    expect(pairings.reduce((sum, pairing) => sum + games(pairing), 0)).toBe(votes.length);
    expect(standings.reduce((sum, one) => sum + games(one), 0)).toBe(2 * votes.length);
    expect(standings.every((one) => games(one) === one.battles)).toBe(true);
  });
});
