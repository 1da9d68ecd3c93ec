import { describe, expect, it } from "vitest";
import { BlockPool, type LaneKind } from "../../src/model/block-pool.js";

describe("BlockPool", () => {
  it("takes bottom-up blocks downwards from the middle and steered ones upwards", () => {
    const pool = new BlockPool();
    expect([pool.take("bottomUp"), pool.take("bottomUp"), pool.take("bottomUp")]).toEqual([-1, -2, -3]);
    expect([pool.take("steered"), pool.take("steered")]).toEqual([0, 1]);
    expect([pool.taken, pool.extent("bottomUp"), pool.extent("steered")]).toEqual([5, 3, 2]);
  });

  it("fills the hole that is nearest to the middle first", () => {
    const pool = new BlockPool();
    const [first, second, third] = [
      pool.take("steered"),
      pool.take("steered"),
      pool.take("steered"),
      pool.take("steered"),
    ];
    for (const position of [third, first]) pool.give(position as number);
    expect(pool.extent("steered")).toBe(4);
    expect([pool.take("steered"), pool.take("steered"), pool.take("steered")]).toEqual([first, third, 4]);
    expect(pool.isTaken(second as number)).toBe(true);
  });

  it("shrinks as soon as the outermost blocks are given back, past the holes behind them", () => {
    const pool = new BlockPool();
    for (let count = 0; count < 4; count++) pool.take("bottomUp");
    pool.give(-3);
    expect(pool.extent("bottomUp")).toBe(4);
    pool.give(-4);
    expect([pool.extent("bottomUp"), pool.taken]).toEqual([2, 2]);
  });

  it("refuses what is not taken, on either side", () => {
    const pool = new BlockPool();
    pool.take("steered");
    pool.give(0);
    for (const position of [0, -1, 7]) {
      expect(pool.isTaken(position)).toBe(false);
      expect(() => pool.give(position)).toThrow(/not taken/);
    }
  });

  it("moves nothing while holes are few, and the outermost blocks into them when there are too many", () => {
    const pool = new BlockPool();
    for (let count = 0; count < 32; count++) pool.take("steered");
    pool.give(1);
    expect(pool.compact("steered")).toEqual([]);
    pool.give(4);
    expect(pool.compact("steered")).toEqual([
      { from: 31, to: 1 },
      { from: 30, to: 4 },
    ]);
    expect([pool.extent("steered"), pool.taken]).toEqual([30, 30]);
    for (let count = 0; count < 8; count++) pool.take("bottomUp");
    for (const position of [-1, -2, -8]) pool.give(position);
    expect(pool.compact("bottomUp")).toEqual([
      { from: -7, to: -1 },
      { from: -6, to: -2 },
    ]);
  });

  it("agrees with a plain set of positions, whatever is taken, given back and moved", () => {
    const pool = new BlockPool();
    const held: Record<LaneKind, Set<number>> = { bottomUp: new Set(), steered: new Set() };
    let seed = 1;
    const random = (below: number): number => {
      seed = (Math.imul(seed, 0x5bd1e995) + 0x3c6ef35f) >>> 0;
      return (seed >>> 8) % below;
    };
    for (let turn = 0; turn < 4000; turn++) {
      const kind: LaneKind = random(2) === 0 ? "bottomUp" : "steered";
      const own = held[kind];
      if (own.size === 0 || random(100) < (turn % 1000 < 500 ? 60 : 40)) {
        const position = pool.take(kind);
        expect(own.has(position) || position < 0 !== (kind === "bottomUp")).toBe(false);
        own.add(position);
      } else {
        const position = [...own][random(own.size)] as number;
        pool.give(position);
        own.delete(position);
      }
      for (const { from, to } of pool.compact(kind)) {
        expect([own.has(from), own.has(to)]).toEqual([true, false]);
        own.delete(from);
        own.add(to);
      }
      const depths = [...own].map((position) => (position < 0 ? -position : position + 1));
      expect(pool.extent(kind)).toBe(Math.max(0, ...depths));
      expect(pool.taken).toBe(held.bottomUp.size + held.steered.size);
      expect(pool.extent(kind) - own.size).toBeLessThanOrEqual(Math.max(1, pool.extent(kind) / 8));
    }
  });
});
