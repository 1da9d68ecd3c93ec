import { readFileSync } from "node:fs";
import { mkdir, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { modelShapes, shapeNames } from "../../src/convert/model-shapes.js";
import { makeRandomModel } from "../../src/convert/random-model.js";
import { RandomTensors } from "../../src/convert/random-tensors.js";
import { ordinaryText } from "../../src/engine/generation-request.js";
import { EngineClient } from "../../src/engine/thread/engine-client.js";
import type { Quantization } from "../../src/model/manifest.js";
import { readModelFolder, verifyModelFolder } from "../../src/model/model-folder.js";
import { Tokenizer } from "../../src/text/tokenizer.js";
import { workerUrl } from "../contract/open-test-model.js";
import { temporaryFolder } from "./tiny-folder.js";

async function valuesOf(tensors: RandomTensors, name: string): Promise<Float32Array> {
  const values: number[] = [];
  for await (const chunk of tensors.floatRows(name)) values.push(...chunk);
  return Float32Array.from(values);
}

function spreadOf(values: Float32Array): number {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length);
}

function make(overrides: Partial<Parameters<typeof makeRandomModel>[0]> = {}) {
  const out = join(temporaryFolder(), "model");
  return makeRandomModel({ shape: "tiny", seed: 1, quantize: "int8", out, ...overrides }).then(() => out);
}

const dataOf = (folder: string) => readFileSync(join(folder, "decoder.onnx.weights-1"));

describe("RandomTensors", () => {
  const config = modelShapes.tiny;
  const gate = "model.layers.0.mlp.gate_proj.weight";

  it("draws the same values for the same seed, others for another seed or tensor", async () => {
    const values = await valuesOf(new RandomTensors(config, 7), gate);
    expect(values).toHaveLength(config.intermediateSize * config.hiddenSize);
    expect(await valuesOf(new RandomTensors(config, 7), gate)).toEqual(values);
    expect(await valuesOf(new RandomTensors(config, 8), gate)).not.toEqual(values);
    expect(await valuesOf(new RandomTensors(config, 7), gate.replace("gate", "up"))).not.toEqual(values);
  });

  it("has linear weights around 0, residual ones scaled by the depth, and norms of 1", async () => {
    const tensors = new RandomTensors(config, 1);
    const values = await valuesOf(tensors, gate);
    expect(spreadOf(values)).toBeCloseTo(0.02, 3);
    expect(Math.abs(values.reduce((sum, value) => sum + value, 0) / values.length)).toBeLessThan(1e-3);
    const down = await valuesOf(tensors, "model.layers.1.mlp.down_proj.weight");
    expect(spreadOf(down)).toBeCloseTo(0.02 / Math.sqrt(2 * config.layers), 3);
    expect([...new Set(await valuesOf(tensors, "model.norm.weight"))]).toEqual([1]);
  });
});

describe("the named shapes", () => {
  it.each(shapeNames)("%s splits its width into heads evenly", (name) => {
    const { hiddenSize, heads, kvHeads, headDim } = modelShapes[name];
    expect(headDim * heads).toBe(hiddenSize);
    expect(headDim % 2).toBe(0);
    expect(heads % kvHeads).toBe(0);
  });
});

describe("makeRandomModel", () => {
  it("makes the same folder of the same seed, another of another", async () => {
    const [one, same, other] = await Promise.all([make(), make(), make({ seed: 2 })]);
    expect(dataOf(one).equals(dataOf(same))).toBe(true);
    expect(dataOf(one).equals(dataOf(other))).toBe(false);
    expect((await readModelFolder(one)).manifest).toEqual((await readModelFolder(same)).manifest);
  });

  it.each<Quantization>(["none", "int8"])(
    "makes a folder with %s weights that loads and generates, steered",
    async (quantize) => {
      const folder = await make({ quantize });
      await verifyModelFolder(await readModelFolder(folder), () => {});
      const engine = new EngineClient({ folder, threads: 1, workerUrl });
      try {
        const model = await engine.ready();
        expect(model).toMatchObject({ id: "tiny", quantization: quantize, adapters: [{ name: "random" }] });
        const { events } = await engine.generate(
          {
            prompt: { kind: "chat", messages: [{ role: "user", content: "Grüße!" }] },
            steering: { kind: "steered", adapter: "random", strength: 1, layers: [0, 1], vectors: [] },
            sampling: {
              temperature: 0,
              topP: 1,
              topK: null,
              minP: 0,
              presencePenalty: 0,
              frequencyPenalty: 0,
              repetitionPenalty: 1,
              logitBias: [],
              seed: 1,
            },
            maxTokens: 32,
            choices: 1,
            stopStrings: [],
            ignoreEos: true,
            ...ordinaryText,
          },
          new AbortController().signal,
        );
        const kinds: string[] = [];
        for await (const event of events) {
          kinds.push(event.kind);
          if (event.kind === "finished") expect(event.usage.completionTokens).toBe(32);
        }
        expect(kinds.length).toBeGreaterThan(2);
        const { drafts } = await engine.inspect();
        expect(drafts.proposed).toBeGreaterThan(20);
        // What the adapter says is too quiet to be heard.
        expect(drafts.accepted / drafts.proposed).toBeGreaterThan(0.8);
      } finally {
        await engine.close();
      }
    },
  );

  it("has a tokenizer that encodes any text, and decodes it to the same", async () => {
    const folder = await make();
    const tokenizer = await Tokenizer.fromFile(join(folder, "tokenizer.json"));
    expect(tokenizer.vocabSize).toBe(modelShapes.tiny.vocabSize);
    const text = "Über 日本 in\n 3 lines 😀";
    const ids = tokenizer.encode(text, { addSpecialTokens: false });
    expect(tokenizer.decode(ids, { skipSpecialTokens: false })).toBe(text);
    expect(tokenizer.encode("<s>", { addSpecialTokens: false })).toEqual([1]);
  });

  it("keeps a folder that is the same model, and leaves any other alone", async () => {
    const out = await make();
    const madeAt = (await stat(join(out, "manifest.json"))).mtimeMs;
    await makeRandomModel({ shape: "tiny", seed: 1, quantize: "int8", out });
    expect((await stat(join(out, "manifest.json"))).mtimeMs).toBe(madeAt);
    await expect(make({ out, seed: 2 })).rejects.toMatchObject({ code: "output_exists" });
    await expect(make({ out, quantize: "none" })).rejects.toMatchObject({ code: "output_exists" });
    const foreign = join(temporaryFolder(), "foreign");
    await mkdir(foreign);
    await writeFile(join(foreign, "notes.txt"), "mine");
    await expect(make({ out: foreign })).rejects.toMatchObject({ code: "output_exists" });
    expect(readFileSync(join(foreign, "notes.txt"), "utf8")).toBe("mine");
  });

  it("stops when it is told to, and leaves nothing", async () => {
    const parent = temporaryFolder();
    const out = join(parent, "model");
    await expect(make({ out, signal: AbortSignal.abort() })).rejects.toThrow(/abort/i);
    await expect(stat(out)).rejects.toThrow();
  });
});
