import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { measureFolder } from "../../src/cli/perplexity/measure-folder.js";
import { convert } from "../../src/convert/convert.js";
import { loadModel, releaseModel } from "../../src/engine/load-model.js";
import { manifestFileName, readModelFolder, verifyModelFolder } from "../../src/model/model-folder.js";
import { builtinTemplates } from "../../src/text/builtin-templates.js";

const repository = fileURLToPath(new URL("../../", import.meta.url));
const served = join(repository, "models", "toast-tiny");
const source = join(served, "source");
/** English that the model cannot have seen: the project's own documents. */
const heldOut = ["README.md", "docs/architecture.md", "CONTRIBUTING.md"];

/** Names of the adapters that are served, each from the file of its name in `source`. */
const adapters = (await readdir(join(served, "adapters"))).sort();

let scratch: string;
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), "toast-serve-models-"));
});
afterAll(() => rm(scratch, { recursive: true, force: true }));

async function convertSource(quantize: "none" | "int8"): Promise<string> {
  const out = join(scratch, quantize);
  await convert({
    source,
    out,
    quantize,
    modelId: "toast-tiny",
    chatTemplate: builtinTemplates.alpaca,
    adapters: adapters.map((name) => ({ file: join(source, `${name}.safetensors`), name })),
  });
  return out;
}

async function perplexityOf(folder: string) {
  const texts = await Promise.all(heldOut.map((file) => readFile(join(repository, file), "utf8")));
  const model = await loadModel(folder, {}, () => {});
  const results = await measureFolder(model, texts, { block: 512, maxTokens: 4500 });
  await releaseModel(model);
  return results;
}

describe("the models that are served by default", () => {
  it("are the files that their manifests name, each with a model card", async () => {
    const entries = await readdir(join(repository, "models"), { withFileTypes: true });
    const folders = entries
      .filter((entry) => entry.isDirectory())
      .map((entry) => join(repository, "models", entry.name));
    expect(folders.length).toBeGreaterThanOrEqual(2);
    for (const path of folders) {
      const folder = await readModelFolder(path);
      await verifyModelFolder(folder, () => {});
      expect(folder.manifest.chatTemplate).not.toBeNull();
      expect(await readFile(join(path, "README.md"), "utf8")).toContain(folder.manifest.id);
    }
  });

  it("come from their source as the converter makes them, the backbone bit for bit", async () => {
    const converted = await readModelFolder(await convertSource("int8"));
    const shipped = await readModelFolder(served);
    expect(converted.manifest.files.weights).toEqual(shipped.manifest.files.weights);
    expect(converted.manifest.backboneSha256).toBe(shipped.manifest.backboneSha256);
    // An adapter is folded by onnxruntime in float64, whose order of sums depends on the processor: its last bits may differ.
    expect(converted.adapters.map(({ manifest }) => manifest.name)).toEqual(adapters);
    expect(await readdir(served)).toEqual(expect.arrayContaining([manifestFileName, "source"]));
  });

  it("lose less than one percent of perplexity by int8, base and steered", async () => {
    const exact = await perplexityOf(await convertSource("none"));
    const int8 = await perplexityOf(served);
    expect(int8.map(({ model }) => model)).toEqual(["toast-tiny", ...adapters.map((name) => `toast-tiny:${name}`)]);
    for (const [index, { model, perplexity, tokens }] of exact.entries()) {
      const ratio = (int8[index]?.perplexity ?? 0) / perplexity;
      expect(tokens, model).toBeGreaterThan(4000);
      expect(ratio, model).toBeGreaterThan(0.99);
      expect(ratio, model).toBeLessThan(1.01);
    }
  });
});
