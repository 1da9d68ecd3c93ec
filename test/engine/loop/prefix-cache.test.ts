import { beforeEach, describe, expect, it } from "vitest";
import { PrefixCache } from "../../../src/engine/loop/prefix-cache.js";
import { blockTokens, KvCache, type Lane } from "../../../src/model/kv-cache.js";
import { HiddenStates } from "../../../src/steering/hidden-states.js";

const shape = { layers: 2, hiddenSize: 3, heads: 2, kvHeads: 2, headDim: 2, vocabSize: 99, contextLength: 2048 };
const key = "bottomUp";
const everything = Number.POSITIVE_INFINITY;

let cache: KvCache;
let prefixes: PrefixCache;

beforeEach(() => {
  cache = new KvCache(shape);
  prefixes = new PrefixCache(cache, 16);
});

/** Token ids that begin alike for the same first seed and go on differently behind each change of seed. */
const ids = (...parts: readonly (readonly [seed: number, count: number])[]): number[] =>
  parts.flatMap(([seed, count]) => Array.from({ length: count }, (_, at) => (seed * 31 + at * 7) % 97));

/** A lane that has computed some tokens: every number in it tells by its value where it belongs. */
function laneOf(tokenIds: readonly number[]): { lane: Lane<"bottomUp">; hiddenStates: HiddenStates } {
  const lane = cache.allocate("bottomUp");
  const size = cache.copySize(tokenIds.length);
  cache.copyIn(
    lane,
    Float32Array.from({ length: size }, (_, at) => at),
    tokenIds.length,
    tokenIds.length,
  );
  const hiddenStates = new HiddenStates(shape.hiddenSize);
  hiddenStates.set(
    0,
    Float32Array.from({ length: tokenIds.length * shape.hiddenSize }, (_, at) => at / 2),
  );
  return { lane, hiddenStates };
}

/** @param prompt tokens of it; the others were generated. */
function remember(tokenIds: readonly number[], prompt: number, maxBytes = everything): void {
  const { lane, hiddenStates } = laneOf(tokenIds);
  prefixes.remember(key, { tokenIds, prompt, computed: tokenIds.length }, lane, hiddenStates, maxBytes);
  cache.release(lane);
}

/** Of a request with such a prompt; as the loop asks, the last token is computed in any case. */
const found = (tokenIds: readonly number[], limit = tokenIds.length - 1): number =>
  prefixes.find(key, { tokenIds, prompt: tokenIds.length }, limit).tokens;

