import { describe, expect, it } from "vitest";
import { TextGuesses } from "../../../src/engine/loop/text-guesses.js";

const once = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20];

describe("TextGuesses", () => {
  it("guesses what followed when the last five tokens stood there before", () => {
    expect(new TextGuesses().next([...once, 99, 1, 2, 3, 4, 5], 16)).toEqual([6, 7, 8, 9]);
    // The later one of two places.
    const twice = [1, 2, 3, 4, 5, 6, 6, 6, 6, 1, 2, 3, 4, 5, 7, 7, 7, 7, 99, 1, 2, 3, 4, 5];
    expect(new TextGuesses().next(twice, 16)).toEqual([7, 7, 7, 7]);
  });

  it("guesses nothing of a text that says nothing again, or too little of it", () => {
    expect(new TextGuesses().next(once, 16)).toEqual([]);
    expect(new TextGuesses().next([...once, 99, 2, 3, 4, 5], 16)).toEqual([]);
    expect(new TextGuesses().next([1, 2], 16)).toEqual([]);
    expect(new TextGuesses().next([], 16)).toEqual([]);
  });

  it("goes on with a run that overlaps its own repetition", () => {
    expect(new TextGuesses().next([7, 8, 7, 8, 7, 8, 7], 16)).toEqual([8, 7, 8, 7]);
    expect(new TextGuesses().next([5, 5, 5, 5, 5, 5], 16)).toEqual([5, 5, 5, 5]);
  });

  it("guesses no more than there is room for", () => {
    expect(new TextGuesses().next([...once, 99, 1, 2, 3, 4, 5], 2)).toEqual([6, 7]);
  });

  it("dares more as long as all of it comes true, up to the most, and less after that", () => {
    const guesses = new TextGuesses();
    const long = Array.from({ length: 100 }, (_, index) => index);
    const text = [...long, 999, 0, 1, 2, 3, 4];
    const reaches: number[] = [];
    for (const right of [4, 8, 12, 2]) {
      const guessed = guesses.next(text, 12);
      reaches.push(guessed.length);
      const next = text.at(-1) as number;
      for (let token = 1; token <= right + 1; token++) text.push(next + token);
      guesses.settle(right, guessed.length, text.length, 12);
    }
    expect(reaches).toEqual([4, 8, 12, 12]);
    expect(guesses.next(text, 12)).toHaveLength(4);
  });

  it("pauses after a try of which nothing came true, longer each time, and is soon back after one that did", () => {
    const guesses = new TextGuesses();
    const text = [...once, 99, 1, 2, 3, 4, 5];
    const again = (tokens: number) => guesses.next([...text, ...Array(tokens).fill(99), 1, 2, 3, 4, 5], 16);
    expect(guesses.next(text, 16)).toHaveLength(4);
    guesses.settle(0, 4, text.length + 1, 16);
    // Text of the end's five tokens and as many as it takes to be past the pause.
    expect(guesses.next(text, 16)).toEqual([]);
    expect(again(0)).toHaveLength(4);
    guesses.settle(0, 4, text.length + 6, 16);
    expect(again(8)).toEqual([]);
    expect(again(9)).toHaveLength(4);
    guesses.settle(1, 4, text.length + 16, 16);
    expect(again(11)).toHaveLength(4);
    guesses.settle(0, 4, text.length + 17, 16);
    expect(again(15)).toEqual([]);
    expect(again(16)).toHaveLength(4);
  });
});
