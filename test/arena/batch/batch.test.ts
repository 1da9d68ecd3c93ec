import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { agreement, judgePrompt, readVerdict } from "../../../src/arena/batch/judge.js";
import { readPromptSet } from "../../../src/arena/batch/prompt-set.js";
import { RecordedAnswers } from "../../../src/arena/batch/recorded-answers.js";
import { seedOf } from "../../../src/arena/batch/run-batch.js";
import { readRatedItems, readVerdicts, verdictsOn } from "../../../src/arena/batch/verdicts.js";
import { runCli } from "../../../src/cli/run-cli.js";
import { type RemoteServer, say, startRemoteServer } from "../contestants/remote-server.js";

/** `[{"instruction":"Do.","output":"compressed 🍞","generator":"alpaca-7b"}]`, by `xz`. */
const compressed =
  "/Td6WFoAAATm1rRGAgAhARYAAAB0L+WjAQBJW3siaW5zdHJ1Y3Rpb24iOiJEby4iLCJvdXRwdXQiOiJjb21wcmVzc2VkIPCfjZ4iLCJnZW5lcmF0b3IiOiJhbHBhY2EtN2IifV0AAABUMptQ0a+P/gABYkqAFEThH7bzfQEAAAAABFla";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "toast-ab-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));
const file = async (name: string, content: unknown) => {
  const path = join(folder, name);
  await writeFile(
    path,
    Array.isArray(content) && name.endsWith(".jsonl")
      ? content.map((line) => `${JSON.stringify(line)}\n`).join("")
      : typeof content === "string"
        ? content
        : JSON.stringify(content),
  );
  return path;
};

describe("prompt sets", () => {
  it("are read in the formats of Vicuna, Self-Instruct, MT-bench, AlpacaEval and our own", async () => {
    const vicuna = await readPromptSet(
      await file("v.jsonl", [{ question_id: 1, text: "Why?", category: "generic" }]),
      null,
    );
    expect(vicuna).toEqual([
      { id: "1", messages: [{ role: "user", content: "Why?" }], turns: [], category: "generic" },
    ]);
    const selfInstruct = await readPromptSet(
      await file("s.jsonl", [
        {
          id: "user_oriented_task_0",
          motivation_app: "Gmail",
          instruction: "Shorten.",
          instances: [{ input: "Long.", output: "L." }],
        },
        {
          id: "user_oriented_task_1",
          motivation_app: "Gmail",
          instruction: "Greet.",
          instances: [{ input: "", output: "Hi" }],
        },
      ]),
      null,
    );
    expect(selfInstruct.map(({ category, messages }) => [category, messages[0]?.content])).toEqual([
      ["Gmail", "Shorten.\n\n### Input:\nLong."],
      ["Gmail", "Greet."],
    ]);
    const bench = await readPromptSet(
      await file("m.jsonl", [{ question_id: 81, category: "writing", turns: ["One", "Two"] }]),
      null,
    );
    expect(bench[0]).toMatchObject({ id: "81", category: "writing", messages: [{ content: "One" }], turns: ["Two"] });
    const evaluation = await readPromptSet(
      await file("a.json", [{ instruction: "Do.", dataset: "helpful_base", output: "x" }]),
      null,
    );
    expect(evaluation[0]).toMatchObject({ id: "1", category: "helpful_base", messages: [{ content: "Do." }] });
    const own = await readPromptSet(
      await file("o.jsonl", [
        { prompt: "A" },
        {
          messages: [
            { role: "system", content: "S" },
            { role: "user", content: "U" },
          ],
        },
      ]),
      1,
    );
    expect(own).toEqual([{ id: "1", messages: [{ role: "user", content: "A" }], turns: [], category: null }]);
  });

  it("say which line is wrong", async () => {
    await expect(readPromptSet(await file("a.jsonl", '{"prompt":"a"}\n{"promt":"b"}\n'), null)).rejects.toThrow(
      /Line 2 of .*'prompt'/,
    );
    await expect(readPromptSet(await file("b.jsonl", "{"), null)).rejects.toThrow(/Line 1 of .* not valid JSON/);
    await expect(
      readPromptSet(
        await file("c.jsonl", [
          { id: 1, prompt: "a" },
          { id: 1, prompt: "b" },
        ]),
        null,
      ),
    ).rejects.toThrow(/two prompts of the id '1'/);
    await expect(readPromptSet(join(folder, "none.jsonl"), null)).rejects.toMatchObject({ code: "file_missing" });
    await expect(readPromptSet(await file("d.jsonl", ""), null)).rejects.toThrow(/holds no prompt/);
  });

  it("give each prompt a seed of its own, the same each time", () => {
    expect(seedOf(1, "a")).toBe(seedOf(1, "a"));
    expect(new Set([seedOf(1, "a"), seedOf(1, "b"), seedOf(2, "a")]).size).toBe(3);
    expect(seedOf(1, "a")).toBeLessThan(2 ** 32);
  });
});

