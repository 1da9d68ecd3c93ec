import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { Calibration } from "../../../src/convert/calibration/calibration.js";
import { smoothingScales } from "../../../src/convert/calibration/smoothing.js";
import { convert } from "../../../src/convert/convert.js";
import { openSourceModel } from "../../../src/convert/open-source-model.js";
import type { ToastError } from "../../../src/errors.js";
import { GraphDriver } from "../graph-driver.js";
import { writeSafetensors } from "../safetensors-file.js";
import { makeTinyFolder, randomNormals, type TinyFolder, temporaryFolder } from "../tiny-folder.js";

const ids = [1, 17, 4, 33, 52, 8, 8, 21, 40, 3, 11, 29, 5, 46, 19, 2, 30, 31, 6];
const shape = { hidden_size: 96, intermediate_size: 160, head_dim: 16, num_hidden_layers: 2 };

/** A decoder with what trained ones have: two channels of the residual stream are far larger than the others. */
function makeOutlierFolder(overrides: Readonly<Record<string, unknown>> = {}): TinyFolder {
  const tiny = makeTinyFolder({ ...shape, ...overrides });
  const embedding = tiny.tensors["model.embed_tokens.weight"];
  if (embedding === undefined) throw new Error("a decoder has an embedding table");
  for (const [i] of embedding.values.entries()) {
    if (i % 96 === 3 || i % 96 === 40) embedding.values[i] = (embedding.values[i] ?? 0) * 60;
  }
  writeSafetensors(join(tiny.path, "model.safetensors"), tiny.tensors);
  return tiny;
}

async function logitsOf(tiny: TinyFolder, quantize: "none" | "int8") {
  const out = join(temporaryFolder(), "model");
  const { manifest } = await convert({ source: tiny.path, out, quantize, adapters: [] });
  const decoder = await GraphDriver.load(out, manifest.architecture);
  const { logits, hidden } = await decoder.step([ids], [decoder.emptyCache()]);
  return { logits: logits[0] ?? new Float32Array(), hidden: hidden[0] ?? new Float32Array() };
}

function deviation(a: Float32Array, b: Float32Array): number {
  return Math.sqrt(a.reduce((sum, value, i) => sum + (value - (b[i] ?? Number.NaN)) ** 2, 0) / a.length);
}

describe("int8 of a decoder with outlier channels", () => {
  it.each([
    ["plain", {}],
    ["with an embedding table that is the head", { tie_word_embeddings: true }],
    ["with biases everywhere", { attention_bias: true, mlp_bias: true }],
  ])("keeps what fp32 says, and hidden states in the basis they were trained in (%s)", async (_, overrides) => {
    const tiny = makeOutlierFolder(overrides);
    const exact = await logitsOf(tiny, "none");
    const rounded = await logitsOf(tiny, "int8");
    for (const what of ["logits", "hidden"] as const) {
      const spread = deviation(exact[what], new Float32Array(exact[what].length));
      expect(deviation(exact[what], rounded[what]) / spread).toBeLessThan(0.05);
    }
  });
});

describe("a calibration", () => {
  it("computes layer by layer what the decoder computes, each once", async () => {
    const tiny = makeOutlierFolder();
    const model = await openSourceModel(tiny.path);
    const read: string[] = [];
    const tensors = {
      floatRows(name: string) {
        read.push(name);
        return model.tensors.floatRows(name);
      },
    };
    const calibration = await Calibration.open(model.config, tensors, ids, { smooths: true });
    const attention = await calibration.scales(1, "attention");
    expect(await calibration.scales(1, "attention")).toBe(attention);
    expect((await calibration.scales(0, "mlp")).length).toBe(96);
    expect(new Set(read).size).toBe(read.length);
    await expect(calibration.spread(0, "down")).rejects.toThrow("layer 0 was passed");
    expect((await calibration.spread(1, "down"))?.length).toBe(160 * 160);
    await calibration.close();
    await model.close();
  });

  it("needs a text of some length", async () => {
    const source = makeTinyFolder().path;
    const out = join(temporaryFolder(), "model");
    const job = convert({ source, out, quantize: "int8", adapters: [], calibrationText: "too short" });
    const error = await job.catch((thrown: unknown) => thrown as ToastError);
    expect(error).toMatchObject({ code: "invalid_option", param: "--calibration" });
    expect((error as ToastError).message).toContain("128 are needed at least");
  });
});

describe("smoothing", () => {
  const size = 8;
  const rows = Float32Array.from({ length: 50 * size }, randomNormals(3)).map((value, i) =>
    i % size === 2 ? 100 * value : value,
  );
  const weights = Float32Array.from({ length: 20 * size }, randomNormals(4));

  it("takes from a large channel what its weights can carry", () => {
    const scales = smoothingScales(rows, [weights], size);
    const others = [...scales].filter((_, channel) => channel !== 2);
    expect(scales[2]).toBeGreaterThan(4 * Math.max(...others));
    expect(scales.reduce((product, scale) => product * scale, 1)).toBeCloseTo(1, 3);
  });

  it("leaves channels alone whose values are no numbers", () => {
    const broken = rows.slice();
    broken[7] = Number.NaN;
    broken[9] = Number.POSITIVE_INFINITY;
    expect([...smoothingScales(broken, [weights], size)]).toEqual(new Array(size).fill(1));
  });
});
