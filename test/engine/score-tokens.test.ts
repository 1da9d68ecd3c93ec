import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { convert } from "../../src/convert/convert.js";
import { type LoadedModel, loadModel, releaseModel } from "../../src/engine/load-model.js";
import { type ScoringPass, scoreTokens } from "../../src/engine/score-tokens.js";
import { Golden } from "../convert/golden.js";

const source = new URL("../tiny/gqa/", import.meta.url).pathname;
const golden = new Golden(join(source, "golden.safetensors"));
let scratch: string;
let model: LoadedModel;

beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), "toast-serve-score-"));
  const out = join(scratch, "model");
  const adapters = [{ file: join(source, "adapter.safetensors"), name: "tiny" }];
  await convert({ source, out, quantize: "none", adapters });
  model = await loadModel(out, { threads: 1 }, () => {});
});

afterAll(async () => {
  await releaseModel(model);
  await rm(scratch, { recursive: true, force: true });
});

/** log softmax of the reference's logits [T,V] at the tokens that follow. */
function expectedScores(name: string, ids: readonly number[]): number[] {
  const logits = golden.floats(name);
  const size = model.folder.manifest.architecture.vocabSize;
  return ids.slice(1).map((id, t) => {
    const row = [...logits.subarray(t * size, (t + 1) * size)];
    return (row[id] ?? 0) - Math.log(row.reduce((sum, logit) => sum + Math.exp(logit), 0));
  });
}

describe("scoreTokens", () => {
  it.each([
    ["plain", "bottom_up_logits"],
    ["steered", "steered_logits"],
  ])("finds a text as likely as the PyTorch reference does, %s, in whatever chunks", async (kind, name) => {
    const ids = golden.ids("input_ids");
    const adapter = model.adapters.get("tiny");
    if (adapter === undefined) throw new Error("the adapter is not loaded");
    const gains = new Float32Array(model.folder.manifest.architecture.layers).fill(1);
    const pass: ScoringPass = kind === "plain" ? { kind: "plain" } : { kind: "steered", adapter, gains };
    const expected = expectedScores(name, ids);
    for (const chunk of [7, 128]) {
      const scores = await scoreTokens(model.decoder, pass, ids, chunk);
      expect(scores.length).toBe(expected.length);
      for (const [t, score] of scores.entries()) expect(score).toBeCloseTo(expected[t] ?? 0, 3);
    }
    expect(model.decoder.cache.lanesInUse).toBe(0);
  });
});