describe("recorded answers", () => {
  const prompt = (id: string, content: string) => ({
    id,
    messages: [{ role: "user" as const, content }],
    turns: [],
    category: null,
  });

  it("are found by id or by the prompt's words, in Vicuna's, MT-bench's, AlpacaEval's and our own format", async () => {
    const vicuna = await RecordedAnswers.read(
      await file("v.jsonl", [{ question_id: 1, text: "V", model_id: "vicuna-7b", answer_id: "x" }]),
    );
    expect([vicuna.id, vicuna.answer(prompt("1", "Why?"), 1).text]).toEqual(["vicuna-7b", "V"]);
    const bench = await RecordedAnswers.read(
      await file("m.jsonl", [{ question_id: 81, model_id: "m", choices: [{ turns: ["M", "N"] }] }]),
    );
    expect([1, 2].map((turn) => bench.answer(prompt("81", "?"), turn).text)).toEqual(["M", "N"]);
    expect(() => bench.answer(prompt("81", "?"), 3)).toThrow(/no answer to turn 3 of the prompt '81'. --turns 2 asks/);
    const evaluation = await RecordedAnswers.read(
      await file("a.json", [{ instruction: "Do.", output: "A", generator: "alpaca-7b" }]),
    );
    expect(evaluation.answer(prompt("5", "Do."), 1)).toMatchObject({
      contestant: "alpaca-7b",
      kind: "recorded",
      text: "A",
      completionTokens: null,
    });
    const own = await RecordedAnswers.read(await file("mine.jsonl", [{ id: "p", answer: "O" }]));
    expect([own.id, own.answer(prompt("p", "?"), 1).text]).toEqual(["mine", "O"]);
    expect(() => own.answer(prompt("q", "?"), 1)).toThrow(/no answer to the prompt 'q'/);
  });

  it("are read from xz as well, and broken xz is refused", async () => {
    const plain = join(folder, "a.json");
    await writeFile(`${plain}.xz`, Buffer.from(compressed, "base64"));
    expect((await RecordedAnswers.read(`${plain}.xz`)).answer(prompt("1", "Do."), 1).text).toBe("compressed 🍞");
    await writeFile(`${plain}.xz`, "this is no xz");
    await expect(RecordedAnswers.read(`${plain}.xz`)).rejects.toThrow(/not valid xz/);
    await expect(RecordedAnswers.read(join(folder, "none.json.xz"))).rejects.toMatchObject({ code: "file_missing" });
  });
});

describe("a judge", () => {
  it("has its last verdict read, and none made up", () => {
    expect(readVerdict("[[A]] at first, but in the end [[B]]")).toBe("right");
    expect(readVerdict("[[A]]")).toBe("left");
    expect([readVerdict("[[C]]"), readVerdict("A is better"), readVerdict("")]).toEqual(["tie", null, null]);
  });

  it("wins for a side only if both orders say so", () => {
    // In the second order the right answer stands first.
    expect(agreement("left", "right")).toBe("left");
    expect(agreement("right", "left")).toBe("right");
    expect(agreement("left", "left")).toBe("tie");
    expect(agreement("left", "tie")).toBe("tie");
    expect(agreement("tie", "tie")).toBe("tie");
    expect(agreement(null, "left")).toBeNull();
  });

  it("sees in further turns the conversation that each answer ends", () => {
    const behind = (answer: string) => [
      { role: "user" as const, content: "Why?" },
      { role: "assistant" as const, content: answer },
      { role: "user" as const, content: "And then?" },
    ];
    const shown = judgePrompt({ messages: behind("One."), answer: "1" }, { messages: behind("Two."), answer: "2" });
    expect(shown[0]?.content).toContain("judge the answer to the user's last message");
    expect(shown[1]?.content).toBe(
      [
        "[Conversation with A]\nuser: Why?\n\nassistant: One.\n\nuser: And then?",
        "[Answer A begins]\n1\n[Answer A ends]",
        "[Conversation with B]\nuser: Why?\n\nassistant: Two.\n\nuser: And then?",
        "[Answer B begins]\n2\n[Answer B ends]",
      ].join("\n\n"),
    );
  });

  it("sees the whole conversation and both answers, and no name", () => {
    const messages = [
      { role: "system", content: "Be brief." },
      { role: "user", content: "Why?" },
    ] as const;
    const [, shown] = judgePrompt({ messages, answer: "One." }, { messages, answer: "Two." });
    expect(shown?.content).toBe(
      "[The user's request]\nsystem: Be brief.\n\nuser: Why?\n\n[Answer A begins]\nOne.\n[Answer A ends]\n\n[Answer B begins]\nTwo.\n[Answer B ends]",
    );
  });
});

