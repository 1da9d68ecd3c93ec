import { execFile, spawn } from "node:child_process";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { EngineReport } from "../../../src/cli/bench/report.js";
import { convertTestModel } from "../../contract/open-test-model.js";

const main = fileURLToPath(new URL("../../../dist/main.js", import.meta.url));

let scratch: string;
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), "toast-bench-cli-"));
});
afterAll(() => rm(scratch, { recursive: true, force: true }));

/** The built program: an engine's worker runs compiled code. Its temporary folders go to `scratch`. */
async function bench(...words: string[]): Promise<string> {
  const env = { ...process.env, TMPDIR: scratch };
  const { stdout } = await promisify(execFile)(process.execPath, [main, "bench", ...words], { env });
  return stdout;
}

/** Temporary folders of ours that are left; onnxruntime leaves files of its own. */
async function ownFolders(): Promise<readonly string[]> {
  return (await readdir(scratch)).filter((name) => name.startsWith("toast-"));
}

const quick = ["--rounds", "2", "--tokens", "24", "--threads", "1"];

describe("bench --shape", () => {
  it("measures random weights, says so in JSON, and removes them", async () => {
    const words = ["--only", "decode,prefill,contexts,health", "--streams", "1,3", "--seconds", "1"];
    const lengths = ["--prefill", "16,600", "--contexts", "16,64,512"];
    const stdout = await bench("--shape", "tiny", ...quick, ...words, ...lengths, "--json");
    const report = JSON.parse(stdout) as EngineReport;
    const positive = expect.toSatisfy((value: number) => value > 0, "a positive number");
    expect(report).toMatchObject({
      kind: "engine",
      machine: { node: process.version, version: expect.stringMatching(/^\d+\.\d+\.\d+$/) },
      model: { id: "tiny", quantization: "int8", weights: "random", layers: 2, contextLength: 512, adapter: "random" },
      settings: { rounds: 2, tokens: 24, temperature: 0, seed: 1, threads: 1 },
      acceptance: null,
      bandwidth: null,
      peakMemory: positive,
      health: { streams: 4, medianMs: positive, p95Ms: positive },
    });
    expect(report.decode?.map(({ way, streams }) => `${way} ${streams}`)).toEqual([
      "plain 1",
      "vectors 1",
      "sequential 1",
      "draftAhead 1",
      "plain 3",
      "vectors 3",
      "sequential 3",
      "draftAhead 3",
    ]);
    for (const speed of report.decode ?? []) {
      expect(speed).toMatchObject({ tokensPerSecond: positive, firstTokenMs: positive, msPerStep: positive });
      expect(speed.promptTokens).toBe(32);
      expect(speed.draftsAccepted === null).toBe(speed.way !== "draftAhead");
      expect(speed.tokenGapMs.p95).toBeGreaterThanOrEqual(speed.tokenGapMs.p50);
    }
    const alone = report.decode?.filter(({ streams }) => streams === 1).map(({ forwardsPerToken }) => forwardsPerToken);
    expect(alone?.slice(0, 2)).toEqual([1, 1]);
    expect(alone?.[2]).toBeGreaterThan(1.7);
    expect(alone?.[3]).toBeLessThan(1.7);
    expect(report.prefill?.map(({ passes, promptTokens }) => `${passes} ${promptTokens}`)).toEqual([
      "one 16",
      "two 16",
    ]);
    expect(report.contexts?.map((row) => `${row.way} ${row.cachedTokens} ${row.promptTokens}`)).toEqual([
      "plain 16 16",
      "draftAhead 16 16",
      "plain 64 64",
      "draftAhead 64 64",
      "plain 512 488",
      "draftAhead 512 488",
    ]);
    expect(report.ratios.map(({ name, at }) => `${name} at ${at}`)).toEqual(
      expect.arrayContaining([
        "tokens/s: three control vectors / plain at 3",
        "step: draft ahead / plain at 1",
        "tokens/s: draft ahead / two passes at 3",
        "tokens/s: more streams / 1, plain at 3",
        "tokens/s: more streams / 1, draft ahead at 3",
        "engine's share of a step, plain at 1",
        "prompt: two passes / one at 16",
        "step: more cached tokens / 16, draft ahead at 512",
      ]),
    );
    for (const { low, median, high } of report.ratios) {
      expect(low).toBeLessThanOrEqual(median);
      expect(median).toBeLessThanOrEqual(high);
    }
    expect(await ownFolders()).toEqual([]);
  });

  it("stops in the middle when it is told to, and removes the weights", async () => {
    const words = ["bench", "--shape", "tiny", "--only", "decode", "--tokens", "400", "--rounds", "1000"];
    const child = spawn(process.execPath, [main, ...words], { env: { ...process.env, TMPDIR: scratch } });
    let err = "";
    child.stderr.on("data", (chunk: Buffer) => {
      err += chunk.toString();
    });
    const exit = new Promise((resolve) => child.once("exit", resolve));
    await expect.poll(() => err, { timeout: 30_000 }).toContain(", decode");
    child.kill("SIGINT");
    expect(await exit).toBe(130);
    expect(err).toContain("Stopped before the end");
    expect(await ownFolders()).toEqual([]);
  });

  it("tells what reports cost when it is asked to", async () => {
    const stdout = await bench("--shape", "tiny", ...quick, "--only", "reports", "--streams", "2", "--json");
    const { ratios, decode } = JSON.parse(stdout) as EngineReport;
    expect(decode).toBeNull();
    expect(ratios.map(({ name }) => name)).toEqual(
      ["tokens/s", "processor time"].flatMap((figure) =>
        ["explain", "logprobs 5", "logprobs 20 and explain"].map((kind) => `${figure}: ${kind} / no reports`),
      ),
    );
    for (const { median, at } of ratios) expect([at, median > 0]).toEqual([2, true]);
  });

  it("keeps the weights where it is told to, and finds them there again", async () => {
    const words = ["--only", "prefill", "--prefill", "8", "--quantize", "none"];
    const all = ["--shape", "tiny", "--keep", join(scratch, "kept"), ...quick, ...words];
    const first = await bench(...all);
    expect(first).toContain("tiny, random none weights");
    expect(first).toContain("prompt: two passes / one");
    expect(await bench(...all)).toContain("tiny, random none weights");
    expect(await ownFolders()).toEqual([]);
    expect(await readdir(join(scratch, "kept"))).toContain("manifest.json");
  });
});

