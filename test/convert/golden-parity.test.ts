import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { convert } from "../../src/convert/convert.js";
import { SafetensorsReader } from "../../src/convert/safetensors-reader.js";
import type { Architecture } from "../../src/model/manifest.js";
import { Golden } from "./golden.js";
import { AdapterDriver, GraphDriver, type RowCache } from "./graph-driver.js";

const bound = 1e-4;
const variants = ["mha", "gqa", "tied", "llama3-rope", "head-dim-8", "hidden-64-ffn-172", "unit-rms"];

describe.each(variants)("the converted model %s against PyTorch", (variant) => {
  const source = new URL(`../tiny/${variant}/`, import.meta.url).pathname;
  const golden = new Golden(join(source, "golden.safetensors"));
  const prompt = golden.ids("input_ids");
  const out = mkdtempSync(join(tmpdir(), "toast-golden-"));
  let architecture: Architecture;
  let decoder: GraphDriver;
  let adapter: AdapterDriver;

  beforeAll(async () => {
    const adapters = [{ file: join(source, "adapter.safetensors"), name: "tiny" }];
    const result = await convert({ source, out, quantize: "none", adapters });
    architecture = result.manifest.architecture;
    decoder = await GraphDriver.load(out, architecture);
    adapter = await AdapterDriver.load(join(out, "adapters", "tiny"));
  });
  afterAll(() => rmSync(out, { recursive: true, force: true }));

  /** float32 [L,T,kv] for hidden states [T,D]. */
  const steer = async (hidden: Float32Array, strength = 1) => {
    const tokens = hidden.length / architecture.hiddenSize;
    return adapter.run(hidden, new Float32Array(tokens * architecture.layers).fill(strength), tokens);
  };
  /** Runs both passes over `ids`; the lanes' caches grow. */
  const runBoth = async (ids: readonly number[], lanes: readonly [RowCache, RowCache], strength = 1) => {
    const bottomUp = await decoder.step([ids], [lanes[0]]);
    const hidden = bottomUp.hidden[0] ?? new Float32Array();
    const { topDownValues } = await steer(hidden, strength);
    const steered = await decoder.step([ids], [lanes[1]], [topDownValues]);
    return { hidden, plain: bottomUp.logits[0], steered: steered.logits[0] };
  };
  const lanes = (): [RowCache, RowCache] => [decoder.emptyCache(), decoder.emptyCache()];

  it("prefills both passes alike, whole, in chunks and token by token", async () => {
    const cuts = [[40], [16, 16, 8], [1, 38, 1], prompt.map(() => 1)];
    for (const cut of cuts) {
      const caches = lanes();
      let done = 0;
      for (const count of cut) {
        const ids = prompt.slice(done, done + count);
        const { hidden, plain, steered } = await runBoth(ids, caches);
        const rows = (name: string, size: number) => golden.floats(name).subarray(done * size, (done + count) * size);
        expect(distance(hidden, rows("bottom_up_hidden", architecture.hiddenSize))).toBeLessThan(bound);
        expect(distance(plain, rows("bottom_up_logits", architecture.vocabSize))).toBeLessThan(bound);
        expect(distance(steered, rows("steered_logits", architecture.vocabSize))).toBeLessThan(bound);
        done += count;
      }
    }
  });

  it("folds the feedback path without changing it", async () => {
    const { relevance, topDownValues } = await steer(golden.floats("bottom_up_hidden"));
    expect(distance(relevance, golden.floats("relevance"))).toBeLessThan(bound);
    const spoken = await valueProjections(source, architecture, golden.floats("top_down_values"));
    expect(distance(topDownValues, spoken)).toBeLessThan(bound);
  });

  it("is steered half as much at half strength, and not by a bit at strength 0", async () => {
    const half = await runBoth(prompt, lanes(), 0.5);
    expect(distance(half.steered, golden.floats("half_strength_logits"))).toBeLessThan(bound);
    const none = await runBoth(prompt, lanes(), 0);
    expect(none.steered).toEqual(none.plain);
  });

  it("greedily generates the same 64 tokens, plain and steered", async () => {
    for (const pass of ["plain", "steered"] as const) {
      const caches = lanes();
      const logits = golden.floats(`greedy_${pass}_logits`);
      const size = architecture.vocabSize;
      const ids: number[] = [];
      let output: Float32Array = (await runBoth(prompt, caches))[pass]?.slice(-size) ?? new Float32Array();
      for (let step = 0; step < 64; step++) {
        expect(distance(output, logits.subarray(step * size, (step + 1) * size))).toBeLessThan(bound);
        const id = output.indexOf(Math.max(...output));
        ids.push(id);
        output = (await runBoth([id], caches))[pass] ?? new Float32Array();
      }
      expect(ids).toEqual(golden.ids(`greedy_${pass}_ids`));
    }
  });
});

/** W_v,l · td_l: float32 [L,T,D] → [L,T,kv], summed in float64. */
async function valueProjections(source: string, shape: Architecture, topDown: Float32Array): Promise<Float32Array> {
  const { layers, hiddenSize, kvHeads, headDim } = shape;
  const kvSize = kvHeads * headDim;
  const tokens = topDown.length / layers / hiddenSize;
  const spoken = new Float32Array(layers * tokens * kvSize);
  const reader = await SafetensorsReader.openFolder(source);
  for (let layer = 0; layer < layers; layer++) {
    const name = `model.layers.${layer}.self_attn.v_proj.weight`;
    const matrix = await reader.readFloats(reader.expect(name, [kvSize, hiddenSize]));
    for (let token = 0; token < tokens; token++) {
      const td = topDown.subarray((layer * tokens + token) * hiddenSize, (layer * tokens + token + 1) * hiddenSize);
      for (let row = 0; row < kvSize; row++) {
        const weights = matrix.subarray(row * hiddenSize, (row + 1) * hiddenSize);
        const sum = weights.reduce((total, weight, i) => total + weight * (td[i] ?? Number.NaN), 0);
        spoken[(layer * tokens + token) * kvSize + row] = sum;
      }
    }
  }
  await reader.close();
  return spoken;
}

/** Largest |a - b|; NaN when the lengths differ. */
function distance(a: Float32Array | undefined, b: Float32Array): number {
  if (a?.length !== b.length) return Number.NaN;
  return b.reduce((largest, value, i) => Math.max(largest, Math.abs(value - (a[i] ?? Number.NaN))), 0);
}
