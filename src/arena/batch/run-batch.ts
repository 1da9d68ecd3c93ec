import { createHash } from "node:crypto";
import { z } from "zod";
import { ToastError } from "../../errors.js";
import { type BattleRecord, type BattleSide, recordFromWire, toWire } from "../battle-record.js";
import { type Contestant, completeAnswer, type Question } from "../contestants/contestant.js";
import { winners } from "../ratings/match.js";
import { Journal } from "./journal.js";
import { type JudgedPair, judgePair } from "./judge.js";
import type { BatchPrompt } from "./prompt-set.js";
import type { RecordedAnswers } from "./recorded-answers.js";
import type { Verdict } from "./verdicts.js";

export type BatchContestant =
  | {
      readonly kind: "live";
      readonly contestant: Contestant /** All that decides its answers beside the question. */;
      readonly identity: string;
    }
  | { readonly kind: "recorded"; readonly answers: RecordedAnswers };

export interface BatchPlan {
  readonly left: BatchContestant;
  readonly right: BatchContestant;
  readonly prompts: readonly BatchPrompt[];
  readonly parameters: { readonly temperature: number; readonly topP: number; readonly maxTokens: number };
  /** Each prompt's own seed is made of it and the prompt's id. */
  readonly seed: number;
  readonly judge: { readonly contestant: Contestant; readonly identity: string } | null;
  /** By prompt id, from elsewhere; null: none. */
  readonly verdicts: ReadonlyMap<string, Verdict> | null;
  readonly concurrency: number;
}

export interface BatchResult {
  /** In the order of the prompts. */
  readonly records: readonly BattleRecord[];
  /** Judged pairs whose verdict could not be read: they have no vote. */
  readonly unreadable: number;
}

/** What is done already is read back from the journal, by content: another seed, prompt or model is another key. */
const entrySchema = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("answer"), key: z.string(), side: z.unknown() }),
  z.object({
    kind: z.literal("judgment"),
    key: z.string(),
    judged: z.object({
      winner: z.enum(winners).nullable(),
      judgments: z.tuple([judgmentSchema(), judgmentSchema()]),
    }),
  }),
]);

function judgmentSchema() {
  return z.object({
    order: z.enum(["leftFirst", "rightFirst"]),
    place: z.enum(winners).nullable(),
    text: z.string(),
  });
}

/**
 * Asks both contestants every prompt, and the judge about every pair. What is done is written to the journal at once,
 * synced, so a run that was interrupted goes on where it was.
 * @param onProgress after each piece of work, with the share that is done.
 * @throws ToastError; the reason of `signal` when that is aborted.
 */
export async function runBatch(
  plan: BatchPlan,
  journalPath: string,
  onProgress: (stage: string, fraction: number) => void,
  signal: AbortSignal,
): Promise<BatchResult> {
  const answers = new Map<string, BattleSide>();
  const judged = new Map<string, JudgedPair>();
  const journal = await Journal.open(journalPath, (value) => {
    const entry = entrySchema.safeParse(value);
    if (!entry.success)
      throw new ToastError("invalid_option", `${journalPath} is no journal of 'ab'; choose another --out.`);
    if (entry.data.kind === "judgment") judged.set(entry.data.key, entry.data.judged);
    else answers.set(entry.data.key, sideFromWire(entry.data.side));
  });
  let done = 0;
  const total = plan.prompts.length * (plan.judge === null ? 1 : 2);
  const stage = plan.judge === null ? "answers" : "answers and verdicts";
  const step = () => onProgress(stage, ++done / total);

  const answer = async (contestant: BatchContestant, prompt: BatchPrompt, seed: number): Promise<BattleSide> => {
    if (contestant.kind === "recorded") return contestant.answers.answer(prompt);
    const question: Question = { messages: prompt.messages, ...plan.parameters, seed };
    const key = hashOf(contestant.identity, question);
    const known = answers.get(key);
    // The name is today's: it may have changed since.
    if (known !== undefined)
      return { ...known, contestant: contestant.contestant.id, label: contestant.contestant.label };
    const side = await completeAnswer(contestant.contestant, question, signal);
    answers.set(key, side);
    await journal.append({ kind: "answer", key, side: toWire(side) });
    return side;
  };

  const battle = async (prompt: BatchPrompt): Promise<{ record: BattleRecord; unreadable: boolean }> => {
    const seed = seedOf(plan.seed, prompt.id);
    const [left, right] = await Promise.all([answer(plan.left, prompt, seed), answer(plan.right, prompt, seed)]);
    step();
    const record = recordOf(plan, prompt, seed, left, right);
    const verdict = plan.verdicts?.get(prompt.id);
    if (verdict !== undefined) {
      return {
        record: voted(record, verdict.judge, { winner: verdict.winner, details: verdict.details }),
        unreadable: false,
      };
    }
    if (plan.judge === null) return { record, unreadable: false };
    const { contestant, identity } = plan.judge;
    const key = hashOf("judge", identity, prompt.messages, left.text, right.text);
    let pair = judged.get(key);
    if (pair === undefined) {
      pair = await judgePair(contestant, prompt, left, right, seed, signal);
      judged.set(key, pair);
      await journal.append({ kind: "judgment", key, judged: pair });
    }
    step();
    const { winner, judgments } = pair;
    if (winner === null) return { record, unreadable: true };
    const details = { places: judgments.map(({ place }) => place), judgments };
    return { record: voted(record, contestant.id, { winner, details }), unreadable: false };
  };

  try {
    const results = await inParallel(plan.prompts, plan.concurrency, battle, signal);
    return {
      records: results.map(({ record }) => record),
      unreadable: results.filter(({ unreadable }) => unreadable).length,
    };
  } finally {
    await journal.close();
  }
}

