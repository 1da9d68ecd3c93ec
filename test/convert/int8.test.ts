import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { convert } from "../../src/convert/convert.js";
import { quantizeRows } from "../../src/convert/quantize/quantize-rows.js";
import { AdapterDriver, GraphDriver } from "./graph-driver.js";
import { writeSafetensors } from "./safetensors-file.js";
import {
  hashOf,
  makeTinyAdapter,
  makeTinyFolder,
  randomNormals,
  type TinyFolder,
  temporaryFolder,
} from "./tiny-folder.js";

const ids = [1, 17, 4, 33, 52, 8, 8, 21, 40, 3, 11, 29, 5, 46, 19, 2, 30, 31, 6];

async function load(tiny: TinyFolder, file: string, quantize: "none" | "int8") {
  const out = join(temporaryFolder(), "model");
  const { manifest } = await convert({ source: tiny.path, out, quantize, adapters: [{ file, name: "tiny" }] });
  const decoder = await GraphDriver.load(out, manifest.architecture);
  return { decoder, adapter: await AdapterDriver.load(join(out, "adapters", "tiny")) };
}

describe("int8", () => {
  it("stays close to fp32 in both passes", async () => {
    const tiny = makeTinyFolder({ hidden_size: 96, intermediate_size: 160, head_dim: 16, num_hidden_layers: 2 });
    const { file } = makeTinyAdapter(tiny);
    const run = async (quantize: "none" | "int8") => {
      const { decoder, adapter } = await load(tiny, file, quantize);
      const plain = await decoder.step([ids], [decoder.emptyCache()]);
      const gains = new Float32Array(ids.length * 2).fill(1);
      const { topDownValues } = await adapter.run(plain.hidden[0] ?? new Float32Array(), gains, ids.length);
      const steered = await decoder.step([ids], [decoder.emptyCache()], [topDownValues]);
      return { plain: plain.logits[0] ?? [], steered: steered.logits[0] ?? [] };
    };
    const exact = await run("none");
    const rounded = await run("int8");
    for (const pass of ["plain", "steered"] as const) {
      // Random weights average nothing out: 8 bits cost about 3 % of a logit's spread; a mistake in a scale costs all of it.
      expect(deviation(exact[pass], rounded[pass])).toBeLessThan(0.06 * deviation(exact[pass], []));
    }
  });

  it.each(["raw", "unit_rms"])("takes a row of zeros for zeros, with %s features", async (features) => {
    const tiny = makeTinyFolder();
    tiny.tensors["model.embed_tokens.weight"]?.values.fill(0, 21 * 7, 21 * 8);
    writeSafetensors(join(tiny.path, "model.safetensors"), tiny.tensors);
    const { file } = makeTinyAdapter(tiny, { describe: { features, backbone_sha256: hashOf(tiny.tensors) } });
    const { decoder, adapter } = await load(tiny, file, "int8");
    const { logits, hidden } = await decoder.step([[7, 7]], [decoder.emptyCache()]);
    expect(logits[0]?.every((logit) => logit === 0)).toBe(true);
    const { relevance, topDownValues } = await adapter.run(
      hidden[0] ?? new Float32Array(),
      new Float32Array(6).fill(1),
      2,
    );
    expect([...relevance]).toEqual([0, 0]);
    expect(topDownValues.every((value) => value === 0)).toBe(true);
  });
});

describe("quantizeRows", () => {
  it("keeps each value within half a step of its row's scale", () => {
    const next = randomNormals(1);
    const rows = Float32Array.from({ length: 40 }, (_, i) => next() * 10 ** Math.floor(i / 10 - 2));
    const quantized = new Int8Array(40);
    const scales = new Float32Array(4);
    quantizeRows(rows, 10, quantized, scales);
    for (const [i, value] of rows.entries()) {
      const scale = scales[Math.floor(i / 10)] ?? Number.NaN;
      expect(Math.abs((quantized[i] ?? Number.NaN) * scale - value)).toBeLessThanOrEqual(0.5001 * scale);
    }
    for (let row = 0; row < 4; row++) {
      expect(Math.max(...quantized.subarray(row * 10, row * 10 + 10).map(Math.abs))).toBe(127);
    }
  });

  it("gives zeros, and values too small for a scale, without a NaN", () => {
    const quantized = new Int8Array(6);
    const scales = new Float32Array(3);
    quantizeRows(Float32Array.of(0, -0, 1e-45, -1e-45, 3e-44, 0), 2, quantized, scales);
    expect(scales.every(Number.isFinite)).toBe(true);
    expect([...quantized.subarray(0, 2)]).toEqual([0, 0]);
    expect(quantized.every((value) => value >= -127)).toBe(true);
  });
});

/** Root mean square of a - b. */
function deviation(a: ArrayLike<number>, b: ArrayLike<number>): number {
  const squares = Array.from(a, (value, i) => (value - (b[i] ?? 0)) ** 2);
  return Math.sqrt(squares.reduce((sum, square) => sum + square, 0) / squares.length);
}
