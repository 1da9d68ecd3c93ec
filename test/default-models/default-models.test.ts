import { mkdtemp, readdir, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { modelFolders } from "../../src/app.js";
import { measureFolder } from "../../src/cli/perplexity/measure-folder.js";
import { convert } from "../../src/convert/convert.js";
import { ordinaryText } from "../../src/engine/generation-request.js";
import { loadModel, releaseModel } from "../../src/engine/load-model.js";
import { EngineClient } from "../../src/engine/thread/engine-client.js";
import { readModelFolder, verifyModelFolder } from "../../src/model/model-folder.js";
import { workerUrl } from "../contract/open-test-model.js";

const models = fileURLToPath(new URL("../../models", import.meta.url));
const smolLm2 = join(models, "smollm2-135m-instruct");
/** Served when it is asked for. */
const rival = join(models, "rivals", "smollm2-135m-alpaca");
/** The GGUF that SmolLM2 was converted from. It is no part of the repository. */
const gguf = process.env["SMOLLM2_GGUF"];

const megabyte = 1e6;

describe("the models that come with the package", () => {
  it("are the files that their manifests name, each with a model card and a chat template", async () => {
    const served = await modelFolders({ models: [], modelsDir: models });
    expect(served).toEqual([smolLm2]);
    for (const path of [...served, rival]) {
      const folder = await readModelFolder(path);
      await verifyModelFolder(folder, () => {});
      expect(folder.manifest.chatTemplate).not.toBeNull();
      expect(await readFile(join(folder.path, "README.md"), "utf8")).toContain(folder.manifest.id);
    }
  });

  it("have adapters that say what they do, show it by a prompt, and know their strength", async () => {
    const { adapters } = await readModelFolder(smolLm2);
    expect(adapters.map(({ manifest }) => manifest.name)).toEqual(["alpaca", "novelist", "stories"]);
    for (const { manifest } of adapters) {
      const { description, examplePrompt, recommendedStrength } = manifest.presentation;
      expect([description, examplePrompt]).toEqual([expect.stringMatching(/\w/), expect.stringMatching(/\w/)]);
      expect(recommendedStrength).toBeGreaterThan(0);
    }
  });

  it("are small enough for a clone: 300 MB in all, 45 MB a file", async () => {
    const entries = await readdir(models, { withFileTypes: true, recursive: true });
    const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
    const sizes = await Promise.all(files.map(async (file) => ({ file, bytes: (await stat(file)).size })));
    expect(sizes.filter(({ bytes }) => bytes > 45 * megabyte)).toEqual([]);
    expect(sizes.reduce((sum, { bytes }) => sum + bytes, 0)).toBeLessThanOrEqual(300 * megabyte);
  });
});

describe.each([
  ["SmolLM2", smolLm2],
  ["its fully tuned rival", rival],
])("%s, int8", (_, folder) => {
  let engine: EngineClient;
  beforeAll(async () => {
    engine = new EngineClient({ folder, threads: 1, workerUrl });
    await engine.ready();
  });
  afterAll(() => engine.close());

  it("knows the capital of France", async () => {
    const request = {
      ...ordinaryText,
      prompt: {
        kind: "chat" as const,
        messages: [{ role: "user" as const, content: "What is the capital of France?" }],
      },
      steering: { kind: "plain" as const },
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
      choices: 1,
      maxTokens: 16,
      stopStrings: [],
      ignoreEos: false,
    };
    const { events } = await engine.generate(request, new AbortController().signal);
    let text = "";
    for await (const event of events) {
      if (event.kind === "delta") text += event.text;
    }
    expect(text).toContain("Paris");
  });
});

if (gguf === undefined) console.warn("SmolLM2 is not converted anew: SMOLLM2_GGUF names no GGUF file.");
describe.skipIf(gguf === undefined)("SmolLM2 converted anew (skipped unless SMOLLM2_GGUF names its GGUF file)", () => {
  /** English that no model has seen: the project's own documents. */
  const texts = ["CONTRIBUTING.md", "docs/architecture.md"];
  let scratch: string;
  let out: string;
  beforeAll(async () => {
    scratch = await mkdtemp(join(tmpdir(), "toast-serve-models-"));
    out = join(scratch, "converted");
    await convert({ source: gguf ?? "", out, quantize: "int8", modelId: "SmolLM2-135M-Instruct", adapters: [] });
  }, 600_000);
  afterAll(() => rm(scratch, { recursive: true, force: true }));

  async function perplexityOf(folder: string): Promise<number> {
    const model = await loadModel(folder, {}, () => {});
    try {
      const read = texts.map((file) => readFile(fileURLToPath(new URL(`../../${file}`, import.meta.url)), "utf8"));
      const [plain] = await measureFolder(model, await Promise.all(read), { block: 512, maxTokens: 1500 });
      return plain?.perplexity ?? Number.NaN;
    } finally {
      await releaseModel(model);
    }
  }

  it("has weights of the same names and sizes, and predicts as well as the shipped one", async () => {
    const [converted, shipped] = (await Promise.all([out, smolLm2].map((path) => readModelFolder(path)))).map(
      ({ manifest }) => manifest,
    );
    const sizesOf = (manifest: typeof shipped) => manifest?.files.weights.map(({ name, bytes }) => ({ name, bytes }));
    expect(sizesOf(converted)).toEqual(sizesOf(shipped));
    expect(converted?.backboneSha256).toBe(shipped?.backboneSha256);
    // Calibration sums in floats, whose last bits depend on the processor; what they round may differ.
    const ratio = (await perplexityOf(out)) / (await perplexityOf(smolLm2));
    expect(Math.abs(ratio - 1)).toBeLessThan(0.002);
  }, 600_000);
});