/** The same battle has the same id each time, so that its import is known the second time. */
function recordOf(
  { parameters, judge, verdicts, left: leftOne, right: rightOne }: BatchPlan,
  prompt: BatchPrompt,
  seed: number,
  left: BattleSide,
  right: BattleSide,
): BattleRecord {
  const generated = [leftOne, rightOne].some(({ kind }) => kind === "live");
  const judgedBy = judge?.identity ?? (verdicts === null ? null : "verdicts");
  const content = [prompt.messages, left.contestant, left.text, right.contestant, right.text, judgedBy];
  return {
    id: `ab_${hashOf(...content).slice(0, 32)}`,
    source: "batch",
    createdAt: new Date(),
    category: prompt.category,
    messages: prompt.messages.map(({ role, content: words }) => ({ role, content: words })),
    parameters: generated ? parameters : { temperature: null, topP: null, maxTokens: null },
    seed: generated ? seed : null,
    left,
    right,
    turns: [],
    vote: null,
  };
}

function voted(
  record: BattleRecord,
  judge: string,
  { winner, details }: { readonly winner: (typeof winners)[number]; readonly details: unknown },
): BattleRecord {
  return { ...record, vote: { winner, judge, votedAt: new Date(), details } };
}

function sideFromWire(side: unknown): BattleSide {
  const frame = { id: "x", created_at: "2026-01-01T00:00:00Z", messages: [], left: side, right: side };
  return recordFromWire(frame, "A recorded answer").left;
}

/** 32 bits, as samplers take them. */
export function seedOf(base: number, promptId: string): number {
  return createHash("sha256").update(`${base}:${promptId}`).digest().readUInt32LE(0);
}

function hashOf(...parts: readonly unknown[]): string {
  return createHash("sha256").update(JSON.stringify(parts)).digest("hex");
}

/** @returns in the order of the items; the first failure ends all. */
async function inParallel<Item, Result>(
  items: readonly Item[],
  concurrency: number,
  work: (item: Item) => Promise<Result>,
  signal: AbortSignal,
): Promise<readonly Result[]> {
  const results = new Array<Result>(items.length);
  let next = 0;
  let failed = false;
  const worker = async () => {
    while (next < items.length && !failed) {
      signal.throwIfAborted();
      const index = next++;
      try {
        results[index] = await work(items[index] as Item);
      } catch (error) {
        failed = true;
        throw error;
      }
    }
  };
  const outcomes = await Promise.allSettled(Array.from({ length: concurrency }, worker));
  const failure = outcomes.find((outcome) => outcome.status === "rejected");
  if (failure !== undefined) throw failure.reason;
  return results;
}
