import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { runCli } from "../../src/cli/run-cli.js";
import { convertTestModel } from "../contract/open-test-model.js";

let folder: string;
let remove: () => Promise<void>;

beforeAll(async () => {
  ({ folder, remove } = await convertTestModel());
});
afterAll(() => remove());

async function perplexity(...words: string[]) {
  const out: string[] = [];
  const err: string[] = [];
  const terminal = {
    out: (line: string) => out.push(line),
    err: (line: string) => err.push(line),
    interactive: false,
    environment: {},
  };
  const code = await runCli(["perplexity", folder, "--threads", "1", ...words], terminal);
  return { code, out: out.join("\n"), err: err.join("\n") };
}

describe("perplexity", () => {
  it("measures the base and each adapter, the same for a text and for the same text as JSONL", async () => {
    const text = "Once upon a time there was a small model.";
    await writeFile(join(folder, "held-out.txt"), text);
    await writeFile(join(folder, "held-out.jsonl"), `${JSON.stringify({ text })}\n`);
    const plain = await perplexity("--text", join(folder, "held-out.txt"), "--json");
    expect(plain.code).toBe(0);
    const rows = JSON.parse(plain.out);
    expect(rows.map(({ model }: { model: string }) => model)).toEqual(["tiny", "tiny:alpaca"]);
    for (const row of rows) {
      expect(row.bytes).toBe(Buffer.byteLength(text));
      expect(row.perplexity).toBeGreaterThan(1);
      expect(row.bitsPerByte).toBeCloseTo((Math.log2(row.perplexity) * row.tokens) / row.bytes, 6);
    }
    expect(rows[0].perplexity).not.toBe(rows[1].perplexity);
    const lines = await perplexity("--text", join(folder, "held-out.jsonl"), "--json");
    expect(JSON.parse(lines.out)).toEqual(rows);
  });

  it.each([
    ["a file that is not there", "missing.txt", null, "cannot be read"],
    ["a line that is no document", "bad.jsonl", '{"text": 3}\n', "Line 1"],
    ["an empty text", "empty.txt", "", "no tokens"],
  ])("says what is wrong with %s", async (_, name, content, sentence) => {
    const file = join(folder, name);
    if (content !== null) await writeFile(file, content);
    const { code, err } = await perplexity("--text", file);
    expect(code).not.toBe(0);
    expect(err).toContain(sentence);
  });
});
