import { z } from "zod";
import { ToastError } from "../../errors.js";
import { storableText } from "../battle-record.js";
import type { Pair } from "../battles/two-answers.js";
import type { ArenaMessage } from "../contestants/contestant.js";
import type { Winner } from "../ratings/match.js";
import type { Item } from "./json-lines.js";
import type { Judgment } from "./judge.js";

/** What somebody else said of two answers. */
export interface Verdict {
  readonly winner: Winner;
  readonly judge: string;
  /** As a record's vote has them: `places`, `scores`, `text` and `judgments`, as far as there are any. */
  readonly details: VerdictDetails | null;
}

export interface VerdictDetails {
  /** Of the places that the judge saw; none where it saw one answer at a time, or where nobody knows. */
  readonly places?: readonly Winner[];
  readonly scores?: readonly [left: number, right: number] | null;
  readonly text?: string | null;
  readonly judgments?: readonly Judgment[];
}

/** A verdict of a file, with what the file says of what it is on. */
export interface OutsideVerdict extends Verdict {
  /** How to speak of it. */
  readonly where: string;
  /** The lines that it was made of. */
  readonly lines: readonly unknown[];
  readonly left: string | null;
  readonly right: string | null;
  readonly promptId: string | null;
  /** The prompt itself, in files that have no ids. */
  readonly words: string | null;
  /** How many turns it is on; null: the file does not say. */
  readonly turn: number | null;
  readonly category: string | null;
  /** What either side has said up to that turn, where the file has it. */
  readonly conversations: Pair<readonly ArenaMessage[]> | null;
  readonly saidAt: Date | null;
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

/** Scores that are no further apart are a tie: FastChat's `TIE_DELTA`. */
const tieDelta = 0.1;

const name = z.union([z.string(), z.number()]).transform(String);
const text = z.string().transform(storableText);
const scorePair = z.tuple([z.number(), z.number()]);
/** FastChat's judges are `[model, prompt]`. */
const judgeName = z.union([z.string(), z.tuple([z.string()], z.unknown())]).transform(nameOfJudge);
const turnNumber = z.number().int().min(1);
/** Since 1970, as far as JavaScript's dates go; what is none is not known. */
const seconds = z
  .number()
  .min(0)
  .max(8.64e12)
  .transform((value) => new Date(1000 * value))
  .nullish()
  .catch(null);
const conversation = z
  .array(z.object({ role: z.enum(["system", "user", "assistant"]), content: text }))
  .nullish()
  .catch(null);

/** FastChat's `model_judgment/*_pair.jsonl`: one judge asked twice, the sides swapped; `error`: it gave no verdict. */
const pairSchema = z.looseObject({
  question_id: name.optional(),
  model_1: z.string(),
  model_2: z.string(),
  g1_winner: z.string(),
  g2_winner: z.string(),
  g1_judgment: text.optional(),
  g2_judgment: text.optional(),
  judge: judgeName.nullish(),
  turn: turnNumber.nullish(),
  tstamp: seconds,
});

/** FastChat's `model_judgment/*_single.jsonl`: a score of one answer; -1: there is none. */
const singleSchema = z.looseObject({
  question_id: name,
  model: z.string(),
  score: z.number(),
  judge: judgeName.nullish(),
  turn: turnNumber.default(1),
  tstamp: seconds,
});
type Single = z.output<typeof singleSchema> & { readonly where: string; readonly line: unknown };

/**
 * AlpacaEval's annotations.json: 1 prefers the first output, 2 the second, numbers between them weigh both; 0 and 1.5
 * are draws; null: it gave no verdict. Its judge is shown the two in an order that the file does not tell.
 */
const annotationSchema = z.looseObject({
  instruction: text,
  generator_1: z.string(),
  generator_2: z.string(),
  output_1: text.optional(),
  output_2: text.optional(),
  annotator: z.string().optional(),
  dataset: z.string().nullish(),
  preference: z.number().nullable(),
});

const plainSchema = z.looseObject({
  winner: z.string().optional(),
  scores: scorePair.optional(),
  /** Of the Vicuna reviews. */
  score: scorePair.optional(),
  id: name.optional(),
  question_id: name.optional(),
  prompt_id: name.optional(),
  turn: turnNumber.nullish(),
  judge: judgeName.nullish(),
  reviewer_id: name.optional(),
  text: text.optional(),
  left: z.string().optional(),
  right: z.string().optional(),
  /** Of Chatbot Arena, and of people's verdicts on MT-bench. */
  model_a: z.string().optional(),
  model_b: z.string().optional(),
  conversation_a: conversation,
  conversation_b: conversation,
  model_1: z.string().optional(),
  model_2: z.string().optional(),
  category: z.string().nullish(),
  tstamp: seconds,
});

/** Whether a line says who is better, in whichever words; a record of a battle does not, but in its vote. */
export function isOutsideVerdict(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  return ["winner", "scores", "score", "g1_winner", "preference"].some((key) => Object.hasOwn(value, key));
}

/**
 * The verdicts of a file, ours, FastChat's (pairs and single scores) and AlpacaEval's; those that were not given are
 * left out. Scores of single answers are compared, each with each of the same question, turn and judge, as their
 * authors do (Zheng et al., arXiv 2306.05685); they come last.
 * @throws ToastError `code`, naming the item at fault.
 */
export function* outsideVerdicts(
  items: Iterable<Item>,
  code: "invalid_option" | "invalid_request",
): Generator<OutsideVerdict, void, undefined> {
  const singles = new Map<string, Single[]>();
  for (const { value, where } of items) {
    const single = singleSchema.safeParse(value);
    if (single.success) {
      const { question_id, turn, judge } = single.data;
      const key = JSON.stringify([question_id, turn, judge]);
      singles.set(key, [...(singles.get(key) ?? []), { ...single.data, where, line: value }]);
      continue;
    }
    const verdict = pairVerdict(value, where) ?? annotation(value, where) ?? plainVerdict(value, where);
    if (verdict === undefined) {
      const message = `${where} is no verdict: it needs 'winner' (left, right, tie or bothBad) or 'scores' ([left, right]); FastChat's pairs and scores and AlpacaEval's annotations are read, too.`;
      throw new ToastError(code, message);
    }
    if (verdict !== "none") yield verdict;
  }
  for (const scored of singles.values()) yield* comparisons(scored.filter(({ score }) => score !== -1));
}

type Read = OutsideVerdict | "none" | undefined;

function pairVerdict(value: unknown, where: string): Read {
  const parsed = pairSchema.safeParse(value);
  if (!parsed.success) return undefined;
  const { question_id, model_1, model_2, turn, judge, tstamp, ...games } = parsed.data;
  const words = [games.g1_winner, games.g2_winner];
  if (words.includes("error")) return "none";
  const [first, second] = words.map((word) => spellings.get(word));
  if (first === undefined || second === undefined) return undefined;
  // In the second game the other answer stood first.
  const places: readonly [Winner, Winner] = [first, turned(second)];
  const judgments = [games.g1_judgment, games.g2_judgment].flatMap((said, at): Judgment[] =>
    said === undefined ? [] : [{ order: at === 0 ? "leftFirst" : "rightFirst", place: places[at] ?? null, text: said }],
  );
  return {
    ...{ ...unsaid, where, lines: [value], left: model_1, right: model_2, promptId: question_id ?? null },
    turn: turn ?? 1,
    judge: judge ?? unsaid.judge,
    saidAt: tstamp ?? null,
    // Who is preferred in one order only is preferred for the place.
    winner: first === second ? first : "tie",
    details: { places, ...(judgments.length === 0 ? {} : { judgments }) },
  };
}

function annotation(value: unknown, where: string): Read {
  const parsed = annotationSchema.safeParse(value);
  if (!parsed.success) return undefined;
  const { instruction, generator_1, generator_2, output_1, output_2, annotator, dataset, preference } = parsed.data;
  if (preference === null) return "none";
  const winner = preference === 0 || preference === 1.5 ? "tie" : preference < 1.5 ? "left" : "right";
  const said = (output: string): readonly ArenaMessage[] => [
    { role: "user", content: instruction },
    { role: "assistant", content: output },
  ];
  return {
    ...{ ...unsaid, where, lines: [value], left: generator_1, right: generator_2, words: instruction, turn: 1, winner },
    judge: annotator ?? unsaid.judge,
    category: dataset ?? null,
    conversations:
      output_1 === undefined || output_2 === undefined ? null : { left: said(output_1), right: said(output_2) },
    details: { places: [] },
  };
}

function plainVerdict(value: unknown, where: string): Read {
  const parsed = plainSchema.safeParse(value);
  if (!parsed.success) return undefined;
  const item = parsed.data;
  const scores = item.scores ?? item.score ?? null;
  const word = item.winner?.trim().toLowerCase();
  if (word === "error") return "none";
  const winner = word === undefined ? scores && byScores(...scores, 0) : spellings.get(word);
  if (winner === undefined || winner === null) return undefined;
  const turn = item.turn ?? null;
  const { conversation_a: a, conversation_b: b } = item;
  const upToTurn = (said: readonly ArenaMessage[]) =>
    said.slice(0, turn === null ? said.length : endOfTurn(said, turn));
  return {
    ...{ ...unsaid, where, lines: [value], winner, turn },
    left: item.left ?? item.model_a ?? item.model_1 ?? null,
    right: item.right ?? item.model_b ?? item.model_2 ?? null,
    promptId: item.prompt_id ?? item.question_id ?? item.id ?? null,
    judge: item.judge ?? item.reviewer_id ?? unsaid.judge,
    category: item.category ?? null,
    conversations: !a || !b ? null : { left: upToTurn(a), right: upToTurn(b) },
    saidAt: item.tstamp ?? null,
    details: scores === null && item.text === undefined ? null : { scores, text: item.text ?? null },
  };
}

/** What a file does not say. */
const unsaid = {
  left: null,
  right: null,
  promptId: null,
  words: null,
  turn: null,
  category: null,
  conversations: null,
  saidAt: null,
  judge: "verdicts",
} as const;

/** @param scored answers to the same question by different models. */
function* comparisons(scored: readonly Single[]): Generator<OutsideVerdict, void, undefined> {
  for (const [at, one] of scored.entries()) {
    for (const other of scored.slice(at + 1)) {
      if (one.model === other.model) continue;
      yield {
        ...{ ...unsaid, where: other.where, lines: [one.line, other.line], left: one.model, right: other.model },
        promptId: one.question_id,
        turn: one.turn,
        judge: one.judge ?? unsaid.judge,
        saidAt: other.tstamp ?? null,
        winner: byScores(one.score, other.score, tieDelta),
        // It was asked about one answer at a time.
        details: { places: [], scores: [one.score, other.score] },
      };
    }
  }
}

function byScores(left: number, right: number, tie: number): Winner {
  if (Math.abs(left - right) <= tie) return "tie";
  return left > right ? "left" : "right";
}

/** @returns how many messages there are up to the answer of that turn. */
function endOfTurn(said: readonly ArenaMessage[], turn: number): number {
  const answers = [...said.keys()].filter((at) => said[at]?.role === "assistant");
  return (answers[turn - 1] ?? said.length) + 1;
}

function turned(winner: Winner): Winner {
  return winner === "left" ? "right" : winner === "right" ? "left" : winner;
}

/** The same verdict with the sides exchanged; the places are those that the judge saw, and stay. */
export function turnedVerdict({ winner, judge, details }: Verdict): Verdict {
  const { scores, judgments } = details ?? {};
  return {
    winner: turned(winner),
    judge,
    details: {
      ...details,
      places: details?.places ?? [winner],
      ...(scores ? { scores: [scores[1], scores[0]] } : {}),
      ...(judgments === undefined ? {} : { judgments: judgments.map(turnedJudgment) }),
    },
  };
}

function turnedJudgment(judgment: Judgment): Judgment {
  return { ...judgment, order: judgment.order === "leftFirst" ? "rightFirst" : "leftFirst" };
}

/** What is wrong with a verdict that is to be rated and does not say on whom it is. */
export function nameless(where: string, code: "invalid_option" | "invalid_request"): ToastError {
  const message = `${where} does not name its contestants: it needs 'left' and 'right' (or 'model_a' and 'model_b').`;
  return new ToastError(code, message);
}

/** Characters of all that a side has said, where that is known. */
export function charactersSaid(said: readonly ArenaMessage[] | undefined): number | null {
  if (said === undefined) return null;
  return said.reduce((sum, { role, content }) => sum + (role === "assistant" ? content.length : 0), 0);
}

function nameOfJudge(judge: string | readonly [string, ...unknown[]]): string {
  return typeof judge === "string" ? judge : judge[0];
}
