import { describe, expect, it } from "vitest";
import { blockTokens, KvCache, type Lane } from "../../src/model/kv-cache.js";

const architecture = {
  layers: 2,
  hiddenSize: 8,
  heads: 4,
  kvHeads: 2,
  headDim: 2,
  vocabSize: 16,
  contextLength: 512,
};
const { kvHeads, headDim, layers } = architecture;

const numberOf = (mark: number, token: number, layer: number, head: number) =>
  Math.fround(mark * 1000 + token + layer / 4 + head / 8);

/** Appends tokens whose every number tells lane, position, layer and head. */
function append(cache: KvCache, lane: Lane, mark: number, tokens = 1): void {
  cache.reserve(lane, tokens);
  for (let layer = 0; layer < layers; layer++) {
    const rows = Float32Array.from({ length: kvHeads * tokens * headDim }, (_, i) => {
      const head = Math.floor(i / (tokens * headDim));
      const token = lane.computed + (Math.floor(i / headDim) % tokens);
      return numberOf(mark, token, layer, head);
    });
    cache.write(
      [lane],
      layer,
      tokens,
      rows,
      rows.map((x) => -x),
    );
  }
  cache.advance(lane, tokens);
}

/** Reads a forward's past the way the graph does and compares it with what was written. */
function expectPast(cache: KvCache, lanes: readonly (readonly [Lane, number])[], laidOut = false): void {
  const past = laidOut
    ? cache.pastLaidOut(lanes.map(([lane]) => lane))
    : cache.pastInPlace(
        lanes.map(([lane]) => lane),
        1,
      );
  const order = past.orders.flatMap((part) => [...part].map(Number));
  for (let layer = 0; layer < layers; layer++) {
    const { key, value } = past.layOut(layer);
    expect(key.length).toBe(past.blocks * kvHeads * past.slots * headDim);
    for (const [row, [lane, mark]] of lanes.entries()) {
      let token = 0;
      for (const block of order.filter((at) => Number(past.blockRows[at]) === row)) {
        for (let slot = 0; slot < past.slots; slot++) {
          if (past.mask[block * past.slots + slot] !== 0) continue;
          for (let head = 0; head < kvHeads; head++) {
            const index = ((block * kvHeads + head) * past.slots + slot) * headDim;
            if (key[index] !== numberOf(mark, token, layer, head) || value[index] !== -(key[index] ?? 0)) {
              throw new Error(`token ${token} of lane ${mark}, layer ${layer}, head ${head} reads ${key[index]}`);
            }
          }
          token++;
        }
      }
      expect(token).toBe(lane.computed);
    }
  }
  expect(past.mask.filter((x) => x === 0).length).toBe(lanes.reduce((sum, [lane]) => sum + lane.computed, 0));
}