describe("verdicts from elsewhere", () => {
  it("are read as winners or scores, in several spellings", async () => {
    const path = await file("v.jsonl", [
      { id: 1, winner: "left", judge: "Ann" },
      { question_id: 2, score: [7, 9], reviewer_id: "gpt-4", text: "B is better" },
      { prompt_id: "3", scores: [5, 5] },
      { id: "4", winner: "tie (bothbad)" },
      { id: "5", winner: "model_b" },
    ]);
    const verdicts = await readVerdicts(path);
    expect(verdicts.map(({ promptId, winner }) => [promptId, winner])).toEqual([
      ["1", "left"],
      ["2", "right"],
      ["3", "tie"],
      ["4", "bothBad"],
      ["5", "right"],
    ]);
    expect(verdicts[1]).toMatchObject({ judge: "gpt-4", details: { scores: [7, 9], text: "B is better" } });
    await expect(readVerdicts(await file("x.jsonl", [{ id: 1, winner: "first" }]))).rejects.toThrow(
      /Line 1 .* is no verdict/,
    );
  });

  it("say which prompt they are on, and are one a prompt", async () => {
    const prompts = await readPromptSet(await file("q.jsonl", [{ id: 1, prompt: "Q" }]), null);
    const names = { left: "a", right: "b" };
    const of = async (...lines: object[]) =>
      verdictsOn(await readVerdicts(await file("v.jsonl", lines)), prompts, names);
    await expect(of({ winner: "left" })).rejects.toThrow(/needs 'id'/);
    await expect(of({ id: 1, winner: "left" }, { id: 1, winner: "left" })).rejects.toThrow(/second verdict/);
  });

  it("are rated without their texts when they name their contestants", async () => {
    const items = await readRatedItems(
      await file("arena.jsonl", [
        { model_a: "a", model_b: "b", winner: "model_a" },
        { left: "a", right: "c", scores: [1, 2], category: "math" },
      ]),
    );
    expect(items.map(({ match, category }) => [match.left, match.right, match.winner, category])).toEqual([
      ["a", "b", "left", null],
      ["a", "c", "right", "math"],
    ]);
    await expect(readRatedItems(await file("nameless.jsonl", [{ winner: "left" }]))).rejects.toThrow(
      /does not name its contestants/,
    );
  });
});

