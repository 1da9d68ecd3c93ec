import { describe, expect, it } from "vitest";
import { likeliestAt, tokenFork, tokenOfRun } from "../../src/web/steering/likeliest.js";
import { emptyAnswer, type RankedToken, reduceAnswer } from "../../src/web/wire/answer.js";

const ranked = (text: string): RankedToken => ({
  text,
  bytes: [...new TextEncoder().encode(text)],
  logprob: -1,
  top: [],
});
const [the, cat, dog, sat] = ["The", " cat", " dog", " sat"].map(ranked) as [
  RankedToken,
  RankedToken,
  RankedToken,
  RankedToken,
];

describe("the token where two answers part", () => {
  it("is the first that differs", () => {
    expect(tokenFork([the, cat, sat], [the, dog, sat], false)).toBe(1);
    expect(tokenFork([the, cat], [the, cat], true)).toBeNull();
  });

  it("is the next one where one has ended, and not where it has only not come as far", () => {
    expect(tokenFork([the], [the, cat], true)).toBe(1);
    expect(tokenFork([the], [the, cat], false)).toBeNull();
  });

  it("tells parts of characters apart, whose texts are alike", () => {
    const parts = [[0xf0], [0xe2]].map((bytes) => ({ ...ranked("\ufffd"), bytes }));
    expect(tokenFork(parts.slice(0, 1), parts.slice(1), false)).toBe(0);
  });
});

describe("the likeliest tokens", () => {
  const base = [the, cat, sat];
  const steered = [the, dog, sat];

  it("are those of the fork, of both, where none is pointed at", () => {
    expect(likeliestAt(null, 1, base, steered)).toEqual({ at: 1, base: cat, steered: dog, place: "fork" });
    expect(likeliestAt(null, null, base, base)).toBeNull();
  });

  it("are of both up to the fork, and of the steered alone behind it", () => {
    expect(likeliestAt(0, 1, base, steered)).toMatchObject({ base: the, steered: the, place: "before" });
    expect(likeliestAt(2, 1, base, steered)).toMatchObject({ base: null, steered: sat, place: "behind" });
    expect(likeliestAt(9, 1, base, steered)).toBeNull();
  });

  it("are found by the run of tokens that is pointed at", () => {
    const token = { id: 1, text: "", bytes: [], relevance: null, gains: [], vectors: [], draft: "none" } as const;
    const runs = [1, 3, 1].map((tokens) => ({ text: "", tokens: Array.from({ length: tokens }, () => token) }));
    expect([0, 1, 2].map((run) => tokenOfRun(runs, run))).toEqual([0, 1, 4]);
  });

  it("grow with the stream", () => {
    const content = (text: string) => [
      { token: text, logprob: -0.5, bytes: [], top_logprobs: [{ token: "x", logprob: -2, bytes: [] }] },
    ];
    const chunk = (text: string) => ({ choices: [{ delta: { content: text }, logprobs: { content: content(text) } }] });
    const answer = ["a", "b"].reduce(
      (grown, text) => reduceAnswer(grown, { kind: "chunk", chunk: chunk(text) }, 1),
      emptyAnswer(0),
    );
    expect(answer.ranked.map(({ text, top }) => [text, top[0]?.text])).toEqual([
      ["a", "x"],
      ["b", "x"],
    ]);
  });
});
