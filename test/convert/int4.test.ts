import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { convert } from "../../src/convert/convert.js";
import { GraphBuilder } from "../../src/convert/graph-builder.js";
import { linearLayers } from "../../src/convert/linear-layers.js";
import { quantizeRows } from "../../src/convert/quantize/quantize-rows.js";
import { SafetensorsReader } from "../../src/convert/safetensors-reader.js";
import { layInOneFile } from "../../src/convert/weight-layout.js";
import { writeWeights } from "../../src/convert/weights-file.js";
import { OnnxSession } from "../../src/model/onnx-session.js";
import { AdapterDriver, GraphDriver } from "./graph-driver.js";
import { ReferenceDecoder } from "./reference-decoder.js";
import { writeSafetensors } from "./safetensors-file.js";
import {
  hashOf,
  makeTinyAdapter,
  makeTinyFolder,
  randomNormals,
  type Tensors,
  temporaryFolder,
} from "./tiny-folder.js";
import { dequantize } from "./unpack-blocks.js";

const ids = [1, 17, 4, 33, 52, 8, 8, 21, 40, 3, 11, 29, 5, 46, 19, 2, 30, 31, 6];

describe("an int4 linear layer", () => {
  it.each([
    [21, 5],
    [32, 1],
    [37, 53],
    [64, 64],
    [100, 30],
    [172, 7],
    [704, 129],
  ])("of %i inputs and %i outputs multiplies by exactly the weights that were stored", async (inSize, outSize) => {
    const next = randomNormals(inSize);
    const weights = Float32Array.from({ length: outSize * inSize }, next);
    const session = await layerSession(weights, inSize, outSize);
    // Whole numbers with a 127 in each block: quantizing them to int8 by block leaves them as they are.
    const rows = Float32Array.from({ length: 5 * inSize }, (_, i) =>
      (i % inSize) % 32 === 0 ? 127 : Math.max(-127, Math.min(127, Math.round(40 * next()))),
    );
    const { product } = await session.run({ rows: { type: "float32", data: rows, dims: [5, inSize] } });
    const stored = dequantize(weights, inSize);
    for (let row = 0; row < 5; row++) {
      for (let out = 0; out < outSize; out++) {
        let sum = 0;
        let size = 0;
        for (let i = 0; i < inSize; i++) {
          const term = (rows[row * inSize + i] ?? 0) * (stored[out * inSize + i] ?? 0);
          sum += term;
          size += Math.abs(term);
        }
        expect(Math.abs((product?.[row * outSize + out] ?? Number.NaN) - sum)).toBeLessThan(1e-6 * size);
      }
    }
    await session.release();
  });
});

const variants: Record<string, Readonly<Record<string, unknown>>> = {
  "grouped queries and sizes without common factors": {},
  "tied embeddings": { tie_word_embeddings: true },
  "attention and mlp biases": { attention_bias: true, mlp_bias: true },
  "sizes of whole blocks": { hidden_size: 96, intermediate_size: 160, head_dim: 16 },
};

describe.each(Object.entries(variants))("an int4 decoder with %s", (_, overrides) => {
  it("stays about as near to fp32 as weights that are rounded alone, on inputs that tell nothing", async () => {
    const tiny = makeTinyFolder(overrides);
    const out = join(temporaryFolder(), "model");
    const { manifest } = await convert({ source: tiny.path, out, quantize: "int4", adapters: [] });
    const driver = await GraphDriver.load(out, manifest.architecture);
    const { logits } = await driver.step([ids], [driver.emptyCache()]);
    const given = new ReferenceDecoder(tiny.config, tiny.tensors).run(ids).logits.flat();
    const nearest = new ReferenceDecoder(tiny.config, nearestTensors(tiny.tensors)).run(ids).logits.flat();
    // Activations are rounded too. A matrix that was turned wrongly costs all of a logit's spread.
    const bound = 1.3 * deviation(given, nearest);
    expect(bound).toBeLessThan(0.5 * deviation(given, []));
    expect(deviation(given, logits[0] ?? [])).toBeLessThan(bound);
  });
});

it("an int4 decoder takes a row of zeros for zeros, and its adapter is int8", async () => {
  const tiny = makeTinyFolder();
  tiny.tensors["model.embed_tokens.weight"]?.values.fill(0, 21 * 7, 21 * 8);
  writeSafetensors(join(tiny.path, "model.safetensors"), tiny.tensors);
  const { file } = makeTinyAdapter(tiny, { describe: { backbone_sha256: hashOf(tiny.tensors) } });
  const out = join(temporaryFolder(), "model");
  const adapters = [{ file, name: "tiny" }];
  const { manifest, adapters: made } = await convert({ source: tiny.path, out, quantize: "int4", adapters });
  expect([manifest.quantization, made[0]?.quantization]).toEqual(["int4", "int8"]);
  const decoder = await GraphDriver.load(out, manifest.architecture);
  const { logits, hidden } = await decoder.step([[7, 7]], [decoder.emptyCache()]);
  expect(logits[0]?.every((logit) => logit === 0)).toBe(true);
  const adapter = await AdapterDriver.load(join(out, "adapters", "tiny"));
  const steered = await adapter.run(hidden[0] ?? new Float32Array(), new Float32Array(6).fill(1), 2);
  expect(steered.topDownValues.every((value) => value === 0)).toBe(true);
});

/** One layer on disk, made as the converter makes them. */
async function layerSession(weights: Float32Array, inSize: number, outSize: number): Promise<OnnxSession> {
  const folder = temporaryFolder();
  const b = new GraphBuilder("layer");
  const rows = b.input("rows", "float32", ["M", inSize]);
  const layers = linearLayers(b, "int4", b.int64([5]));
  const source = { kind: "computed", compute: () => weights } as const;
  b.output(layers.apply(layers.prepare(rows), { name: "weight", outSize, inSize, source }, "product"), "float32", [
    "M",
    outSize,
  ]);
  const { graph, files } = b.build((placed) => layInOneFile("layer.data", placed));
  writeFileSync(join(folder, "layer.onnx"), graph);
  const unused = await SafetensorsReader.openFolder(makeTinyFolder().path);
  await writeWeights(folder, files, unused);
  await unused.close();
  return OnnxSession.load(join(folder, "layer.onnx"), { threads: 1 });
}

/** Weights in int4 blocks, each rounded to the nearest; the embedding table and the output head in int8 rows. */
function nearestTensors(tensors: Tensors): Tensors {
  return Object.fromEntries(
    Object.entries(tensors).map(([name, { shape, values }]) => {
      const size = shape[1];
      if (size === undefined) return [name, { shape, values }];
      const isTable = name === "model.embed_tokens.weight" || name === "lm_head.weight";
      return [name, { shape, values: isTable ? int8Values(values, size) : dequantize(values, size) }];
    }),
  );
}

function int8Values(rows: Float32Array, size: number): Float32Array {
  const quantized = new Int8Array(rows.length);
  const scales = new Float32Array(rows.length / size);
  quantizeRows(rows, size, quantized, scales);
  return Float32Array.from(quantized, (value, i) => value * (scales[Math.floor(i / size)] ?? Number.NaN));
}

/** Root mean square of a - b. */
function deviation(a: ArrayLike<number>, b: ArrayLike<number>): number {
  const squares = Array.from(a, (value, i) => (value - (b[i] ?? 0)) ** 2);
  return Math.sqrt(squares.reduce((sum, square) => sum + square, 0) / squares.length);
}
