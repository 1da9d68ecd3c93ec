import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { convert } from "../../src/convert/convert.js";
import { SafetensorsReader } from "../../src/convert/safetensors-reader.js";
import type { Architecture } from "../../src/model/manifest.js";
import { VectorStack } from "../../src/steering/vector-stack.js";
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

  /**
   * float32 [L,D] of the two vectors of write_golden_values.py: 0.8 of one in all layers, -0.5 of the other in the
   * last.
   */
  const additions = (): Float32Array => {
    const { layers, hiddenSize } = architecture;
    const directions = golden.floats("vector_directions");
    const [first, second] = [0, 1].map((index) => {
      const all = directions.subarray(index * layers * hiddenSize, (index + 1) * layers * hiddenSize);
      const rows = Array.from({ length: layers }, (_, layer) =>
        all.slice(layer * hiddenSize, (layer + 1) * hiddenSize),
      );
      return new Map(rows.entries());
    });
    const stack = [
      { name: "first", strength: 0.8, layers: [0, layers - 1], directions: first ?? new Map() },
      { name: "second", strength: -0.5, layers: [layers - 1, layers - 1], directions: second ?? new Map() },
    ] as const;
    return new VectorStack(stack, architecture).addition;
  };

  it("adds control vectors behind its layers, alone and over the adapter, and tells what lies there", async () => {
    const added = additions();
    const alone = await decoder.step([prompt], [decoder.emptyCache()], [null], 0, [added]);
    expect(distance(alone.logits[0], golden.floats("vectors_logits"))).toBeLessThan(bound);
    const behind = golden.floats("vectors_layer_outputs");
    const size = prompt.length * architecture.hiddenSize;
    for (const [layer, values] of alone.layers.entries()) {
      expect(distance(values, behind.subarray(layer * size, (layer + 1) * size))).toBeLessThan(bound);
    }
    const { topDownValues } = await steer(golden.floats("bottom_up_hidden"));
    const over = await decoder.step([prompt], [decoder.emptyCache()], [topDownValues], 0, [added]);
    expect(distance(over.logits[0], golden.floats("steered_vectors_logits"))).toBeLessThan(bound);
  });

  it("greedily generates the same 64 tokens with control vectors, alone and over the adapter", async () => {
    const added = additions();
    const size = architecture.vocabSize;
    for (const way of ["vectors", "steered_vectors"] as const) {
      const [bottomUp, deciding] = lanes();
      const logits = golden.floats(`greedy_${way}_logits`);
      const decide = async (ids: readonly number[]): Promise<Float32Array> => {
        const { hidden } = way === "vectors" ? { hidden: [] } : await decoder.step([ids], [bottomUp]);
        const topDown = hidden[0] === undefined ? null : (await steer(hidden[0])).topDownValues;
        const { logits: all } = await decoder.step([ids], [deciding], [topDown], 0, [added]);
        return all[0]?.slice(-size) ?? new Float32Array();
      };
      const ids: number[] = [];
      let output = await decide(prompt);
      for (let step = 0; step < 64; step++) {
        expect(distance(output, logits.subarray(step * size, (step + 1) * size))).toBeLessThan(bound);
        const id = output.indexOf(Math.max(...output));
        ids.push(id);
        output = await decide([id]);
      }
      expect(ids).toEqual(golden.ids(`greedy_${way}_ids`));
    }
  });

  it("gives rows without control vectors their own bits beside one that has some", async () => {
    const added = additions();
    const ids = prompt.slice(0, 12);
    const step = (stacks: readonly (Float32Array | null)[]) =>
      decoder.step(
        stacks.map(() => ids),
        stacks.map(() => decoder.emptyCache()),
        stacks.map(() => null),
        0,
        stacks,
      );
    const zeros = new Float32Array(added.length);
    const [plain, beside, none] = [await step([null, null]), await step([added, null]), await step([zeros, null])];
    expect(beside.logits[1]).toEqual(plain.logits[1]);
    expect(none.logits).toEqual(plain.logits);
    expect(beside.logits[0]).not.toEqual(plain.logits[0]);
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