describe("bench of a folder", () => {
  it("asks real questions and tells the acceptance, greedy and at 0.7", async () => {
    const { folder, remove } = await convertTestModel();
    const questions = join(scratch, "questions.jsonl");
    await writeFile(questions, '{"instruction":"Hi."}\n{"prompt":"Bye."}\n');
    const words = ["--only", "acceptance", "--prompts", questions, "--requests", "3", "--json"];
    const report = JSON.parse(await bench(folder, ...quick, ...words)) as EngineReport;
    await remove();
    expect(report).toMatchObject({
      model: { id: "tiny", quantization: "none", weights: "real", adapter: "alpaca" },
      acceptance: [
        { temperature: 0, answers: 3 },
        { temperature: 0.7, answers: 3 },
      ],
      decode: null,
      health: null,
      soak: null,
    });
    for (const { tokens, drafts } of report.acceptance ?? []) {
      expect(tokens).toBeGreaterThan(0);
      expect(drafts.accepted).toBeLessThanOrEqual(drafts.proposed);
    }
  });

  it("answers questions and edits with guesses and without, and tells how many were right", async () => {
    const { folder, remove } = await convertTestModel();
    const words = ["--only", "guesses", "--requests", "2", "--tokens", "48", "--threads", "1", "--json"];
    const report = JSON.parse(await bench(folder, ...words)) as EngineReport;
    await remove();
    expect(report.guesses?.map(({ way, kind }) => `${way} ${kind}`)).toEqual([
      "plain questions",
      "plain edits",
      "draftAhead questions",
      "draftAhead edits",
    ]);
    for (const { answers, tokens, guesses, tokensPerSecond } of report.guesses ?? []) {
      expect(answers).toBe(2);
      expect(tokens).toBe(96);
      expect(guesses.accepted).toBeLessThanOrEqual(guesses.proposed);
      expect(tokensPerSecond.with).toBeGreaterThan(0);
    }
    expect(report.ratios.map(({ name }) => name)).toContain("tokens/s: guesses / none, edits, plain");
  });
});