describe("toast-serve ab", () => {
  let server: RemoteServer;
  let failAfter: number;
  beforeAll(async () => {
    server = await startRemoteServer((call, response) => {
      if (server.calls.length > failAfter) return void response.writeHead(500).end('{"error":"down"}');
      const words = call.body.messages?.at(-1)?.content ?? "";
      if (call.body.model !== "judge") return say(response, [`${call.body.model} says ${call.body.seed}`]);
      const [a = "", b = ""] = [...words.matchAll(/\[Answer . begins\]\n([\s\S]*?)\n\[Answer . ends\]/g)].map(
        (match) => match[1] ?? "",
      );
      // Likes length; of equal ones it likes the first, which is the fault that asking twice finds.
      return say(response, ["Thinking. ", a.length >= b.length ? "[[A]]" : "[[B]]"]);
    });
  });
  afterAll(() => server.close());
  beforeEach(() => {
    failAfter = Number.POSITIVE_INFINITY;
    server.calls.length = 0;
  });
  const run = async (...words: string[]) => {
    const [out, err]: [string[], string[]] = [[], []];
    const terminal = {
      out: (line: string) => out.push(line),
      err: (line: string) => err.push(line),
      interactive: false,
      environment: {},
    };
    const code = await runCli(["ab", ...words], terminal, new AbortController().signal);
    return { code, out: out.join("\n"), err: err.join("\n") };
  };
  const questions = () =>
    file(
      "q.jsonl",
      [1, 2, 3, 4].map((id) => ({ question_id: id, text: `Question ${id}?`, category: id % 2 ? "odd" : "even" })),
    );
  const records = async (out: string) =>
    (await readFile(join(out, "battles.jsonl"), "utf8"))
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));

  it("asks both, has every pair judged in both orders, and writes records and a report that needs nothing else", async () => {
    const out = join(folder, "out");
    const answers = await file(
      "short.jsonl",
      [1, 2, 3, 4].map((id) => ({ question_id: id, text: id === 4 ? "x".repeat(30) : "<b>no</b>", model_id: "short" })),
    );
    const result = await run(
      "--left",
      `${server.url}#talker`,
      "--right",
      answers,
      "--prompts",
      await questions(),
      "--judge",
      `${server.url}#judge`,
      "--out",
      out,
    );
    expect(result).toMatchObject({ code: 0, err: expect.stringContaining("100 %") });
    expect(result.out).toContain("3 wins, 0 ties, 1 losses");
    const written = await records(out);
    expect(written).toHaveLength(4);
    expect(written[0]).toMatchObject({
      source: "batch",
      category: "odd",
      left: { contestant: "talker", kind: "remote" },
      right: { contestant: "short", kind: "recorded", text: "<b>no</b>" },
      vote: {
        winner: "left",
        judge: "judge",
        details: { places: ["left", "right"], judgments: [{ order: "leftFirst" }, { order: "rightFirst" }] },
      },
    });
    expect(written[0].left.text).toBe(`talker says ${written[0].seed}`);
    expect(new Set(written.map(({ seed }: { seed: number }) => seed)).size).toBe(4);
    const report = await readFile(join(out, "report.html"), "utf8");
    expect(report).toContain("&lt;b>no&lt;/b>");
    expect(report).not.toMatch(/<script|https?:\/\/(?!www\.w3\.org)|src=|@import/);
    expect(report).toContain("light-dark(");
    expect(report.match(/<details /g)).toHaveLength(4);
  });

  it("goes on where it was interrupted, asks nothing twice, and asks anew what has changed", async () => {
    const out = join(folder, "out");
    const words = [
      "--left",
      `${server.url}#one`,
      "--right",
      `${server.url}#three`,
      "--prompts",
      await questions(),
      "--judge",
      `${server.url}#judge`,
      "--out",
      out,
      "--concurrency",
      "1",
    ];
    failAfter = 9;
    const broken = await run(...words);
    expect(broken).toMatchObject({ code: 1, err: expect.stringContaining("could not answer: it answered 500: down") });
    failAfter = Number.POSITIVE_INFINITY;
    expect((await run(...words)).code).toBe(0);
    // 4 prompts × (2 answers + 2 verdicts), and what was lost with the failure: its own call, and a first verdict without a second.
    expect(server.calls.length).toBeLessThanOrEqual(16 + 3);
    const first = await records(out);
    const before = server.calls.length;
    expect((await run(...words)).code).toBe(0);
    expect(server.calls.length).toBe(before);
    expect((await records(out)).map(({ id }: { id: string }) => id)).toEqual(first.map(({ id }: { id: string }) => id));
    expect((await run(...words, "--seed", "2")).code).toBe(0);
    expect(server.calls.length).toBe(before + 16);
  });

  it("takes verdicts from elsewhere instead of a judge, and adds the battles to an arena's folder once", async () => {
    const [a, b] = [
      await file(
        "a.jsonl",
        [1, 2, 3, 4].map((id) => ({ id, text: `A${id}` })),
      ),
      await file(
        "b.jsonl",
        [1, 2, 3, 4].map((id) => ({ id, text: `B${id}` })),
      ),
    ];
    const verdicts = await file("verdicts.jsonl", [
      { id: 1, winner: "left" },
      { id: 2, scores: [3, 8] },
      { id: 3, winner: "tie" },
    ]);
    const words = [
      "--left",
      a,
      "--right",
      b,
      "--prompts",
      await questions(),
      "--verdicts",
      verdicts,
      "--out",
      join(folder, "out"),
      "--import-to",
      join(folder, "data"),
    ];
    expect(await run(...words)).toMatchObject({ code: 0, out: expect.stringContaining("4 new, 0 known") });
    expect(await run(...words)).toMatchObject({ code: 0, out: expect.stringContaining("0 new, 4 known") });
    const rated = await run("rate", join(folder, "out", "battles.jsonl"), "--json");
    expect(JSON.parse(rated.out)).toMatchObject({
      battles: 3,
      standings: [{ contestant: "a", wins: 1, ties: 1, losses: 1 }, { contestant: "b" }],
    });
    const odd = await run(
      "rate",
      join(folder, "out", "battles.jsonl"),
      "--category",
      "odd",
      "--html",
      join(folder, "odd.html"),
    );
    expect(odd.out).toContain(
      "Not separable by these 2 votes, as their intervals overlap: a and b; about 1 more would settle it",
    );
    expect(await readFile(join(folder, "odd.html"), "utf8")).toContain("Question 1?");
    expect(await run("rate", join(folder, "out", "battles.jsonl"), "--category", "none")).toMatchObject({
      code: 2,
      err: expect.stringContaining("there are: odd, even"),
    });
  });

  it("names verdicts that are on none of the prompts, and refuses a file of nothing else", async () => {
    const [a, b] = [await file("a.jsonl", [{ id: 1, text: "A" }]), await file("b.jsonl", [{ id: 1, text: "B" }])];
    const prompts = await file("q.jsonl", [{ id: 1, prompt: "Q" }]);
    const ab = async (...ids: (number | string)[]) => {
      const verdicts = await file(
        "v.jsonl",
        ids.map((id) => ({ id, winner: "left" })),
      );
      const words = ["--left", a, "--right", b, "--prompts", prompts, "--verdicts", verdicts];
      return await run(...words, "--out", join(folder, "out"));
    };
    expect(await ab(1, "other")).toMatchObject({
      code: 0,
      err: expect.stringContaining("1 of 2 verdicts are on none of the 1 prompts: 'other'."),
    });
    expect(await ab("other", "q-2")).toMatchObject({
      code: 2,
      err: expect.stringContaining(
        "2 of 2 verdicts are on none of the 1 prompts: 'other', 'q-2'. The prompts are called '1'.",
      ),
    });
  });

  it("reports unread judgments and gives them no vote", async () => {
    const before = server.answer;
    server.answer = (_, response) => say(response, ["I would rather not say."]);
    const [a, b] = [await file("a.jsonl", [{ id: 1, text: "A" }]), await file("b.jsonl", [{ id: 1, text: "B" }])];
    const result = await run(
      "--left",
      a,
      "--right",
      b,
      "--prompts",
      await file("q.jsonl", [{ id: 1, prompt: "Q" }]),
      "--judge",
      `${server.url}#judge`,
      "--out",
      join(folder, "out"),
    );
    server.answer = before;
    expect(result).toMatchObject({ code: 0, err: expect.stringContaining("1 of 1 judgments could not be read") });
    expect((await records(join(folder, "out")))[0].vote).toBeNull();
  });

  it.each([
    [["--left", "x.jsonl"], /needs --left, --right and --prompts/],
    [["--left", "http://localhost:1/v1", "--right", "b.jsonl"], /does not say which model: write .*#model/],
    [["--left", "no-such-model", "--right", "b.jsonl"], /'no-such-model' is no model of /],
    [["--left", "b.jsonl", "--right", "b.jsonl", "--judge", "c", "--verdicts", "d"], /give one of them/],
    [["--left", "b.jsonl", "--right", "b.jsonl", "--temperature", "3"], /a number from 0 to 2/],
  ])("refuses %j", async (words, sentence) => {
    await file("b.jsonl", [{ id: 1, text: "B" }]);
    const named = words.map((word) => (word === "b.jsonl" ? join(folder, "b.jsonl") : word));
    const prompts = words.length > 2 ? ["--prompts", await questions()] : [];
    expect(await run(...named, ...prompts)).toMatchObject({ code: 2, err: expect.stringMatching(sentence) });
  });

  it("explains itself", async () => {
    const { code, out } = await run("--help");
    expect(code).toBe(0);
    for (const word of ["--judge", "recorded answers", "journal.jsonl", "URL#model", "rate"])
      expect(out).toContain(word);
  });
});
