import { cpSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type ConvertResult, convert } from "../../../src/convert/convert.js";
import { Golden } from "../golden.js";
import { GraphDriver } from "../graph-driver.js";

const here = new URL("./", import.meta.url).pathname;
const tokenizer = new URL("../../tiny/tokenizer/tokenizer.json", import.meta.url).pathname;
const hashes: Readonly<Record<string, string>> = JSON.parse(readFileSync(`${here}hashes.json`, "utf8"));

/** Both have fewer key/value heads than query heads; see scripts/write_gguf_golden.py. */
const variants = [
  { name: "tied", files: ["tied.gguf"] },
  { name: "factors", files: ["factors-00001-of-00002.gguf", "factors-00002-of-00002.gguf"] },
];

describe.each(variants)("the decoder converted of $name.gguf against PyTorch", ({ name, files }) => {
  const golden = new Golden(`${here}${name}.safetensors`);
  const folder = mkdtempSync(join(tmpdir(), "toast-gguf-"));
  const out = join(folder, "out");
  let result: ConvertResult;

  beforeAll(async () => {
    for (const file of files) cpSync(`${here}${file}`, join(folder, file));
    cpSync(tokenizer, join(folder, "tokenizer.json"));
    // Any part stands for all.
    const source = join(folder, files.at(-1) ?? "");
    result = await convert({ source, out, quantize: "none", adapters: [] });
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it("gives the same logits", async () => {
    const driver = await GraphDriver.load(out, result.manifest.architecture);
    const { logits } = await driver.step([golden.ids("ids")], [driver.emptyCache()]);
    const expected = golden.floats("logits");
    const distance = Math.max(...expected.map((value, index) => Math.abs(value - (logits[0]?.[index] ?? Number.NaN))));
    expect(distance).toBeLessThan(1e-4);
    expect(logits[0]).toHaveLength(expected.length);
  });

  it("is the backbone that training hashes", () => {
    expect(result.manifest.backboneSha256).toBe(hashes[name]);
  });

  it("says what the file says", () => {
    expect(result.manifest).toMatchObject({
      id: name,
      tokens: { bos: { id: 1, text: "<s>" }, eos: [{ id: 2, text: "</s>" }], pad: null },
      licence: "cc0-1.0",
      chatTemplate: "{% for message in messages %}{{ message.content }}{% endfor %}",
      files: { valueProjections: { name: "value_projections.gguf" } },
    });
    expect(result.warnings).toEqual([]);
  });

  it("is found in its folder", async () => {
    const again = await convert({ source: folder, out: `${out}-again`, quantize: "none", adapters: [], modelId: name });
    expect(again.manifest).toEqual(result.manifest);
  });
});
