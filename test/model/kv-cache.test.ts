import { describe, expect, it } from "vitest";
import { KvCache, type Lane, planGather } from "../../src/model/kv-cache.js";

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

/** Appends one token whose every number tells lane, position and layer. */
function append(cache: KvCache, lane: Lane, mark: number): void {
  cache.reserve(lane.computed + 1);
  for (let layer = 0; layer < layers; layer++) {
    const row = new Float32Array(kvHeads * headDim).fill(mark * 1000 + lane.computed + layer / 10);
    cache.write(
      lane,
      layer,
      0,
      1,
      row,
      row.map((x) => -x),
    );
  }
  cache.advance(lane, 1);
}

function expectIntact(cache: KvCache, lane: Lane, mark: number): void {
  for (let layer = 0; layer < layers; layer++) {
    const { key, value } = cache.window(layer, lane.slot, 1);
    for (let head = 0; head < kvHeads; head++) {
      for (let position = 0; position < lane.computed; position++) {
        const index = (head * cache.stride + position) * headDim;
        const expected = Math.fround(mark * 1000 + position + layer / 10);
        expect(key[index]).toBe(expected);
        expect(value[index]).toBe(-expected);
      }
    }
  }
}

describe("KvCache", () => {
  it("keeps every lane's rows through growth in slots and in stride, and through gathering", () => {
    const cache = new KvCache(architecture);
    const lanes: Lane[] = [];
    for (let i = 0; i < 5; i++) lanes.push(cache.allocate(i % 2 === 0 ? "bottomUp" : "steered"));
    for (const [i, lane] of lanes.entries()) for (let n = 0; n < 10 + 50 * i; n++) append(cache, lane, i);
    expect(cache.stride % 64).toBe(0);
    const even = lanes.filter((_, i) => i % 2 === 0);
    // Slots 0, 2 and 4 of 5 are too far apart for a window.
    const { first, rows } = cache.gather(even);
    expect(rows).toBe(3);
    expect(even.map((lane) => lane.slot).sort((a, b) => a - b)).toEqual([first, first + 1, first + 2]);
    for (const [i, lane] of lanes.entries()) expectIntact(cache, lane, i);
    expect(cache.violations()).toEqual([]);
  });

  it("reuses released slots and gives all memory back when empty", () => {
    const cache = new KvCache(architecture);
    const a = cache.allocate("bottomUp");
    const b = cache.allocate("steered");
    cache.release(a);
    const c = cache.allocate("bottomUp");
    expect(c.slot).toBe(0);
    expect(cache.lanesInUse).toBe(2);
    cache.release(b);
    cache.release(c);
    expect(cache.lanesInUse).toBe(0);
    expect(cache.bytes).toBe(0);
  });

  it("refuses a lane that was released", () => {
    const cache = new KvCache(architecture);
    const lane = cache.allocate("bottomUp");
    cache.allocate("steered");
    cache.release(lane);
    expect(() => cache.advance(lane, 1)).toThrow(/released lane/);
  });
});

describe("planGather", () => {
  it("moves nothing when the wanted slots are neighbours already, in any order", () => {
    expect(planGather([4, 2, 3], 8)).toEqual({ window: { first: 2, rows: 3 }, swaps: [] });
  });

  it("suffers a few idle rows rather than moving a lane", () => {
    expect(planGather([0, 1, 3, 5], 8)).toEqual({ window: { first: 0, rows: 6 }, swaps: [] });
  });

  it("picks the window that needs the fewest swaps when there would be many", () => {
    expect(planGather([0, 5, 6, 7], 8)).toEqual({ window: { first: 4, rows: 4 }, swaps: [[4, 0]] });
  });

  it("ends, for any choice of slots, with the wanted ones in the window", () => {
    for (let bits = 1; bits < 256; bits++) {
      const wanted = [0, 1, 2, 3, 4, 5, 6, 7].filter((slot) => (bits >> slot) & 1);
      const { window, swaps } = planGather(wanted, 8);
      const slots = [0, 1, 2, 3, 4, 5, 6, 7];
      for (const [a, b] of swaps) [slots[a], slots[b]] = [slots[b] ?? -1, slots[a] ?? -1];
      const inside = slots.slice(window.first, window.first + window.rows);
      expect(inside).toEqual(expect.arrayContaining(wanted));
      expect(window.rows).toBeLessThanOrEqual(wanted.length * 1.5);
    }
  });
});
