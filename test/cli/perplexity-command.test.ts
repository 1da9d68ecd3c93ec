import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type RunningApp, startApp } from "../../src/app.js";
import { createLog } from "../../src/server/edge/request-log.js";
import { parseServeConfig } from "../../src/settings/serve-config.js";
import { convertTestModel, workerUrl } from "../contract/open-test-model.js";
import { runCommand } from "../support/run-command.js";

let folder: string;
let remove: () => Promise<void>;
let app: RunningApp;

beforeAll(async () => {
  ({ folder, remove } = await convertTestModel());
  const config = parseServeConfig({ model: folder, port: "0", threads: "1" }, { DRAIN_SECONDS: "0" });
  app = await startApp(config, { workerUrl, log: createLog("error", "json", () => {}) });
  await app.ready();
});
afterAll(async () => {
  await app.stop();
  await remove();
});

function perplexity(...words: string[]) {
  return run(folder, "--threads", "1", ...words);
}

function run(...words: string[]) {
  return runCommand(["perplexity", ...words]);
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
    // As PowerShell and Excel write it.
    await writeFile(join(folder, "marked.txt"), `\uFEFF${text}`);
    expect(JSON.parse((await perplexity("--text", join(folder, "marked.txt"), "--json")).out)).toEqual(rows);
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

describe("perplexity of a server", () => {
  it("is that of the folder that it serves, plain and steered, in blocks too", async () => {
    const file = join(folder, "served.txt");
    await writeFile(file, "Once upon a time there was a small model. It said — naïvely — what it had read.\nThe end.");
    const local = JSON.parse((await perplexity("--text", file, "--json", "--block", "16")).out);
    expect(local).toHaveLength(2);
    for (const expected of local) {
      const words = ["--url", app.url, "--model-id", expected.model, "--text", file, "--block", "16", "--json"];
      const [served] = JSON.parse((await run(...words)).out);
      expect(served.tokens).toBe(expected.tokens);
      expect(served.tokens).toBeGreaterThan(16);
      expect(served.perplexity / expected.perplexity).toBeCloseTo(1, 5);
      const one = await run(...words.slice(0, -1));
      expect(one.out).toContain(`${expected.model}  perplexity ${served.perplexity.toFixed(3)}`);
    }
  });

  it("says what is missing or wrong", async () => {
    const file = join(folder, "served.txt");
    await writeFile(file, "Once upon a time.");
    const cases: [string[], string][] = [
      [["--text", file], "Give a model folder, or a server"],
      [[folder, "--url", app.url, "--text", file], "Give a model folder, or a server"],
      [["--url", app.url, "--text", file], "--url needs --model-id"],
      [["--url", "nowhere", "--model-id", "tiny", "--text", file], "must be an address"],
      [["--url", "http://127.0.0.1:9", "--model-id", "tiny", "--text", file], "cannot be reached"],
      [["--url", app.url, "--model-id", "missing", "--text", file], "'missing'"],
      [["--url", `${app.url}/v2/v3`, "--model-id", "tiny", "--text", file], "/v2/tokenize"],
    ];
    for (const [words, sentence] of cases) {
      const { code, err } = await run(...words);
      expect(code).not.toBe(0);
      expect(err).toContain(sentence);
    }
  });
});
