import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { gitCommit } from "../../../src/cli/bench/git-commit.js";
import { measureMasks } from "../../../src/cli/bench/measure-masks.js";
import { MemoryReader } from "../../../src/cli/bench/memory-reader.js";
import { readPromptFile } from "../../../src/cli/bench/prompt-file.js";
import { randomPrompts } from "../../../src/cli/bench/prompts.js";
import { ratioOf } from "../../../src/cli/bench/ratios.js";
import { inRounds } from "../../../src/cli/bench/rounds.js";
import { median, quantile } from "../../../src/cli/bench/statistics.js";
import { type SubjectFlags, subjectOf } from "../../../src/cli/bench/subject.js";
import { percent, tableLines } from "../../../src/cli/bench/table.js";
import { readModelFolder } from "../../../src/model/model-folder.js";
import { toastTiny } from "../../support/toast-tiny.js";

let scratch: string;
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), "toast-bench-parts-"));
});
afterAll(() => rm(scratch, { recursive: true }));

async function file(name: string, content: string): Promise<string> {
  const path = join(scratch, name);
  await writeFile(path, content);
  return path;
}

describe("statistics", () => {
  it("interpolate between values, and do not sort what they are given", () => {
    const values = [4, 1, 3, 2];
    expect([median(values), quantile(values, 0), quantile(values, 1), median([7])]).toEqual([2.5, 1, 4, 7]);
    expect(values).toEqual([4, 1, 3, 2]);
  });
});

describe("rounds", () => {
  it("measure every case once before any is measured again", async () => {
    const order: string[] = [];
    const fractions: number[] = [];
    const results = await inRounds(
      2,
      ["a", "b"],
      (one, round) => {
        order.push(`${one}${round}`);
        return Promise.resolve(order.length);
      },
      (fraction) => fractions.push(fraction),
    );
    expect(order).toEqual(["a0", "b0", "a1", "b1"]);
    expect(results).toEqual([
      { case: "a", values: [1, 3] },
      { case: "b", values: [2, 4] },
    ]);
    expect(fractions).toEqual([0, 0.25, 0.5, 0.75]);
  });
});

describe("masks", () => {
  it("are measured along a text of each grammar, to its end", async () => {
    const fractions: number[] = [];
    const folder = await readModelFolder(toastTiny);
    const speeds = await measureMasks(folder, 2, (fraction) => fractions.push(fraction));
    expect(speeds.length).toBe(5);
    expect(fractions).toHaveLength(10);
    const { vocabSize } = folder.manifest.architecture;
    for (const { vocabulary, tokens, compileMs, firstUs, againUs } of speeds) {
      expect(vocabulary).toBe(vocabSize);
      expect(tokens).toBeGreaterThan(20);
      for (const figure of [compileMs, firstUs.median, againUs.median]) expect(figure).toBeGreaterThan(0);
      expect(firstUs.worst).toBeGreaterThanOrEqual(firstUs.median);
    }
  });
});

describe("ratios", () => {
  it("are taken within rounds: what slows a whole round down cancels out", () => {
    expect(ratioOf("two / one", 8, [4, 40, 6], [2, 20, 2])).toEqual({
      name: "two / one",
      at: 8,
      median: 2,
      low: 2,
      high: 3,
    });
  });
});

describe("the table", () => {
  it("aligns words to the left and figures to the right", () => {
    expect(
      tableLines(
        ["way", "tokens/s"],
        [
          ["plain", "9.5"],
          ["draft ahead", "110.0"],
        ],
      ),
    ).toEqual(["way          tokens/s", "plain             9.5", "draft ahead     110.0"]);
    expect([percent(0.987), percent(0.0213)]).toEqual(["99 %", "2.1 %"]);
  });
});

describe("random prompts", () => {
  const prompts = randomPrompts(300, 1);

  it("are ids of the vocabulary, the same for the same number", () => {
    const ids = prompts.ofLength(500, 3);
    expect(ids).toHaveLength(500);
    expect(ids.every((id) => Number.isInteger(id) && id >= 0 && id < 300)).toBe(true);
    expect(randomPrompts(300, 1).ofLength(500, 3)).toEqual(ids);
  });

  it("differ by number and seed from the first ids on", () => {
    const heads = [prompts.ofLength(4, 0), prompts.ofLength(4, 1), randomPrompts(300, 2).ofLength(4, 0)];
    expect(new Set(heads.map((ids) => ids.join())).size).toBe(3);
  });
});

