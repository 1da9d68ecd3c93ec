import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { KeptStop } from "../../src/anthropic/kept-stop.js";

/** @param pieces as they come. */
function read(stops: readonly string[], pieces: readonly string[], isStopped = true) {
  const kept = new KeptStop(stops);
  const out = pieces.map((piece) => kept.push(piece)).join("");
  const { text, stopped } = kept.end(isStopped);
  return { text: out + text, stopped };
}

describe("a stop string that was kept", () => {
  it("is parted from the text that it ended, however the text is cut", () => {
    const letters = fc.string({ unit: fc.constantFrom("a", "b", "c"), maxLength: 12 });
    const stops = fc.array(fc.string({ unit: fc.constantFrom("a", "b", "c"), minLength: 1, maxLength: 3 }), {
      minLength: 1,
      maxLength: 3,
    });
    fc.assert(
      fc.property(letters, stops, fc.array(fc.nat(12), { maxLength: 4 }), (text, stops, cuts) => {
        const ends = stops
          .map((stop) => text.indexOf(stop) + stop.length)
          .filter((_, at) => text.includes(stops[at] ?? ""));
        const end = Math.min(...ends);
        const whole = Number.isFinite(end) ? text.slice(0, end) : text;
        const places = [0, ...cuts.map((cut) => Math.min(cut, whole.length)).sort((a, b) => a - b), whole.length];
        const pieces = places.slice(1).map((place, at) => whole.slice(places[at], place));
        const { text: left, stopped } = read(stops, pieces);
        expect(left + (stopped ?? "")).toBe(whole);
        expect(stopped === null).toBe(!Number.isFinite(end));
        if (stopped !== null) expect(stops).toContain(stopped);
      }),
    );
  });

  it("is text where more comes behind it, and where the length ended the text", () => {
    expect(read(["b"], ["a", "b", "c", "xb"])).toEqual({ text: "abcx", stopped: "b" });
    expect(read(["b"], ["abab"])).toEqual({ text: "aba", stopped: "b" });
    expect(read(["b"], ["ab"], false)).toEqual({ text: "ab", stopped: null });
  });

  it("holds back no more than could become one", () => {
    const kept = new KeptStop(["stop"]);
    expect(kept.push("a st")).toBe("a ");
    expect(kept.push("ay")).toBe("stay");
    expect(kept.end(true)).toEqual({ text: "", stopped: null });
  });
});