describe("KvCache", () => {
  it("gives every lane its own past back, in place and laid out, as lanes grow, end and make room", () => {
    const cache = new KvCache(architecture);
    let lanes: [Lane, number][] = [];
    for (let mark = 1; mark <= 8; mark++) lanes.push([cache.allocate(mark % 2 === 0 ? "bottomUp" : "steered"), mark]);
    for (let round = 0; round < 40; round++) {
      for (const [lane, mark] of lanes) append(cache, lane, mark, 1 + ((round * mark) % 23));
      if (round % 8 === 7) {
        const [gone] = lanes.splice(round % lanes.length, 1);
        if (gone !== undefined) cache.release(gone[0]);
        lanes = [...lanes, [cache.allocate("steered"), 100 + round]];
      }
      expect(cache.violations()).toEqual([]);
    }
    expectPast(cache, lanes);
    expectPast(cache, lanes, true);
    for (const lane of lanes) expectPast(cache, [lane]);
    for (const [lane] of lanes) cache.release(lane);
    expect([cache.lanesInUse, cache.blocksInUse]).toEqual([0, 0]);
  });

  it("takes a block when a lane needs one, not before", () => {
    const cache = new KvCache(architecture);
    const lane = cache.allocate("bottomUp");
    expect(cache.blocksMissing(lane, blockTokens)).toBe(1);
    append(cache, lane, 1, blockTokens);
    expect([cache.blocksInUse, cache.blocksMissing(lane, 1), cache.blocksMissing(lane, 0)]).toEqual([1, 1, 0]);
    append(cache, lane, 1);
    expect(cache.blocksInUse).toBe(2);
  });

  it("reads bottom-up lanes without the steered lanes' blocks between them", () => {
    const cache = new KvCache(architecture);
    const lanes = [1, 2, 3].flatMap((mark): [Lane, number][] => [
      [cache.allocate("bottomUp"), mark],
      [cache.allocate("steered"), 10 + mark],
    ]);
    for (let round = 0; round < 3; round++) for (const [lane, mark] of lanes) append(cache, lane, mark, blockTokens);
    const bottomUp = lanes.filter(([lane]) => lane.kind === "bottomUp");
    expect(
      cache.pastInPlace(
        bottomUp.map(([lane]) => lane),
        1,
      ).blocks,
    ).toBe(9);
    expect(
      cache.pastInPlace(
        lanes.map(([lane]) => lane),
        1,
      ).blocks,
    ).toBe(18);
  });

  it("fills holes that released lanes leave once there are too many", () => {
    const cache = new KvCache(architecture);
    const lanes = Array.from({ length: 16 }, (_, mark): [Lane, number] => [cache.allocate("steered"), mark]);
    for (const [lane, mark] of lanes) append(cache, lane, mark, 5);
    for (const [lane] of lanes.splice(2, 9)) cache.release(lane);
    expect(
      cache.pastInPlace(
        lanes.map(([lane]) => lane),
        1,
      ).blocks,
    ).toBeLessThanOrEqual(8);
    expectPast(cache, lanes);
    expect(cache.violations()).toEqual([]);
  });

  it("has room for no more blocks than lanes are to have, and gives room back that few of them use", () => {
    const cache = new KvCache(architecture);
    cache.expectBlocks(24);
    const lanes = Array.from({ length: 13 }, (_, mark): [Lane, number] => [
      cache.allocate(mark === 1 ? "bottomUp" : "steered"),
      mark,
    ]);
    for (const [lane, mark] of lanes) append(cache, lane, mark, blockTokens + 1);
    // Bottom-up blocks have a side of their own.
    expect(cache.arrayBytes).toBe((24 + 4) * cache.blockBytes);
    const full = cache.arrayBytes;
    for (const [lane] of lanes.splice(2)) cache.release(lane);
    expect(cache.arrayBytes).toBeLessThan(full / 2);
    expectPast(cache, lanes);
    for (const [lane, mark] of lanes) append(cache, lane, mark, 4 * blockTokens);
    expectPast(cache, lanes);
    expect(cache.violations()).toEqual([]);
  });

  it("copies tokens out of one lane and into another, parts of them too", () => {
    const cache = new KvCache(architecture);
    const source = cache.allocate("bottomUp");
    append(cache, source, 7, 300);
    const target = cache.allocate("bottomUp");
    cache.copyIn(target, cache.copyOut(source, 0, 128), 128, 128);
    cache.copyIn(target, cache.copyOut(source, 128, 100), 60, 100);
    expect(target.computed).toBe(188);
    append(cache, target, 7, 100);
    expectPast(cache, [
      [source, 7],
      [target, 7],
    ]);
  });

  it("overwrites what was rolled back", () => {
    const cache = new KvCache(architecture);
    const lane = cache.allocate("bottomUp");
    append(cache, lane, 3, 130);
    cache.rollBack(lane, 4);
    append(cache, lane, 3, 2);
    expectPast(cache, [[lane, 3]]);
    expect(() => cache.rollBack(lane, 1000)).toThrow(/cannot roll back/);
  });

  it("refuses a lane that was released", () => {
    const cache = new KvCache(architecture);
    const lane = cache.allocate("bottomUp");
    cache.allocate("steered");
    cache.release(lane);
    expect(() => cache.advance(lane, 1)).toThrow(/released/);
  });
});
