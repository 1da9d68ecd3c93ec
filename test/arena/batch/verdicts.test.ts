import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { readRatedItems, readVerdicts } from "../../../src/arena/batch/verdicts.js";

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

  it("are found by their questions, of the first turn", async () => {
    const verdicts = await readVerdicts(file("pairs.jsonl", lines.join("\n")));
    expect([...verdicts].map(([id, { winner, judge }]) => [id, winner, judge])).toEqual([
      ["1", "left", "gpt-4"],
      ["2", "right", "gpt-4"],
      ["3", "tie", "gpt-4"],
      ["4", "tie", "gpt-4"],
      ["5", "tie", "gpt-4"],
    ]);
  });
});

it("AlpacaEval's annotations prefer the first output, the second, or neither", async () => {
  const of = (preference: number | null) => ({
    instruction: "x",
    output_1: "a",
    generator_1: "base",
    output_2: "b",
    generator_2: "mine",
    annotator: "a",
    preference,
  });
  const items = await readRatedItems(file("annotations.json", JSON.stringify([1, 2, 1.5, 1.2, 1.9, null].map(of))));
  expect(items.map(({ match }) => match.winner)).toEqual(["left", "right", "tie", "left", "right"]);
});
