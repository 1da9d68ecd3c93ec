import { z } from "zod";
import { ToastError } from "../../errors.js";
import { type BattleRecord, charactersOfAll, placesOf, recordFromWire } from "../battle-record.js";
import type { Match, Winner } from "../ratings/match.js";
import { readItems } from "./json-lines.js";

/** What somebody else said of one prompt's pair. */
export interface Verdict {
  readonly winner: Winner;
  readonly judge: string;
  readonly details: unknown;
}

/** Our words, FastChat's, and plain ones. */
const spellings: ReadonlyMap<string, Winner> = new Map([
  ["left", "left"],
  ["right", "right"],
  ["tie", "tie"],
  ["bothbad", "bothBad"],
  ["both_bad", "bothBad"],
  ["tie (bothbad)", "bothBad"],
  ["model_a", "left"],
  ["model_b", "right"],
  ["model_1", "left"],
  ["model_2", "right"],
  ["a", "left"],
  ["b", "right"],
  ["c", "tie"],
  ["draw", "tie"],
]);

const name = z.union([z.string(), z.number()]).transform(String);
const scorePair = z.tuple([z.number(), z.number()]);

/** FastChat's `model_judgment/*_pair.jsonl`: one judge asked twice, the sides swapped; `error`: it gave no verdict. */
const pairSchema = z.looseObject({
  model_1: z.string(),
  model_2: z.string(),
  g1_winner: z.string(),
  g2_winner: z.string(),
  judge: z.union([z.string(), z.array(z.unknown())]).optional(),
  turn: z.number().optional(),
});
/** AlpacaEval's annotations.json: 1 prefers the first output, 2 the second; null: it gave no verdict. */
const annotationSchema = z.looseObject({
  generator_1: z.string(),
  generator_2: z.string(),
  annotator: z.string().optional(),
  preference: z.number().nullable(),
});

/**
 * @returns a verdict of another tool in our words, null for one that was not given; `value` itself where it is none of
 * those.
 */
function inOurWords(value: unknown): unknown {
  const pair = pairSchema.safeParse(value);
  if (pair.success) {
    const { g1_winner: first, g2_winner: second, model_1: left, model_2: right, judge, ...rest } = pair.data;
    if (first === "error" || second === "error") return null;
    // Who is preferred on one side only is preferred for the side.
    const winner = first === second ? first : "tie";
    const name = Array.isArray(judge) ? String(judge[0] ?? "judge") : judge;
    return { ...rest, left, right, winner, ...(name === undefined ? {} : { judge: name }) };
  }
  const annotation = annotationSchema.safeParse(value);
  if (!annotation.success) return value;
  const { generator_1: left, generator_2: right, annotator, preference } = annotation.data;
  if (preference === null) return null;
  const winner = preference < 1.5 ? "left" : preference > 1.5 ? "right" : "tie";
  return { left, right, winner, ...(annotator === undefined ? {} : { judge: annotator }) };
}

function isSecondTurn(value: unknown): boolean {
  const pair = pairSchema.safeParse(value);
  return pair.success && pair.data.turn === 2;
}

const verdictSchema = z
  .looseObject({
    winner: z.string().optional(),
    scores: scorePair.optional(),
    /** Of the Vicuna reviews. */
    score: scorePair.optional(),
    id: name.optional(),
    question_id: name.optional(),
    prompt_id: name.optional(),
    judge: z.string().optional(),
    reviewer_id: name.optional(),
    text: z.string().optional(),
    left: z.string().optional(),
    right: z.string().optional(),
    model_a: z.string().optional(),
    model_b: z.string().optional(),
    category: z.string().nullish(),
  })
  .transform((item, context) => {
    const scores = item.scores ?? item.score ?? null;
    const winner = item.winner === undefined ? byScores(scores) : spellings.get(item.winner.trim().toLowerCase());
    if (winner === undefined || winner === null) {
      context.addIssue({ code: "custom", message: "has no verdict" });
      return z.NEVER;
    }
    return {
      winner,
      promptId: item.prompt_id ?? item.question_id ?? item.id ?? null,
      judge: item.judge ?? item.reviewer_id ?? "verdicts",
      details: scores === null && item.text === undefined ? null : { scores, text: item.text ?? null },
      left: item.left ?? item.model_a ?? null,
      right: item.right ?? item.model_b ?? null,
      category: item.category ?? null,
    };
  });

function byScores(scores: readonly [number, number] | null): Winner | null {
  if (scores === null) return null;
  const [left, right] = scores;
  return left > right ? "left" : right > left ? "right" : "tie";
}

function parseVerdict(value: unknown, where: string) {
  const parsed = verdictSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  const message = `${where} is no verdict: it needs 'winner' (left, right, tie or bothBad) or 'scores' ([left, right]); FastChat's pairs and AlpacaEval's annotations are read, too.`;
  throw new ToastError("invalid_option", message);
}

/**
 * Verdicts on the prompts of a set, by their ids.
 * @throws ToastError `file_missing`, `invalid_option`
 */
export async function readVerdicts(path: string): Promise<ReadonlyMap<string, Verdict>> {
  const verdicts = new Map<string, Verdict>();
  for (const { value: given, where } of await readItems(path)) {
    const value = inOurWords(given);
    // Prompts are asked for one turn.
    if (value === null || isSecondTurn(given)) continue;
    const { promptId, winner, judge, details } = parseVerdict(value, where);
    if (promptId === null)
      throw new ToastError("invalid_option", `${where} does not say which prompt it is of: it needs 'id'.`);
    if (verdicts.has(promptId)) {
      throw new ToastError("invalid_option", `${where} is the second verdict on the prompt '${promptId}'.`);
    }
    verdicts.set(promptId, { winner, judge, details });
  }
  return verdicts;
}

/** A match of any file, with the record where there is one. */
export interface RatedItem {
  readonly match: Match;
  readonly category: string | null;
  readonly record: BattleRecord | null;
}

/**
 * What can be rated of a file: records of the arena or of `ab` (those with a vote), or verdicts that name both
 * contestants (`left` and `right`, or FastChat's `model_a` and `model_b`).
 * @throws ToastError `file_missing`, `invalid_option`, `invalid_request`
 */
export async function readRatedItems(path: string): Promise<readonly RatedItem[]> {
  return (await readItems(path)).flatMap(({ value, where }): readonly RatedItem[] => {
    if (isRecord(value)) {
      const record = recordFromWire(value, where);
      return record.vote === null ? [] : [ratedItem(record, record.vote)];
    }
    const ours = inOurWords(value);
    if (ours === null) return [];
    const { left, right, winner, category } = parseVerdict(ours, where);
    if (left === null || right === null) {
      const message = `${where} does not name its contestants: it needs 'left' and 'right' (or 'model_a' and 'model_b').`;
      throw new ToastError("invalid_option", message);
    }
    return [{ match: { left, right, winner, leftCharacters: null, rightCharacters: null }, category, record: null }];
  });
}

function isRecord(value: unknown): boolean {
  return z.looseObject({ left: z.looseObject({}), right: z.looseObject({}) }).safeParse(value).success;
}

export function ratedItem(record: BattleRecord, vote: NonNullable<BattleRecord["vote"]>): RatedItem {
  return {
    match: {
      left: record.left.contestant,
      right: record.right.contestant,
      winner: vote.winner,
      leftCharacters: charactersOfAll(record, "left"),
      rightCharacters: charactersOfAll(record, "right"),
      places: placesOf(vote),
    },
    category: record.category,
    record,
  };
}
