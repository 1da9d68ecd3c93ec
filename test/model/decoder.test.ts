import { createHash } from "node:crypto";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { convert } from "../../src/convert/convert.js";
import { Decoder, type DecoderRow } from "../../src/model/decoder.js";
import type { Lane } from "../../src/model/kv-cache.js";
import { makeTinyFolder, randomNormals, temporaryFolder } from "../convert/tiny-folder.js";

const shapes = {
  "grouped queries": { num_key_value_heads: 2, num_attention_heads: 6 },
  "one key/value head per query head": { num_key_value_heads: 6, num_attention_heads: 6 },
};

describe.each(Object.entries(shapes))("an int8 decoder with %s, behind pasts of several blocks", (_, overrides) => {
  let decoder: Decoder;
  beforeEach(async () => {
    const tiny = makeTinyFolder({ ...overrides, max_position_embeddings: 700 });
    const out = join(temporaryFolder(), "model");
    const { manifest } = await convert({ source: tiny.path, out, quantize: "int8", adapters: [] });
    decoder = await Decoder.load(join(out, "decoder.onnx"), manifest.architecture, { threads: 2 });
  });
  afterEach(() => decoder.release());

  const pasts = [0, 1, 127, 128, 129, 300, 500, 640];

  /** A lane of each length, computed like a prompt; every other one steered by the same values at each call. */
  async function lanes(order: readonly number[]): Promise<Map<number, Lane>> {
    const found = new Map<number, Lane>();
    for (const past of order) {
      const lane = decoder.cache.allocate(kindOf(past));
      found.set(past, lane);
      for (let from = 0; from < past; from += 128) await decoder.step([row(lane, past, Math.min(128, past - from))]);
    }
    return found;
  }

  function kindOf(past: number): Lane["kind"] {
    return pasts.indexOf(past) % 2 === 0 ? "steered" : "bottomUp";
  }

  function row(lane: Lane, seed: number, tokens: number): DecoderRow {
    const { vocabSize, layers, kvHeads, headDim } = decoder.architecture;
    const tokenIds = Array.from({ length: tokens }, (_, t) => (seed * 7 + (lane.computed + t) * 5) % vocabSize);
    if (isBottomUp(lane)) return { lane, tokenIds, logits: "last" };
    const topDownValues = Float32Array.from({ length: layers * tokens * kvHeads * headDim }, randomNormals(seed));
    return {
      lane: lane as Lane<"steered">,
      tokenIds,
      logits: "last",
      topDown: { values: topDownValues, total: tokens, from: 0 },
      addition: Float32Array.from({ length: layers * decoder.architecture.hiddenSize }, randomNormals(seed + 1)),
    };
  }

  function isBottomUp(lane: Lane): lane is Lane<"bottomUp"> {
    return lane.kind === "bottomUp";
  }

  async function decode(order: readonly number[], found: ReadonlyMap<number, Lane>): Promise<Map<number, Buffer[]>> {
    const bits = new Map<number, Buffer[]>(order.map((past) => [past, []]));
    for (let step = 0; step < 4; step++) {
      const rows = order.map((past) => row(found.get(past) as Lane, past, 1));
      const results = await decoder.step(rows);
      for (const [index, past] of order.entries()) {
        const result = results[index];
        if (result === undefined) throw new Error("not what was asked for");
        bits
          .get(past)
          ?.push(Buffer.from(result.logits.slice().buffer), Buffer.from(result.hiddenStates.slice().buffer));
      }
    }
    return bits;
  }

  it("gives a row the same bits alone and among others, wherever the blocks lie", async () => {
    const together = await lanes(pasts);
    const batch = await decode(pasts, together);
    for (const lane of together.values()) decoder.cache.release(lane);
    for (const past of pasts) {
      const single = await lanes([past]);
      expect((await decode([past], single)).get(past), `behind ${past} tokens`).toEqual(batch.get(past));
      for (const lane of single.values()) decoder.cache.release(lane);
    }
    // Another order, with holes between: blocks lie elsewhere and have been moved.
    const shuffled = [500, 1, 640, 128, 0, 300, 127, 129];
    const fillers = await lanes([127, 640]);
    const others = await lanes(shuffled);
    for (const lane of fillers.values()) decoder.cache.release(lane);
    const again = await decode(shuffled, others);
    for (const past of pasts) expect(again.get(past), `behind ${past} tokens`).toEqual(batch.get(past));
    for (const lane of others.values()) decoder.cache.release(lane);
    expect(decoder.cache.violations()).toEqual([]);
  });

  it("computes guesses with the bits of tokens that come one by one, and forgets them", async () => {
    for (const behind of [1, 60, 127, 128, 129, 300, 640]) {
      for (const guesses of [1, 2, 5]) {
        const [oneByOne, ahead] = await pair(behind);
        const tokens = 1 + Math.min(guesses, decoder.cache.roomForGuesses(ahead));
        const singles: Buffer[] = [];
        for (let token = 0; token < tokens; token++) singles.push(...bitsOf(await decoder.step([row(oneByOne, 3, 1)])));
        const asked = repeated(row(ahead, 3, 1), tokens);
        // A guess too many, which is wrong: nothing before it notices.
        const wrong = decoder.cache.roomForGuesses(ahead) + 1 > tokens ? 1 : 0;
        const tried = repeated({ ...asked, tokenIds: [...asked.tokenIds, ...Array(wrong).fill(7)] }, tokens + wrong);
        const results = await decoder.step([tried]);
        expect(bitsOf(results).slice(0, 2 * tokens), `${tokens} behind ${behind}`).toEqual(singles);
        decoder.cache.rollBack(ahead, wrong);
        const next = [await decoder.step([row(oneByOne, 3, 1)]), await decoder.step([row(ahead, 3, 1)])];
        expect(bitsOf(next[1] ?? [])).toEqual(bitsOf(next[0] ?? []));
        decoder.cache.release(oneByOne);
        decoder.cache.release(ahead);
      }
    }
  });

  it("computes guesses of several rows in one forward", async () => {
    const pasts = [40, 130, 300, 641];
    const found: [Lane, Lane][] = [];
    for (const past of pasts) found.push(await pair(past));
    const singles = new Map<number, Buffer[]>();
    for (const [index, [oneByOne]] of found.entries()) {
      const bits: Buffer[] = [];
      for (let token = 0; token < 3; token++) bits.push(...bitsOf(await decoder.step([row(oneByOne, 3, 1)])));
      singles.set(index, bits);
    }
    const results = await decoder.step(found.map(([, ahead]) => repeated(row(ahead, 3, 1), 3)));
    for (const [index, result] of results.entries()) expect(bitsOf([result])).toEqual(singles.get(index));
    const prompt = row(found[0]?.[0] as Lane, 3, 2);
    const guessed = repeated(row(found[1]?.[1] as Lane, 3, 1), 2);
    await expect(decoder.step([prompt, guessed])).rejects.toThrow("share a forward with their like");
  });

  it("computes a chunk of a prompt with the same bits wherever it is cut in two", async () => {
    for (const length of [18, 50, 127, 128, 160, 333]) {
      for (const kind of ["bottomUp", "steered"] as const) {
        const whole = await prompt(kind, length, []);
        for (const cuts of [[16], [64], [112], [144], [320], [16, 32, 48, 96]]) {
          if (cuts.some((cut) => cut > length - 2)) continue;
          expect(await prompt(kind, length, cuts), `${length} ${kind} tokens cut at ${cuts}`).toEqual(whole);
        }
      }
    }
  });

  it("computes the tokens of a prompt with the same bits however long it is", async () => {
    const long = await prompt("bottomUp", 256, []);
    for (const length of [2, 17, 31, 32, 50, 65, 90, 128, 150, 200]) {
      const { tokens } = await prompt("bottomUp", length, []);
      expect(tokens, `${length} tokens`).toEqual(long.tokens.slice(0, length));
    }
  });

  it("computes chunks of several rows with the bits of each alone, whatever their blocks hold already", async () => {
    const alone = [await prompt("steered", 40, []), await prompt("steered", 170, [])];
    const lanes = [decoder.cache.allocate("steered"), decoder.cache.allocate("steered")] as const;
    const found: string[][] = [[], []];
    const [first] = await decoder.step([promptRow(lanes[1], 170, 0, 128)]);
    if (first !== undefined) found[1]?.push(...digests(first));
    for (const [from, to] of [
      [0, 16],
      [16, 40],
    ] as const) {
      const rows = [promptRow(lanes[0], 40, from, to), promptRow(lanes[1], 170, 128 + from, 128 + to)];
      for (const [index, result] of (await decoder.step(rows)).entries()) found[index]?.push(...digests(result));
    }
    expect(found[0]).toEqual(alone[0]?.tokens);
    expect(found[1]).toEqual(alone[1]?.tokens.slice(0, 168));
    for (const lane of lanes) decoder.cache.release(lane);
  });

  interface ComputedPrompt {
    /** Of each token, what `digests` says. */
    readonly tokens: readonly string[];
    readonly keyValues: string;
  }

  /** A prompt, computed in chunks that are cut at some places. */
  async function prompt(kind: Lane["kind"], length: number, cuts: readonly number[]): Promise<ComputedPrompt> {
    const lane = decoder.cache.allocate(kind);
    const ends = [...cuts, 128, 256, length].filter((end) => end <= length).sort((one, other) => one - other);
    const tokens: string[] = [];
    for (const end of new Set(ends)) {
      const [result] = await decoder.step([promptRow(lane, length, lane.computed, end)]);
      if (result !== undefined) tokens.push(...digests(result));
    }
    const keyValues = digest(decoder.cache.copyOut(lane, 0, length));
    decoder.cache.release(lane);
    return { tokens, keyValues };
  }

  /** Of each token, the bits of its logits and of its hidden state. */
  function digests(result: { logits: Float32Array; hiddenStates: Float32Array }): string[] {
    const bits = bitsOf([result]);
    return Array.from({ length: bits.length / 2 }, (_, t) => digest(...bits.slice(2 * t, 2 * t + 2)));
  }

  function digest(...bits: readonly (Buffer | Float32Array)[]): string {
    return bits.reduce((hash, part) => hash.update(part), createHash("sha256")).digest("hex");
  }

  /** Tokens `from` … `to − 1` of a prompt, in a steered lane with the top-down values and the addition of its own. */
  function promptRow(lane: Lane, length: number, from: number, to: number): DecoderRow {
    const { vocabSize, layers, kvHeads, headDim, hiddenSize } = decoder.architecture;
    const tokenIds = Array.from({ length: to - from }, (_, t) => (3 * 7 + (from + t) * 5) % vocabSize);
    if (isBottomUp(lane)) return { lane, tokenIds, logits: "all" };
    const values = Float32Array.from({ length: layers * length * kvHeads * headDim }, randomNormals(length));
    return {
      lane: lane as Lane<"steered">,
      tokenIds,
      logits: "all",
      topDown: { values, total: length, from },
      addition: Float32Array.from({ length: layers * hiddenSize }, randomNormals(length + 1)),
    };
  }

  /** Two steered lanes of the same tokens. */
  async function pair(past: number): Promise<[Lane, Lane]> {
    const made: Lane[] = [];
    for (let lane = 0; lane < 2; lane++) {
      const steered = decoder.cache.allocate("steered");
      for (let from = 0; from < past; from += 128) {
        await decoder.step([row(steered, 3, Math.min(128, past - from))]);
      }
      made.push(steered);
    }
    return made as [Lane, Lane];
  }

  /** A row of one token with those behind it as guesses, each with the one's top-down values. */
  function repeated(single: DecoderRow, tokens: number): DecoderRow {
    const { layers, kvHeads, headDim, vocabSize } = decoder.architecture;
    const size = kvHeads * headDim;
    const { lane, topDown, tokenIds } = single as DecoderRow & { topDown: NonNullable<DecoderRow["topDown"]> };
    const values = new Float32Array(layers * tokens * size);
    for (let layer = 0; layer < layers; layer++) {
      const own = topDown.values.subarray(layer * topDown.total * size, (layer * topDown.total + 1) * size);
      for (let token = 0; token < tokens; token++) values.set(own, (layer * tokens + token) * size);
    }
    const ids = Array.from({ length: tokens }, (_, t) => tokenIds[t] ?? (3 * 7 + (lane.computed + t) * 5) % vocabSize);
    const row = { ...single, tokenIds: ids, logits: "all", guesses: true, topDown: { values, total: tokens, from: 0 } };
    return row as DecoderRow;
  }

  /** Of each token the bits of its logits and of its hidden state. */
  function bitsOf(results: readonly { logits: Float32Array; hiddenStates: Float32Array }[]): Buffer[] {
    const { vocabSize, hiddenSize } = decoder.architecture;
    const bits = (values: Float32Array) => Buffer.from(values.slice().buffer);
    return results.flatMap(({ logits, hiddenStates }) =>
      Array.from({ length: logits.length / vocabSize }, (_, t) => [
        bits(logits.subarray(t * vocabSize, (t + 1) * vocabSize)),
        bits(hiddenStates.subarray(t * hiddenSize, (t + 1) * hiddenSize)),
      ]).flat(),
    );
  }

  it("decodes to what a prefill of the same tokens computes", async () => {
    const lane = decoder.cache.allocate("bottomUp");
    await decoder.step([row(lane, 3, 1)]);
    for (let token = 1; token < 300; token++) await decoder.step([row(lane, 3, 1)]);
    const [last] = await decoder.step([row(lane, 3, 1)]);
    const whole = decoder.cache.allocate("bottomUp");
    for (const tokens of [128, 100, 73]) {
      const [result] = await decoder.step([row(whole, 3, tokens)]);
      if (whole.computed < 301) continue;
      if (result === undefined || last === undefined) throw new Error("a row without a result");
      const spread = Math.max(...last.logits) - Math.min(...last.logits);
      const differences = last.logits.map((logit, id) => Math.abs(logit - (result.logits[id] ?? 0)));
      expect(Math.max(...differences)).toBeLessThan(0.02 * spread);
    }
    decoder.cache.release(lane);
    decoder.cache.release(whole);
  });
});
