import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { itemsOf } from "../../../src/arena/batch/json-lines.js";
import { recordsFrom } from "../../../src/arena/batch/verdict-records.js";
import { recordFromWire } from "../../../src/arena/battle-record.js";
import { runCli } from "../../../src/cli/run-cli.js";
import { type RemoteServer, say, startRemoteServer } from "../contestants/remote-server.js";

// Questions, answers and verdicts in the forms of MT-bench (FastChat's llm_judge) and AlpacaEval.

let folder: string;
let server: RemoteServer;
beforeAll(async () => {
  server = await startRemoteServer((call, response) => {
    const said = call.body.messages ?? [];
    if (call.body.model !== "judge") return say(response, [`${call.body.model} heard ${said.length}`]);
    // Whoever stands first, in the first turn; the talker, in whichever place, behind it.
    const words = said.at(-1)?.content ?? "";
    const isLater = words.includes("[Conversation with A]");
    const isFirst = /\[Answer A begins\]\ntalker/.test(words);
    return say(response, [isLater ? (isFirst ? "[[A]]" : "[[B]]") : "[[A]]"]);
  });
});
afterAll(() => server.close());
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "toast-turns-"));
  server.calls.length = 0;
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const file = async (name: string, lines: readonly object[]) => {
  const path = join(folder, name);
  await writeFile(path, `\uFEFF${lines.map((line) => JSON.stringify(line)).join("\r\n")}\r\n`);
  return path;
};
const questions = () =>
  file("question.jsonl", [
    { question_id: 81, category: "writing", turns: ["Write a haiku.", "Now in French."] },
    { question_id: 101, category: "math", turns: ["What is 1 + 1?", "And doubled?"], reference: ["2", "4"] },
  ]);
const answers = (model: string, ...turns: readonly (readonly string[])[]) =>
  file(
    `${model}.jsonl`,
    turns.map((said, at) => ({
      question_id: at === 0 ? 81 : 101,
      answer_id: `${model}-${at}`,
      model_id: model,
      choices: [{ index: 0, turns: said }],
      tstamp: 1.5,
    })),
  );
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
const records = async () =>
  (await readFile(join(folder, "out", "battles.jsonl"), "utf8"))
    .trimEnd()
    .split("\n")
    .map((line) => recordFromWire(JSON.parse(line), "A battle"));
const recorded = () => answers("recorded", ["Un.", "Deux."], ["2", "4"]);

describe("a prompt of two turns", () => {
  const words = async () => [
    ...["--left", `${server.url}#talker`, "--right", await recorded(), "--prompts", await questions()],
    ...["--out", join(folder, "out")],
  ];

  it("is asked on behind each one's own first answer, and judged after each turn", async () => {
    const result = await run(...(await words()), "--judge", `${server.url}#judge`);
    expect(result).toMatchObject({ code: 0 });
    const asked = server.calls.filter(({ body }) => body.model === "talker").map(({ body }) => body.messages);
    expect(asked).toContainEqual([
      { role: "user", content: "Write a haiku." },
      { role: "assistant", content: "talker heard 1" },
      { role: "user", content: "Now in French." },
    ]);
    expect(asked).toHaveLength(4);
    const written = await records();
    expect(written.map(({ left, right, turns, vote }) => [left.text, right.text, turns.length, vote?.winner])).toEqual([
      // Two orders, two winners.
      ["talker heard 1", "Un.", 0, "tie"],
      ["talker heard 1", "Un.", 1, "left"],
      ["talker heard 1", "2", 0, "tie"],
      ["talker heard 1", "2", 1, "left"],
    ]);
    expect(written[1]?.turns).toMatchObject([
      { prompt: "Now in French.", left: { text: "talker heard 3" }, right: { text: "Deux." } },
    ]);
    expect(new Set(written.map(({ id }) => id)).size).toBe(4);
    expect(result.out).toContain("Win rates of the 2 battles of one turn: recorded 50.0 %, talker 50.0 %.");
    expect(result.out).toContain("Win rates of the 2 battles of 2 turns: talker 100.0 %, recorded 0.0 %.");
    const report = await readFile(join(folder, "out", "report.html"), "utf8");
    for (const shown of ["Now in French.", "talker heard 3", "Deux.", "2 of question.jsonl, 4 turns"]) {
      expect(report).toContain(shown);
    }
    // Again from the journal: nobody is asked.
    const before = server.calls.length;
    await run(...(await words()), "--judge", `${server.url}#judge`);
    expect(server.calls.length).toBe(before);
    expect((await records()).map(({ id }) => id)).toEqual(written.map(({ id }) => id));
  });

  it("is asked once with --turns 1, and says so where recorded answers end", async () => {
    await run(...(await words()), "--turns", "1");
    expect(await records()).toMatchObject([{ turns: [] }, { turns: [] }]);
    const whole = await words();
    await answers("recorded", ["Un."], ["2", "4"]);
    expect(await run(...whole)).toMatchObject({
      code: 2,
      err: expect.stringMatching(/has no answer to turn 2 of the prompt '81'\. --turns 1 asks no further ones/),
    });
  });

  it("takes FastChat's verdicts by question, turn and names", async () => {
    const said = (id: number, turn: number, first: string, second: string, model_2 = "talker") => ({
      question_id: id,
      ...{ model_1: "recorded", model_2, g1_winner: first, g2_winner: second, judge: ["gpt-4", "pair-v2"], turn },
    });
    const verdicts = await file("gpt-4_pair.jsonl", [
      said(81, 1, "model_1", "model_1"),
      said(81, 2, "model_2", "model_2"),
      said(101, 1, "model_1", "model_2"),
      said(101, 2, "error", "model_2"),
      said(81, 1, "model_2", "model_2", "another"),
    ]);
    const result = await run(...(await words()), "--verdicts", verdicts, "--import-to", join(folder, "data"));
    expect(result).toMatchObject({ code: 0, err: expect.stringContaining("1 verdicts are on other contestants.") });
    expect((await records()).map(({ turns, vote }) => [turns.length + 1, vote?.winner, vote?.judge])).toEqual([
      [1, "right", "gpt-4"],
      [2, "left", "gpt-4"],
      [1, "tie", "gpt-4"],
      [2, undefined, undefined],
    ]);
    expect(result.out).toContain("4 new, 0 known");
    // What ab made of them counts as the file itself does.
    const rated = await run("rate", join(folder, "out", "battles.jsonl"), "--json");
    expect(JSON.parse(rated.out)).toMatchObject({
      battles: 3,
      standings: [
        { wins: 1, losses: 1, ties: 1 },
        { wins: 1, losses: 1, ties: 1 },
      ],
    });
  });

  it("takes scores of single answers", async () => {
    const scored = (id: number, turn: number, model: string, score: number) => ({
      ...{ question_id: id, model, judge: ["gpt-4", "single-v1"], judgment: `[[${score}]]`, score, turn },
    });
    const verdicts = await file("gpt-4_single.jsonl", [
      ...[scored(81, 1, "recorded", 9), scored(81, 2, "recorded", 2), scored(81, 1, "another", 10)],
      ...[scored(81, 1, "talker", 4), scored(81, 2, "talker", 2)],
    ]);
    expect(await run(...(await words()), "--verdicts", verdicts)).toMatchObject({ code: 0 });
    expect((await records()).map(({ vote }) => vote?.winner)).toEqual(["right", "tie", undefined, undefined]);
    expect((await records())[0]?.vote?.details).toEqual({ places: [], scores: [4, 9] });
  });
});

