import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { convert } from "../../src/convert/convert.js";
import { AdapterDriver, GraphDriver } from "./graph-driver.js";
import { ReferenceDecoder, referenceFeedback } from "./reference-decoder.js";
import { makeTinyAdapter, makeTinyFolder, oddShape, temporaryFolder } from "./tiny-folder.js";

const ids = [1, 17, 4, 33, 52, 8, 8, 21, 40, 3, 11, 29, 5, 46, 19, 2, 30, 31, 6];

const variants: Record<string, Readonly<Record<string, unknown>>> = {
  "grouped queries and sizes without common factors": {},
  "one key/value head per query head": { num_key_value_heads: 6 },
  "a single layer": { num_hidden_layers: 1 },
  "tied embeddings": { tie_word_embeddings: true },
  "attention and mlp biases": { attention_bias: true, mlp_bias: true },
  "a head_dim of 8": { head_dim: 8 },
  "a head_dim of 2": { head_dim: 2 },
  "linear rope scaling": { rope_scaling: { type: "linear", factor: 2.5 } },
  "llama3 rope scaling": {
    rope_parameters: {
      rope_type: "llama3",
      rope_theta: 500,
      factor: 8,
      low_freq_factor: 1,
      high_freq_factor: 4,
      original_max_position_embeddings: 32,
    },
  },
};

describe.each(Object.entries(variants))("a decoder with %s", (_, overrides) => {
  it("computes what plain float64 loops compute, however the tokens are cut up", async () => {
    const tiny = makeTinyFolder(overrides);
    const { logits, hidden } = new ReferenceDecoder(tiny.config, tiny.tensors).run(ids);
    const out = join(temporaryFolder(), "model");
    const { manifest } = await convert({ source: tiny.path, out, quantize: "none", adapters: [] });
    const driver = await GraphDriver.load(out, manifest.architecture);
    for (const cuts of [[ids.length], [7, 1, 11], ids.map(() => 1)]) {
      const cache = driver.emptyCache();
      let done = 0;
      for (const count of cuts) {
        const output = await driver.step([ids.slice(done, done + count)], [cache]);
        expect(distance(output.logits[0], logits.slice(done, done + count).flat())).toBeLessThan(1e-5);
        expect(distance(output.hidden[0], hidden.slice(done, done + count).flat())).toBeLessThan(1e-5);
        done += count;
      }
    }
  });
});

describe.each([
  ["full", "raw"],
  ["lite", "raw"],
  ["full", "unit_rms"],
] as const)("a folded %s adapter with %s features", (kind, features) => {
  it("steers as the unfolded feedback path does", async () => {
    const tiny = makeTinyFolder();
    const adapter = { ...makeTinyAdapter(tiny, { kind, describe: { features } }), features };
    const reference = new ReferenceDecoder(tiny.config, tiny.tensors);
    const bottomUp = reference.run(ids);
    const { relevance, topDown } = referenceFeedback(tiny.config.layers, adapter, bottomUp.hidden);
    const steered = reference.run(ids, (layer, token) => topDown[layer]?.[token] ?? []);
    expect(relevance.some((share) => share > 0.1) && relevance.some((share) => share === 0)).toBe(true);

    const out = join(temporaryFolder(), "model");
    const adapters = [{ file: adapter.file, name: "tiny" }];
    const { manifest } = await convert({ source: tiny.path, out, quantize: "none", adapters });
    const driver = await GraphDriver.load(out, manifest.architecture);
    const fold = await AdapterDriver.load(join(out, "adapters", "tiny"));
    const { hidden } = await driver.step([ids], [driver.emptyCache()]);
    const gains = new Float32Array(ids.length * oddShape.num_hidden_layers).fill(1);
    const values = await fold.run(hidden[0] ?? new Float32Array(), gains, ids.length);
    expect(distance(values.relevance, relevance)).toBeLessThan(1e-5);
    const output = await driver.step([ids], [driver.emptyCache()], [values.topDownValues]);
    expect(distance(output.logits[0], steered.logits.flat())).toBeLessThan(1e-4);
    expect(distance(output.logits[0], bottomUp.logits.flat())).toBeGreaterThan(0.1);
  });
});

/** Largest |a - b|; NaN when the lengths differ. */
function distance(a: Float32Array | undefined, b: readonly number[]): number {
  if (a?.length !== b.length) return Number.NaN;
  return b.reduce((largest, value, i) => Math.max(largest, Math.abs(value - (a[i] ?? Number.NaN))), 0);
}
