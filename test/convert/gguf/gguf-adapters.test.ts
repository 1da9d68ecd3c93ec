import { readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { convert } from "../../../src/convert/convert.js";
import { convertAdapter } from "../../../src/convert/convert-adapter.js";
import { GgufReader } from "../../../src/convert/gguf/gguf-reader.js";
import { openSourceModel } from "../../../src/convert/open-source-model.js";
import { makeTinyAdapter, temporaryFolder } from "../tiny-folder.js";

const source = new URL("./tied.gguf", import.meta.url).pathname;
const tokenizer = new URL("../../tiny/tokenizer/tokenizer.json", import.meta.url).pathname;

/** A folder with the quantized decoder and an adapter that was trained on it. */
async function workplace() {
  const folder = temporaryFolder();
  const path = join(folder, "tied.gguf");
  writeFileSync(path, readFileSync(source));
  writeFileSync(join(folder, "tokenizer.json"), readFileSync(tokenizer));
  const model = await openSourceModel(path);
  const describe = { backbone_sha256: await model.hash() };
  await model.close();
  const { file } = makeTinyAdapter({ path: folder, config: model.config, tensors: {} }, { describe });
  return { path, folder, file, out: join(folder, "served") };
}

describe("adapters of a GGUF model", () => {
  it("are the same folded at once, added later, and from the value projections kept beside it", async () => {
    const { path, file, folder, out } = await workplace();
    const options = { source: path, quantize: "int8" } as const;
    const atOnce = await convert({ ...options, out, adapters: [{ file, name: "first" }] });
    const later = await convert({ ...options, out, adapters: [{ file, name: "second" }] });
    const alone = await convertAdapter({ model: out, file, name: "third", out: join(folder, "third") });
    expect(later.kind).toBe("added");
    expect(later.adapters[0]?.files).toEqual(atOnce.adapters[0]?.files);
    expect(alone.files).toEqual(atOnce.adapters[0]?.files);
  });

  it("find the value projections as the source stores them", async () => {
    const { path, out } = await workplace();
    const { manifest } = await convert({ source: path, quantize: "none", out, adapters: [] });
    const kept = await GgufReader.open([join(out, manifest.files.valueProjections?.name ?? "")]);
    const whole = await GgufReader.open([path]);
    expect([...kept.tensors].map(({ name, type }) => [name, type.name])).toEqual([
      ["blk.0.attn_v.weight", "Q4_0"],
      ["blk.1.attn_v.weight", "Q4_0"],
    ]);
    for (const tensor of kept.tensors) {
      const values = await whole.readFloats(whole.expect(tensor.name, tensor.dimensions));
      expect(await kept.readFloats(tensor)).toEqual(values);
    }
    await kept.close();
    await whole.close();
  });

  it("are refused when what was kept is damaged, and converted when it is whole again", async () => {
    const { path, file, folder, out } = await workplace();
    const { manifest } = await convert({ source: path, quantize: "none", out, adapters: [] });
    const kept = join(out, manifest.files.valueProjections?.name ?? "");
    const bytes = readFileSync(kept);
    truncateSync(kept, bytes.length - 64);
    const options = { model: out, file, name: "late", out: join(folder, "late") };
    await expect(convertAdapter(options)).rejects.toMatchObject({ code: "corrupt_gguf" });
    writeFileSync(kept, bytes);
    expect((await convertAdapter(options)).name).toBe("late");
  });
});
