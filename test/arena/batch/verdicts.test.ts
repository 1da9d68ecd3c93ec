import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { turnedVerdict } from "../../../src/arena/batch/outside-verdicts.js";
import { readRatedItems, readVerdicts, verdictKey, verdictsOn } from "../../../src/arena/batch/verdicts.js";
import { leaderboardOf } from "../../../src/arena/ratings/leaderboard.js";

function file(name: string, text: string): string {
  const folder = mkdtempSync(join(tmpdir(), "toast-verdicts-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  writeFileSync(join(folder, name), text);
  return join(folder, name);
}

const pair = (id: number, first: string, second: string, turn = 1) =>
  JSON.stringify({
    question_id: id,
    model_1: "base",
    model_2: "mine",
    g1_winner: first,
    g2_winner: second,
    judge: ["gpt-4", "pair-v2"],
    turn,
  });

describe("a verdict", () => {
  it("in a word that only JavaScript's objects have is none", async () => {
    const vote = JSON.stringify({ prompt: "x", left: "a", right: "b", winner: "constructor" });
    await expect(readVerdicts(file("votes.jsonl", vote))).rejects.toThrow("is no verdict");
  });
});

describe("verdicts of FastChat's judge", () => {
  const lines = [
    pair(1, "model_1", "model_1"),
    pair(2, "model_2", "model_2"),
    pair(3, "model_1", "model_2"),
    pair(4, "tie", "tie"),
    pair(5, "model_2", "tie"),
    pair(6, "error", "model_1"),
    pair(1, "model_2", "model_2", 2),
  ];

  it("count for who was preferred on both sides", async () => {
    const items = await readRatedItems(file("pairs.jsonl", `\uFEFF${lines.join("\r\n")}`));
    expect(items.map(({ match: { left, right, winner } }) => [left, right, winner])).toEqual([
      ["base", "mine", "left"],
      ["base", "mine", "right"],
      ["base", "mine", "tie"],
      ["base", "mine", "tie"],
      ["base", "mine", "tie"],
      ["base", "mine", "right"],
    ]);
  });

  it("are found by their questions and turns, whichever of the two stands first", async () => {
    const said = await readVerdicts(file("pairs.jsonl", lines.join("\n")));
    const prompts = [1, 2, 3, 4, 5].map((id) => ({
      id: String(id),
      messages: [{ role: "user" as const, content: `Question ${id}?` }],
      turns: ["And then?"],
      category: null,
    }));
    const all = [...prompts.map(({ id }) => [id, 1] as const), ["1", 2] as const];
    const winners = (left: string, right: string) => {
      const { verdicts, remarks } = verdictsOn(said, prompts, { left, right });
      expect(remarks).toEqual([]);
      return all.map(([id, turn]) => verdicts.get(verdictKey(id, turn))?.winner);
    };
    expect(winners("base", "mine")).toEqual(["left", "right", "tie", "tie", "tie", "right"]);
    expect(winners("mine", "base")).toEqual(["right", "left", "tie", "tie", "tie", "left"]);
    expect(() => winners("mine", "third")).toThrow(
      "None of the 6 verdicts is on 'mine' and 'third': they are on 'base', 'mine'.",
    );
    const firstTurns = prompts.map((prompt) => ({ ...prompt, turns: [] }));
    expect(verdictsOn(said, firstTurns, { left: "base", right: "mine" }).remarks).toEqual([
      "1 of 6 verdicts are on turns that are not asked.",
    ]);
  });

  it("tell the places that each game's winner stood in, and what the judge said", async () => {
    const games = { g1_judgment: "The first. [[A]]", g2_judgment: "The first. [[A]]" };
    const line = JSON.stringify({ ...JSON.parse(pair(3, "model_1", "model_2")), ...games });
    const [verdict] = await readVerdicts(file("pairs.jsonl", line));
    expect(verdict).toMatchObject({
      winner: "tie",
      details: {
        places: ["left", "left"],
        judgments: [
          { order: "leftFirst", place: "left", text: games.g1_judgment },
          { order: "rightFirst", place: "left", text: games.g2_judgment },
        ],
      },
    });
    const turned = verdict === undefined ? null : turnedVerdict(verdict);
    expect(turned?.details?.places).toEqual(["left", "left"]);
    expect(turned?.details?.judgments?.map(({ order }) => order)).toEqual(["rightFirst", "leftFirst"]);
  });

  it("need a turn where a prompt has several", async () => {
    const prompt = { id: "1", messages: [{ role: "user" as const, content: "Why?" }], turns: ["So?"], category: null };
    const said = await readVerdicts(file("own.jsonl", JSON.stringify({ id: 1, winner: "left" })));
    expect(() => verdictsOn(said, [prompt], { left: "a", right: "b" })).toThrow(
      `${said[0]?.where} does not say which turn it is of: the prompt '1' has 2`,
    );
  });
});

describe("scores of single answers", () => {
  const scored = (id: number, model: string, score: number, turn: number) =>
    JSON.stringify({ question_id: id, model, judge: ["gpt-4", "single-v1"], judgment: "…", score, turn, tstamp: 2.5 });
  const lines = [
    ...[scored(1, "a", 8, 1), scored(1, "b", 7, 1), scored(1, "c", 8.05, 1)],
    ...[scored(1, "a", 3, 2), scored(1, "b", 9, 2), scored(1, "c", -1, 2)],
  ];

  it("are compared, each turn by itself; less than 0.1 apart is a tie, and -1 is none", async () => {
    const items = await readRatedItems(file("single.jsonl", `\uFEFF${lines.join("\n")}`));
    expect(
      items.map(({ match: { left, right, winner, places }, turn }) => [left, right, winner, turn, places]),
    ).toEqual([
      ["a", "b", "left", 1, []],
      ["a", "c", "tie", 1, []],
      ["b", "c", "right", 1, []],
      ["a", "b", "right", 2, []],
    ]);
    // Nobody saw two answers side by side.
    expect(leaderboardOf(items.map(({ match }) => match)).position).toMatchObject({ left: 0, right: 0 });
  });
});

it("AlpacaEval's annotations prefer the first output, the second, or neither", async () => {
  const of = (preference: number | null) => ({
    instruction: "x",
    output_1: "a",
    generator_1: "base",
    output_2: "bbb",
    generator_2: "mine",
    annotator: "a",
    preference,
  });
  // 0 is a draw of older files.
  const path = file("annotations.json", JSON.stringify([1, 2, 1.5, 1.2, 1.9, 0, null].map(of)));
  const items = await readRatedItems(path);
  expect(items.map(({ match }) => match.winner)).toEqual(["left", "right", "tie", "left", "right", "tie"]);
  expect(items[0]?.match).toMatchObject({ leftCharacters: 1, rightCharacters: 3, places: [] });
  const prompt = { id: "7", messages: [{ role: "user" as const, content: "x" }], turns: [], category: null };
  const [first] = await readVerdicts(path);
  const found = verdictsOn(first === undefined ? [] : [first], [prompt], { left: "mine", right: "base" });
  expect(found.verdicts.get(verdictKey("7", 1))).toMatchObject({ winner: "right", judge: "a" });
});
