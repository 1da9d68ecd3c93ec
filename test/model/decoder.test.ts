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
