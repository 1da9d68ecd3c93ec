import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { FairTurns, firstToGiveUp, mayWait, type TurnTaker, yieldsTo } from "../../../src/engine/loop/fair-turns.js";

interface Member extends TurnTaker {
  readonly at: number;
}

/** `a1 a1 b1`: two choices of a's first request, one of b's. */
const members = (text: string): readonly Member[] =>
  text
    .split(" ")
    .filter((name) => name !== "")
    .map((name, at) => ({ caller: name.slice(0, 1), requestId: name, at }));
const nextOf = (waiting: string, running: string, turns = new FairTurns()) =>
  turns.next(members(waiting), members(running))?.at;

describe("whose turn it is", () => {
  it("nobody's when nobody waits", () => {
    expect(nextOf("", "a1")).toBeUndefined();
  });

  it("is that of whoever holds the fewest lanes, whoever came first", () => {
    expect(nextOf("a2 a3 b1", "a1")).toBe(2);
    expect(nextOf("a2 b2 c2", "a1 b1 c1 a3 c3")).toBe(1);
  });

  it("goes round between callers that hold as many, from the one whose last turn is longest ago", () => {
    const turns = new FairTurns();
    const waiting = [..."aaabbc"].map((caller, at) => ({ caller, requestId: `${caller}${at}` }));
    const order: string[] = [];
    while (waiting.length > 0) {
      const next = turns.next(waiting, []);
      if (next === null) throw new Error("somebody waits");
      turns.took(next);
      order.push(next.caller);
      waiting.splice(waiting.indexOf(next), 1);
    }
    expect(order.join("")).toBe("abcaba");
  });

  it("goes round between the requests of a caller: other choices of one that runs come later", () => {
    expect(nextOf("a1 a1 a2", "a1 a1")).toBe(2);
  });

  it("is by arrival for the requests of one caller", () => {
    expect(nextOf("a3 a4 a5", "a1 a2")).toBe(0);
  });
});

describe("who gives lanes up", () => {
  const givenUp = (running: string) => firstToGiveUp(members(running))?.at;
  const yielded = (next: string, running: string) => yieldsTo(members(next)[0] as Member, members(running))?.at;

  it("when memory has run out: the youngest of whoever holds most", () => {
    expect(givenUp("")).toBeUndefined();
    expect(givenUp("a1 a2 a3")).toBe(2);
    expect(givenUp("a1 a2 b1")).toBe(1);
    expect(givenUp("a1 a1 a2")).toBe(1);
  });

  it("to another caller: whoever holds two more at least", () => {
    expect(yielded("b1", "a1 a2 a3")).toBe(2);
    expect(yielded("b1", "a1 c1")).toBeUndefined();
    expect(yielded("b2", "a1 a2 b1")).toBeUndefined();
  });

  it("to another request of the same caller: one with two choices more", () => {
    expect(yielded("a2", "a1 a1 a1")).toBe(2);
    expect(yielded("a2", "a1 a3 a4")).toBeUndefined();
    expect(yielded("a2", "a1 a1 a1 b1 b2 b3 b4")).toBe(2);
  });

  it("ends with equal shares, whatever they ask for, and never takes a lane back and forth", () => {
    const callers = fc.constantFrom("a", "b", "c", "d");
    const asked = fc.array(fc.tuple(callers, fc.nat(3)), { maxLength: 60 });
    fc.assert(
      fc.property(asked, asked, fc.integer({ min: 1, max: 16 }), (first, later, lanes) => {
        const turns = new FairTurns();
        const waiting: Member[] = [];
        const running: Member[] = [];
        let swaps = 0;
        for (const [wave, requests] of [first, later].entries()) {
          for (const [at, [caller, request]] of requests.entries()) {
            waiting.push({ caller, requestId: `${caller}${request}.${wave}`, at });
          }
          for (;;) {
            const next = turns.next(waiting, running);
            if (next === null) break;
            if (running.length >= lanes) {
              const yielding = yieldsTo(next, running);
              if (yielding === null) break;
              running.splice(running.indexOf(yielding), 1);
              waiting.unshift(yielding);
              swaps++;
            }
            waiting.splice(waiting.indexOf(next), 1);
            running.push(next);
            turns.took(next);
          }
        }
        expect(swaps).toBeLessThanOrEqual(2 * lanes);
        const share = (caller: string) => running.filter((one) => one.caller === caller).length;
        for (const { caller } of waiting) {
          for (const other of running) expect(share(other.caller) - share(caller)).toBeLessThanOrEqual(1);
        }
      }),
    );
  });
});

describe("who may wait", () => {
  const may = (waiting: string, caller: string, most: number) => mayWait(members(waiting), { caller }, most);

  it("everybody while there is room, and a caller alone no longer", () => {
    expect(may("a1 a2", "a", 3)).toBe(true);
    expect(may("a1 a2 a3", "a", 3)).toBe(false);
    expect(may("", "a", 0)).toBe(false);
  });

  it("whoever has less than an equal share of a full queue, up to twice its length", () => {
    expect(may("a1 a2 a3 a4", "b", 4)).toBe(true);
    expect(may("a1 a2 a3 a4 b1", "b", 4)).toBe(true);
    expect(may("a1 a2 a3 a4 b1 b2", "b", 4)).toBe(false);
    expect(may("a1 a2 a3 a4 b1 b2", "c", 4)).toBe(true);
    expect(may("a1 a2 a3 a4 b1 b2 c1 d1", "e", 4)).toBe(false);
  });
});
