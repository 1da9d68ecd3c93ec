import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import { runCli } from "../../src/cli/run-cli.js";
import { makeTinyGguf } from "../convert/gguf/gguf-file.js";

async function run(...words: string[]) {
  const out: string[] = [];
  const err: string[] = [];
  const terminal = {
    out: (line: string) => out.push(line),
    err: (line: string) => err.push(line),
    interactive: false,
    environment: {},
  };
  const code = await runCli(words, terminal, new AbortController().signal);
  return { code, out: out.join("\n"), err: err.join("\n") };
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
