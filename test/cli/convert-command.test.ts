import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import { makeTinyGguf } from "../convert/gguf/gguf-file.js";
import { runCommand } from "../support/run-command.js";

function run(...words: string[]) {
  return runCommand(words);
}

describe("convert of a GGUF file", () => {
  it("names the model after the file, and says what was left out", async () => {
    const { path } = await makeTinyGguf((metadata) => {
      metadata.set("general.sampling.temp", { kind: "float32", value: -3 });
    });
    const out = join(dirname(path), "served");
    const told = await run("convert", path, "--out", out, "--quantize", "none");
    expect(told.code).toBe(0);
    expect(told.out).toContain(`Made ${out}\n  tiny\n`);
    expect(told.err).toContain("Note: general.sampling.temp recommends -3, which is out of bounds, and is left out.");
  });

  it("refuses what it cannot read in one sentence, and leaves nothing behind", async () => {
    const { path } = await makeTinyGguf((metadata) => {
      metadata.set("general.architecture", { kind: "string", value: "mamba" });
    });
    const out = join(dirname(path), "served");
    const told = await run("convert", path, "--out", out);
    expect(told).toMatchObject({ code: 1, out: "", err: `${path}: architecture mamba is not supported; llama is.` });
    expect((await run("convert", dirname(path), "--out", out)).err).toBe(told.err);
  });
});