describe("an arena's import", () => {
  const imported = (...lines: readonly object[]) => [
    ...recordsFrom(itemsOf(`\uFEFF${lines.map((line) => JSON.stringify(line)).join("\n")}`, "invalid_json")),
  ];

  it("makes battles of FastChat's verdicts, a battle a turn, the same each time", () => {
    const line = {
      ...{ question_id: 81, model_1: "a", model_2: "b", g1_winner: "model_2", g2_winner: "model_2" },
      ...{ judge: ["gpt-4", "pair-v2"], turn: 2, tstamp: 1_700_000_000 },
    };
    const [first, again] = [imported(line), imported(line)];
    expect(first).toMatchObject([
      {
        source: "import",
        createdAt: new Date(1_700_000_000_000),
        left: { contestant: "a", text: null },
        right: { contestant: "b", text: null },
        vote: { winner: "right", judge: "gpt-4", details: { places: ["right", "left"], turn: 2 } },
      },
    ]);
    expect(again).toEqual(first);
    // What is no time is not known, and no reason to refuse a verdict.
    expect(imported({ ...line, tstamp: "yesterday" })).toHaveLength(1);
    // Two people may say the same of the same two.
    const vote = { model_a: "a", model_b: "b", winner: "model_a" };
    expect(new Set(imported(vote, vote).map(({ id }) => id)).size).toBe(2);
  });

  it("keeps the texts of AlpacaEval's annotations, and people's conversations up to their turn", () => {
    const annotation = {
      ...{ instruction: "Do.", output_1: "One.", output_2: "Two.", generator_1: "a", generator_2: "b" },
      ...{ annotator: "gpt4", preference: 2, dataset: "koala" },
    };
    const talk = (who: string) =>
      ["Hi", `${who} 1`, "More", `${who} 2`].map((content, at) => ({ role: at % 2 ? "assistant" : "user", content }));
    const human = (turn: number) => ({
      ...{ question_id: 81, model_a: "a", model_b: "b", winner: "model_b", judge: "expert_1", turn },
      ...{ conversation_a: talk("A"), conversation_b: talk("B") },
    });
    expect(imported(annotation, human(1), human(2))).toMatchObject([
      {
        category: "koala",
        messages: [{ role: "user", content: "Do." }],
        left: { contestant: "a", kind: "recorded", text: "One." },
        right: { text: "Two." },
        vote: { winner: "right", judge: "gpt4", details: { places: [] } },
      },
      { left: { text: "A 1" }, right: { text: "B 1" }, turns: [], vote: { judge: "expert_1" } },
      { left: { text: "A 1" }, turns: [{ prompt: "More", left: { text: "A 2" }, right: { text: "B 2" } }] },
    ]);
  });

  it.each([
    [{ question_id: 81, turns: ["a", "b"] }, "Line 1 is a question, which is no battle yet"],
    [{ question_id: 81, model_id: "m", choices: [{ turns: ["a"] }] }, "Line 1 is an answer, which is no battle yet"],
    [{ instruction: "Do.", output: "Done.", generator: "m" }, "Line 1 is an answer, which is no battle yet"],
    [{ id: 1, winner: "left" }, "Line 1 does not name its contestants"],
  ])("refuses %j", (line, sentence) => {
    expect(() => imported(line)).toThrow(sentence);
  });
});
