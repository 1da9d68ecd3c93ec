import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { FinalNorm } from "../../src/model/final-norm.js";
import { readModelFolder } from "../../src/model/model-folder.js";
import { encodeOnnxModel } from "../../src/model/onnx-proto.js";

const toastTiny = fileURLToPath(new URL("../toast-tiny", import.meta.url));
let scratch: string;

beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), "toast-norm-"));
});
afterAll(() => rm(scratch, { recursive: true, force: true }));

/** A graph with one norm. @param gain null: it has no weight. */
async function graphWith(gain: Float32Array | null, epsilon: number) {
  const model = encodeOnnxModel({
    name: "decoder",
    opsets: { "": 21 },
    nodes: [
      {
        name: "norm",
        op: "SimplifiedLayerNormalization",
        domain: "",
        inputs: ["hidden", "model.norm.weight"],
        outputs: ["normed"],
        attributes: { epsilon: { float: epsilon } },
      },
    ],
    initializers:
      gain === null
        ? []
        : [
            {
              name: "model.norm.weight",
              type: "float32",
              dims: [gain.length],
              data: { kind: "inline", bytes: new Uint8Array(gain.buffer) },
            },
          ],
    inputs: [],
    outputs: [],
  });
  await writeFile(join(scratch, "decoder.onnx"), model);
  const { manifest } = await readModelFolder(toastTiny);
  const graph = { ...manifest.files.graph, name: "decoder.onnx" };
  const architecture = { ...manifest.architecture, hiddenSize: 2 };
  return FinalNorm.read(scratch, { ...manifest, architecture, files: { ...manifest.files, graph } });
}

describe("the final norm", () => {
  it("divides each token by its root mean square, and multiplies it with the gain", async () => {
    const norm = await graphWith(Float32Array.of(1, 10), 1e-30);
    expect(norm.of(Float32Array.of(3, 4, -1, 0))).toEqual(
      Float32Array.from([3 / Math.sqrt(12.5), 40 / Math.sqrt(12.5), -Math.SQRT2, 0]),
    );
  });

  it("has the graph's epsilon, so that nothing stays nothing", async () => {
    const norm = await graphWith(Float32Array.of(1, 1), 0.25);
    expect(norm.of(Float32Array.of(0, 0))).toEqual(Float32Array.of(0, 0));
    expect(norm.of(Float32Array.of(1, 1))[0]).toBeCloseTo(1 / Math.sqrt(1.25), 6);
  });

  it("is found in a converted folder, beside the graph", async () => {
    const { manifest } = await readModelFolder(toastTiny);
    const norm = await FinalNorm.read(toastTiny, manifest);
    const ones = norm.of(new Float32Array(manifest.architecture.hiddenSize).fill(1));
    // The gain itself: trained, so most differ, as far as bf16 can tell them.
    expect(new Set(ones).size).toBeGreaterThan(30);
    expect(ones.every((value) => Number.isFinite(value) && value !== 0)).toBe(true);
  });

  it("is missed by name where a graph has none, or one of another size", async () => {
    await expect(graphWith(null, 1e-5)).rejects.toMatchObject({
      code: "engine_failed",
      message: expect.stringContaining("has no norm behind its last layer"),
    });
    await expect(graphWith(Float32Array.of(1, 2, 3), 1e-5)).rejects.toMatchObject({
      message: expect.stringContaining("has 12 bytes"),
    });
  });
});
