import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { convert } from "../../src/convert/convert.js";
import { GraphDriver, type RowCache } from "./graph-driver.js";
import { makeTinyFolder, randomNormals, temporaryFolder } from "./tiny-folder.js";

const shapes: Record<string, Readonly<Record<string, unknown>>> = {
  "odd sizes and grouped queries": {},
  "odd sizes, one key/value head per query head": { num_key_value_heads: 6 },
  "whole vectors and grouped queries": {
    hidden_size: 128,
    intermediate_size: 344,
    num_attention_heads: 8,
    num_key_value_heads: 2,
    head_dim: 16,
    vocab_size: 997,
  },
  "whole vectors, one key/value head per query head": {
    hidden_size: 128,
    intermediate_size: 344,
    num_attention_heads: 4,
    num_key_value_heads: 4,
    head_dim: 32,
    vocab_size: 997,
    attention_bias: true,
  },
};

describe.each(Object.entries(shapes))("an int8 decoder with %s", (_, overrides) => {
  it("gives a row the same bits alone, in a batch of 8, wherever its block lies, and however far it is padded", async () => {
    const tiny = makeTinyFolder({ ...overrides, max_position_embeddings: 256 });
    const out = join(temporaryFolder(), "model");
    const { manifest } = await convert({ source: tiny.path, out, quantize: "int8", adapters: [] });
    const driver = await GraphDriver.load(out, manifest.architecture);
    const { vocabSize, layers, kvHeads, headDim } = manifest.architecture;
    const next = randomNormals(5);
    const token = () => Math.floor(Math.abs(next()) * 1000) % vocabSize;

    // Rows with pasts of very different lengths; half of them steered.
    const lengths = [1, 15, 16, 17, 64, 90, 130, 200];
    const caches: RowCache[] = [];
    for (const length of lengths) {
      const cache = driver.emptyCache();
      await driver.step([Array.from({ length }, token)], [cache]);
      caches.push(cache);
    }
    for (let step = 0; step < 4; step++) {
      const ids = caches.map(() => [token()]);
      const topDown = caches.map((_, row) =>
        row % 2 === 0 ? null : Float32Array.from({ length: layers * kvHeads * headDim }, next),
      );
      const alone = [];
      for (const [row, cache] of caches.entries()) {
        const copies = [0, 1, 3].map((pad) => ({ pad, cache: copyOf(cache) }));
        for (const { pad, cache: copy } of copies) {
          alone.push({
            row,
            pad,
            copy,
            output: await driver.step([ids[row] ?? []], [copy], [topDown[row] ?? null], pad),
          });
        }
      }
      const scattered = caches.map(copyOf);
      const elsewhere = [...caches.keys()].reverse();
      const found = await driver.step(ids, scattered, topDown, 0, undefined, elsewhere);
      const batch = await driver.step(ids, caches, topDown);
      expect(sameBits(found.logits, batch.logits), "logits with blocks in another order").toBe(true);
      expect(
        sameBits(
          scattered.flatMap(({ keys }) => keys),
          caches.flatMap(({ keys }) => keys),
        ),
        "keys with blocks elsewhere",
      ).toBe(true);
      for (const { row, pad, copy, output } of alone) {
        const where = `row ${row} padded by ${pad} vectors`;
        expect(sameBits(output.logits, [batch.logits[row]]), `logits of ${where}`).toBe(true);
        expect(sameBits(output.hidden, [batch.hidden[row]]), `hidden states of ${where}`).toBe(true);
        expect(sameBits(copy.keys, caches[row]?.keys ?? []), `keys of ${where}`).toBe(true);
        expect(sameBits(copy.values, caches[row]?.values ?? []), `values of ${where}`).toBe(true);
      }
    }
  });
});

it("an int8 decoder prefills rows of one batch as it prefills each alone", async () => {
  const tiny = makeTinyFolder({ max_position_embeddings: 256 });
  const out = join(temporaryFolder(), "model");
  const { manifest } = await convert({ source: tiny.path, out, quantize: "int8", adapters: [] });
  const driver = await GraphDriver.load(out, manifest.architecture);
  const rows = [3, 5, 7].map((factor) => Array.from({ length: 20 }, (_, t) => (t * factor) % tiny.config.vocabSize));
  const batch = await driver.step(
    rows,
    rows.map(() => driver.emptyCache()),
  );
  for (const [row, ids] of rows.entries()) {
    const alone = await driver.step([ids], [driver.emptyCache()]);
    expect(sameBits(alone.logits, [batch.logits[row]])).toBe(true);
    expect(sameBits(alone.hidden, [batch.hidden[row]])).toBe(true);
  }
});

// MatMulNBits has kernels of one row and of several, which sum float32 in different orders on some processors: see
// docs/architecture.md. A last bit may then turn an activation's rounding, and that is all.
describe.each(Object.entries(shapes))("an int4 decoder with %s", (_, overrides) => {
  it("gives a row nearly the same alone and in a batch of 8", async () => {
    const tiny = makeTinyFolder({ ...overrides, max_position_embeddings: 256 });
    const out = join(temporaryFolder(), "model");
    const { manifest } = await convert({ source: tiny.path, out, quantize: "int4", adapters: [] });
    const driver = await GraphDriver.load(out, manifest.architecture);
    const lengths = [1, 2, 5, 15, 16, 17, 33, 64];
    const caches: RowCache[] = [];
    for (const length of lengths) {
      const cache = driver.emptyCache();
      await driver.step([Array.from({ length }, (_, t) => (t * 7 + length) % tiny.config.vocabSize)], [cache]);
      caches.push(cache);
    }
    const ids = lengths.map((length) => [length % tiny.config.vocabSize]);
    const copies = caches.map(copyOf);
    const batch = await driver.step(ids, caches);
    for (const [row, copy] of copies.entries()) {
      const alone = await driver.step([ids[row] ?? []], [copy]);
      const logits = batch.logits[row] ?? [];
      expect(deviation(alone.logits[0] ?? [], logits), `row ${row}`).toBeLessThan(0.02 * deviation(logits, []));
    }
  });
});

function copyOf(cache: RowCache): RowCache {
  return {
    length: cache.length,
    keys: cache.keys.map((array) => array.slice()),
    values: cache.values.map((array) => array.slice()),
  };
}

/** Compares bytes: element by element the test runner takes minutes. */
function sameBits(a: readonly Float32Array[], b: readonly (Float32Array | undefined)[]): boolean {
  return a.length === b.length && a.every((array, i) => bytesOf(array).equals(bytesOf(b[i])));
}

function bytesOf(array: Float32Array = new Float32Array()): Buffer {
  return Buffer.from(array.buffer, array.byteOffset, array.byteLength);
}

/** Root mean square of a - b. */
function deviation(a: ArrayLike<number>, b: ArrayLike<number>): number {
  const squares = Array.from(a, (value, i) => (value - (b[i] ?? 0)) ** 2);
  return Math.sqrt(squares.reduce((sum, square) => sum + square, 0) / squares.length);
}
