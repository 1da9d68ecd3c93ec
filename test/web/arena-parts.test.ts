import { describe, expect, it } from "vitest";
import { meetingOf, ticks } from "../../src/leaderboard/board.js";
import {
  type Battle,
  castVote,
  newBattle,
  reveal,
  withFrame,
  withoutVote,
  withTurn,
} from "../../src/web/arena/battle.js";
import { readLeaderboard } from "../../src/web/arena/leaderboard.js";
import { compareEvents } from "../../src/web/compare/compare-frames.js";
import { emptyAnswer, reduceAnswer } from "../../src/web/wire/answer.js";

const frames = [
  { kind: "battle", id: "b_1" },
  { kind: "text", side: "left", text: "One" },
  { kind: "text", side: "right", text: "Two" },
  { kind: "text", side: "left", text: " more" },
  { kind: "end", side: "left" },
  { kind: "end", side: "right" },
  { kind: "complete", id: "b_1", ballot: "secret" },
];

function fought(): Battle {
  return frames.reduce<Battle>(withFrame, newBattle("Count."));
}

describe("a blind battle", () => {
  it("grows on both sides and may be voted on when complete", () => {
    expect(fought()).toMatchObject({
      phase: "complete",
      id: "b_1",
      ballot: "secret",
      turns: [{ prompt: "Count.", left: "One more", right: "Two" }],
    });
  });

  it("goes on with further turns, and loses only the last of them when that fails", () => {
    const asked = withTurn(fought(), "Go on.");
    expect(asked.phase).toBe("answering");
    expect(withTurn(asked, "Twice.")).toBe(asked);
    const again = frames.reduce<Battle>(withFrame, asked);
    expect(again).toMatchObject({
      phase: "complete",
      turns: [{ left: "One more" }, { prompt: "Go on.", right: "Two" }],
    });
    const failed = withFrame(withTurn(again, "More."), { kind: "void", error: { message: "One failed." } });
    expect(failed).toEqual({ ...again, problem: "One failed." });
    expect(castVote(failed, "left")).toMatchObject({ phase: "voting", id: "b_1", ballot: "secret" });
  });

  it("takes no vote before it is complete, and one only", () => {
    const early = withFrame(newBattle("Count."), frames[1]);
    expect(castVote(early, "left")).toBe(early);
    const voting = castVote(fought(), "tie");
    expect(voting).toMatchObject({ phase: "voting", winner: "tie", ballot: "secret" });
    expect(castVote(voting, "left")).toBe(voting);
  });

  it("names the two only after the vote", () => {
    const record = {
      left: { contestant: "tiny:alpaca", label: "Tiny", steering: { strength: 0.5 } },
      right: { contestant: "rival" },
    };
    expect(reveal(fought(), record).phase).toBe("complete");
    expect(reveal(castVote(fought(), "left"), record)).toMatchObject({
      phase: "revealed",
      winner: "left",
      names: {
        left: { label: "Tiny", isSteered: true, strength: 0.5 },
        right: { label: "rival", isSteered: false, strength: null },
      },
    });
  });

  it("may be voted on again when the vote did not arrive", () => {
    const back = withoutVote(castVote(fought(), "left"), { kind: "refused", sentence: "Too many votes." });
    expect(back).toMatchObject({
      phase: "complete",
      ballot: "secret",
      problem: "The vote was not stored. Too many votes.",
    });
    expect(castVote(back, "right").phase).toBe("voting");
  });

  it("is void with the server's sentence", () => {
    const sentence = "The left side failed.";
    for (const frame of [{ kind: "void", error: { message: sentence } }, { error: { message: sentence } }]) {
      expect(withFrame(newBattle("Count."), frame)).toMatchObject({ phase: "void", sentence });
    }
  });
});

describe("frames of a comparison", () => {
  it("grow each side's answer to its end", () => {
    const events = [
      { kind: "start", seed: 7 },
      { kind: "text", side: "left", text: "Red" },
      { kind: "text", side: "right", text: "Blue" },
      { kind: "end", side: "left", answer: { finish_reason: "length", completion_tokens: 9, prompt_tokens: 4 } },
      { kind: "error", side: "right", error: { message: "The remote server is away." } },
      { kind: "done" },
    ].flatMap(compareEvents);
    const side = (name: string) =>
      events
        .filter((one) => one.side === name)
        .reduce((answer, { event }, at) => reduceAnswer(answer, event, at), emptyAnswer(0));
    expect(side("left")).toMatchObject({ phase: "done", text: "Red", finishReason: "length", completionTokens: 9 });
    expect(side("right")).toMatchObject({
      phase: "failed",
      text: "Blue",
      problem: { sentence: "The remote server is away." },
    });
  });

  it("fail both sides on an error of the whole", () => {
    expect(compareEvents({ error: { message: "Draining." } }).map(({ side }) => side)).toEqual(["left", "right"]);
  });
});

describe("the leaderboard", () => {
  const board = readLeaderboard({
    battles: 30,
    confidence: 0.95,
    contestants: [
      { contestant: "a", rank: 1, last_rank: 2, rating: 1062.1, low: 1031.8, high: 1095, wins: 20, both_bad: 1 },
    ],
    pairs: [{ a: "a", b: "b", wins: 20, losses: 6, ties: 4, win_rate: 0.733, separable: true }],
    position: { left: 16, right: 14, left_share: 0.533, p: 0.86 },
    notes: ["a is better than b."],
  });

  it("is read with nulls where the server knows nothing", () => {
    expect(board.contestants[0]).toMatchObject({ rating: 1062.1, wins: 20, bothBad: 1, winRate: null });
    expect(board.position).toEqual({ left: 16, right: 14, leftShare: 0.533, p: 0.86 });
    expect(readLeaderboard({}).contestants).toEqual([]);
  });

  it("mirrors a pair for the matrix", () => {
    expect(meetingOf(board.pairs, "a", "b")).toEqual({ winRate: 0.733, battles: 30, separable: true });
    expect(meetingOf(board.pairs, "b", "a")?.winRate).toBeCloseTo(0.267, 12);
    expect(meetingOf(board.pairs, "a", "c")).toBeNull();
  });

  it("has round ticks within the range", () => {
    expect(ticks(981, 1107, 6)).toEqual([1000, 1050, 1100]);
    expect(ticks(1000, 1000, 6).every(Number.isFinite)).toBe(true);
  });
});