describe("a file of prompts", () => {
  it("is JSONL with one of three fields, or text with one a line", async () => {
    const lines = ['{"instruction":"a","input":""}', "", '{"prompt":"b"}', '{"text":"c"}'].join("\r\n");
    expect(await readPromptFile(await file("questions.jsonl", lines))).toEqual(["a", "b", "c"]);
    expect(await readPromptFile(await file("questions.txt", "a\n\n  b c\n"))).toEqual(["a", "  b c"]);
  });

  it.each([
    ["bad.jsonl", '{"prompt":"a"}\n{"question":"b"}\n', "Line 2 of"],
    ["broken.jsonl", "{\n", "Line 1 of"],
    ["empty.txt", "\n \n", "holds no prompt"],
  ])("says what is wrong with %s", async (name, content, sentence) => {
    await expect(readPromptFile(await file(name, content))).rejects.toMatchObject({
      code: "invalid_option",
      message: expect.stringContaining(sentence),
    });
  });

  it("says that it cannot be read", async () => {
    await expect(readPromptFile(join(scratch, "missing.txt"))).rejects.toMatchObject({ code: "file_missing" });
  });
});

describe("the subject of a measurement", () => {
  const quantize = "int8" as const;

  it("is a folder, a shape or a server, by the flags", () => {
    expect(subjectOf(undefined, { quantize }, [], {})).toEqual({ kind: "folder", folder: null });
    expect(subjectOf("m", { quantize }, [], {})).toEqual({ kind: "folder", folder: "m" });
    expect(subjectOf(undefined, { quantize, shape: "tiny", keep: "k" }, ["shape", "keep"], {})).toEqual({
      kind: "shape",
      shape: "tiny",
      quantize,
      keep: "k",
    });
    const server = { quantize, url: "http://h:1", modelId: "m" };
    expect(subjectOf(undefined, server, ["url", "modelId"], { OPENAI_API_KEY: "secret" })).toEqual({
      kind: "server",
      baseUrl: "http://h:1/v1",
      model: "m",
      apiKey: "secret",
      ignoreEos: false,
    });
    expect(subjectOf(undefined, { ...server, url: "https://h/api/" }, [], {})).toMatchObject({
      baseUrl: "https://h/api",
      apiKey: null,
    });
  });

  it.each<[string, string | undefined, SubjectFlags, readonly string[]]>([
    ["give one of them", "folder", { quantize, shape: "tiny" }, ["shape"]],
    ["--url needs --model-id", undefined, { quantize, url: "http://h" }, ["url"]],
    ["--url must be an address", undefined, { quantize, url: "h:80", modelId: "m" }, ["url", "modelId"]],
    ["--quantize says nothing about a model folder; it goes with --shape", undefined, { quantize }, ["quantize"]],
    ["--api-key says nothing about --shape; it goes with --url", undefined, { quantize, shape: "tiny" }, ["apiKey"]],
    [
      "--only says nothing about --url; it goes with a model folder or --shape",
      undefined,
      { quantize, url: "http://h", modelId: "m" },
      ["only"],
    ],
  ])("says: %s", (sentence, folder, flags, given) => {
    expect(() => subjectOf(folder, flags, given, {})).toThrow(
      expect.objectContaining({ code: "invalid_option", message: expect.stringContaining(sentence) }),
    );
  });
});

describe("the commit of a folder", () => {
  const commit = "0123456789abcdef0123456789abcdef01234567";

  async function checkout(name: string, files: Readonly<Record<string, string>>): Promise<string> {
    for (const [path, content] of Object.entries(files)) {
      await mkdir(join(scratch, name, path, ".."), { recursive: true });
      await writeFile(join(scratch, name, path), content);
    }
    return join(scratch, name);
  }

  it.each<[string, Readonly<Record<string, string>>]>([
    ["a detached head", { ".git/HEAD": `${commit}\n` }],
    ["a branch", { ".git/HEAD": "ref: refs/heads/main\n", ".git/refs/heads/main": `${commit}\n` }],
    [
      "a packed branch",
      { ".git/HEAD": "ref: refs/heads/main\n", ".git/packed-refs": `# x\n${commit} refs/heads/main\n` },
    ],
    [
      "a work tree",
      {
        ".git": "gitdir: shared/worktrees/a\n",
        "shared/worktrees/a/HEAD": "ref: refs/heads/a\n",
        "shared/worktrees/a/commondir": "../..\n",
        "shared/refs/heads/a": `${commit}\n`,
      },
    ],
  ])("is read from %s", async (name, files) => {
    expect(gitCommit(await checkout(name.replaceAll(" ", "-"), files))).toBe(commit);
  });

  it("is null outside of a checkout", () => {
    expect(gitCommit(scratch)).toBeNull();
  });
});

describe("the memory reader", () => {
  it("reads a buffer through onnxruntime", async () => {
    const reader = await MemoryReader.open(1 << 20, 1);
    try {
      expect(await reader.read()).toBeGreaterThan(0);
    } finally {
      await reader.release();
    }
  });
});
