import { describe, expect, it } from "vitest";
import { EqualPace, type PacedFrame } from "../../../src/arena/battles/equal-pace.js";

/** Releases every 50 ms; @returns what was shown of each side after each step. */
function play(pace: EqualPace, steps: number, before: (step: number) => void = () => {}) {
  const shown = { left: "", right: "" };
  const ends: string[] = [];
  const history: { left: number; right: number }[] = [];
  for (let step = 0; step < steps; step++) {
    before(step);
    for (const frame of pace.release(step * 50) as PacedFrame[]) {
      if (frame.kind === "text") shown[frame.side] += frame.text;
      else ends.push(frame.side);
    }
    history.push({ left: shown.left.length, right: shown.right.length });
  }
  return { shown, ends, history };
}

describe("equal pace", () => {
  it("shows as much of both, however fast one of them came", () => {
    const pace = new EqualPace(200);
    pace.add("left", "x".repeat(500));
    pace.complete("left");
    const { history } = play(pace, 100, (step) => {
      if (step % 10 === 0) pace.add("right", "y".repeat(5));
    });
    expect(history.every(({ left, right }) => left === right)).toBe(true);
    expect(history.at(-1)).toEqual({ left: 50, right: 50 });
  });

  it("shows no more a second than it was told, and saves up nothing while it waits", () => {
    const pace = new EqualPace(100);
    const { history } = play(pace, 60, (step) => {
      if (step === 40) {
        pace.add("left", "x".repeat(500));
        pace.add("right", "y".repeat(500));
      }
    });
    const steps = history.map(({ left }, index) => left - (history[index - 1]?.left ?? 0));
    expect(Math.max(...steps)).toBeLessThanOrEqual(6);
    expect(history.at(-1)?.left).toBeGreaterThanOrEqual(95);
  });

  it("goes on no faster when the shorter side is out, even if all of the other is there", () => {
    const pace = new EqualPace(1000);
    pace.add("right", "y".repeat(1000));
    pace.complete("right");
    // The left side writes one character a step, twenty in all.
    const { history, ends, shown } = play(pace, 300, (step) => {
      if (step < 20) pace.add("left", "x");
      if (step === 20) pace.complete("left");
    });
    expect(ends[0]).toBe("left");
    expect(shown.left).toBe("x".repeat(20));
    const steps = history.slice(25).map(({ right }, index) => right - (history[24 + index]?.right ?? 0));
    expect(Math.max(...steps)).toBeLessThanOrEqual(2);
  });

  it("gives out every character once and no half of a pair, then ends both", () => {
    const pace = new EqualPace(60);
    const texts = { left: "🍞a🧈é".repeat(20), right: "short 🥖" };
    for (const side of ["left", "right"] as const) {
      pace.add(side, texts[side]);
      pace.complete(side);
    }
    const frames: PacedFrame[] = [];
    for (let step = 0; !pace.done; step++) frames.push(...pace.release(step * 50));
    for (const side of ["left", "right"] as const) {
      const pieces = frames.flatMap((frame) => (frame.kind === "text" && frame.side === side ? [frame.text] : []));
      expect(pieces.join("")).toBe(texts[side]);
      for (const piece of pieces) expect(Buffer.from(piece, "utf8").toString("utf8")).toBe(piece);
    }
    expect(frames.filter(({ kind }) => kind === "end")).toEqual([
      { kind: "end", side: "right" },
      { kind: "end", side: "left" },
    ]);
  });

  it("ends an empty answer at once", () => {
    const pace = new EqualPace(100);
    pace.complete("left");
    pace.complete("right");
    expect(pace.release(0)).toEqual([
      { kind: "end", side: "left" },
      { kind: "end", side: "right" },
    ]);
    expect(pace.done).toBe(true);
  });
});