describe("PrefixCache", () => {
  it("finds a prompt to within 16 tokens, and nothing of another kind of lane", () => {
    const prompt = ids([1, 300]);
    remember(prompt, 300);
    expect(found(prompt)).toBe(288);
    expect(found([...prompt, 5, 6])).toBe(288);
    expect(found(prompt.slice(0, 200))).toBe(192);
    expect(found(ids([1, 150], [2, 100]))).toBe(144);
    expect(found(prompt.slice(0, 16))).toBe(0);
    expect(found(prompt.slice(1))).toBe(0);
    expect(prefixes.find("steered one 1 1", { tokenIds: prompt, prompt: 300 }, 300).tokens).toBe(0);
  });

  it("finds short prompts, and leaves two tokens at least of a chunk that is gone on with", () => {
    remember(ids([1, 50]), 50);
    expect(found(ids([1, 50]))).toBe(48);
    expect(found(ids([1, 49]))).toBe(32);
    expect(found(ids([1, 30], [2, 9]))).toBe(16);
    expect(found(ids([1, 15], [2, 50]))).toBe(0);
    // Where a block ends, a chunk begins: one token of it is computed as it would have been.
    remember(ids([3, blockTokens + 1]), blockTokens + 1);
    expect(found(ids([3, blockTokens + 1]))).toBe(blockTokens);
  });

  it("finds whole blocks alone of a prompt where chunks cannot be gone on with", () => {
    prefixes = new PrefixCache(cache, blockTokens);
    const prompt = ids([1, 300]);
    remember(prompt, 300);
    expect([found(prompt), found(prompt.slice(0, 200)), found(prompt.slice(0, 100))]).toEqual([256, 128, 0]);
  });

  it("ends a hit anywhere in what was generated, and where a chunk can go on in a prompt", () => {
    const turn = ids([1, 140], [2, 60]);
    remember(turn, 140);
    expect(found([...turn, 1, 2])).toBe(200);
    expect(found(ids([1, 140], [2, 30], [3, 50]))).toBe(170);
    // Another text behind the same 140 tokens.
    expect(found(ids([1, 140], [4, 60]))).toBe(128);
    expect(found([...turn, 1, 2], 150)).toBe(150);
    expect(found([...turn, 1, 2], 139)).toBe(128);
  });

  it("follows the branch that has most in common where texts part", () => {
    const base = ids([1, blockTokens]);
    remember([...base, ...ids([2, 50])], blockTokens);
    remember([...base, ...ids([2, 20], [3, 60])], blockTokens);
    expect(found([...base, ...ids([2, 50], [9, 9])])).toBe(blockTokens + 50);
    expect(found([...base, ...ids([2, 20], [3, 60], [9, 9])])).toBe(blockTokens + 80);
    expect(found([...base, ...ids([2, 20], [8, 30])])).toBe(blockTokens + 20);
  });

  it("keeps of a prompt what a hit can end at, once", () => {
    const tokenBytes = (cache.copySize(1) + shape.hiddenSize) * Float32Array.BYTES_PER_ELEMENT;
    remember(ids([1, 100]), 100);
    expect(prefixes.bytes).toBe(96 * tokenBytes);
    remember(ids([1, 60]), 60);
    expect(prefixes.bytes).toBe(96 * tokenBytes);
    remember(ids([1, 120]), 120);
    expect(prefixes.bytes).toBe(112 * tokenBytes);
    remember(ids([1, 100], [2, 20]), 100);
    expect(prefixes.bytes).toBe((112 + 120) * tokenBytes);
    remember(ids([7, 15]), 15);
    expect(prefixes.bytes).toBe((112 + 120) * tokenBytes);
  });

  it("restores the numbers that were computed, and the hidden states with them", () => {
    const tokenIds = ids([1, 140], [2, 60]);
    const { lane, hiddenStates } = laneOf(tokenIds);
    prefixes.remember(key, { tokenIds, prompt: 140, computed: 200 }, lane, hiddenStates, everything);
    const hit = prefixes.find(key, { tokenIds, prompt: 140 }, 171);
    const restored = cache.allocate("bottomUp");
    const states = new HiddenStates(shape.hiddenSize);
    prefixes.restore(hit, restored, states);
    expect([hit.tokens, restored.computed]).toEqual([171, 171]);
    expect(cache.copyOut(restored, 0, 171)).toEqual(cache.copyOut(lane, 0, 171));
    expect(states.view(0, 171)).toEqual(hiddenStates.view(0, 171));
    cache.release(lane);
    cache.release(restored);
    expect(cache.violations()).toEqual([]);
  });

  it("keeps a text once, and gives a shorter one up for a longer one that has all of it", () => {
    remember(ids([1, 140], [2, 20]), 140);
    const short = prefixes.bytes;
    remember(ids([1, 140], [2, 20]), 140);
    expect(prefixes.bytes).toBe(short);
    remember(ids([1, 140], [2, 60]), 140);
    const tokenBytes = (cache.copySize(1) + shape.hiddenSize) * Float32Array.BYTES_PER_ELEMENT;
    expect(prefixes.bytes).toBe(200 * tokenBytes);
    expect(found(ids([1, 140], [2, 60], [3, 5]))).toBe(200);
  });

  it("drops what was used longest ago, a text's end before its beginning", () => {
    const [old, recent] = [ids([1, 256]), ids([2, 256])];
    remember(old, 256);
    remember(recent, 256);
    const block = prefixes.bytes / 4;
    const whole = (tokenIds: readonly number[]) => found([...tokenIds, 1]);
    expect(whole(old)).toBe(256);
    expect(prefixes.shrinkTo(3 * block)).toBe(true);
    expect([whole(old), whole(recent)]).toEqual([256, blockTokens]);
    expect(prefixes.shrinkTo(0)).toBe(true);
    expect([prefixes.bytes, found(old), found(recent)]).toEqual([0, 0, 0]);
  });

  it("never keeps more than it may, and does not give up the beginning of what it is keeping", () => {
    remember(ids([1, 512]), 512);
    const block = prefixes.bytes / 4;
    remember(ids([2, 512]), 512, 2.5 * block);
    expect(prefixes.bytes).toBeLessThanOrEqual(2.5 * block);
    expect(found([...ids([2, 512]), 1]) + found([...ids([1, 512]), 1])).toBe(2 * blockTokens);
    expect(found([...ids([2, 512]), 1])).toBe(2 * blockTokens);
  });

  it("forgets whole kinds of lanes", () => {
    remember(ids([1, 256]), 256);
    prefixes.forget((one) => one !== key);
    expect(found(ids([1, 257]))).toBe(256);
    prefixes.forget((one) => one === key);
    expect([found(ids([1, 257])), prefixes.bytes]).toEqual([0, 0]);
  });
});
