import { createHash } from "node:crypto";
import { z } from "zod";
import { ToastError } from "../../errors.js";
import {
  type Battle,
  type BattleRecord,
  type BattleSide,
  conversationOf,
  recordFromWire,
  type SideName,
  toWire,
} from "../battle-record.js";
import type { Pair } from "../battles/two-answers.js";
import { type Contestant, completeAnswer, type Question } from "../contestants/contestant.js";
import { type Winner, winners } from "../ratings/match.js";
import { Journal } from "./journal.js";
import { type Answered, type JudgedPair, judgePair } from "./judge.js";
import type { Verdict } from "./outside-verdicts.js";
import type { BatchPrompt } from "./prompt-set.js";
import type { RecordedAnswers } from "./recorded-answers.js";
import { verdictKey } from "./verdicts.js";

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
  /** By {@link verdictKey}, from elsewhere; null: none. */
  readonly verdicts: ReadonlyMap<string, Verdict> | null;
  readonly concurrency: number;
}

export interface BatchResult {
  /** In the order of the prompts and their turns. */
  readonly battles: readonly BatchBattle[];
  /** Judged pairs whose verdict could not be read: they have no vote. */
  readonly unreadable: number;
}

/** A prompt's turn: both sides' conversations up to it, and the vote on them. */
export interface BatchBattle {
  readonly promptId: string;
  readonly record: BattleRecord;
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
 * Asks both contestants every prompt, turn by turn, each with its own answers before it, and the judge about every
 * pair. Each turn makes a battle of its own, as MT-bench counts them. What is done is written to the journal at once,
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
  const battlesInAll = plan.prompts.reduce((sum, { turns }) => sum + 1 + turns.length, 0);
  const total = battlesInAll * (plan.judge === null ? 1 : 2);
  const stage = plan.judge === null ? "answers" : "answers and verdicts";
  const step = () => onProgress(stage, ++done / total);

  const ask = async (contestant: BatchContestant, prompt: BatchPrompt, messages: Messages, turn: number) => {
    if (contestant.kind === "recorded") return contestant.answers.answer(prompt, turn);
    const question: Question = { messages, ...plan.parameters, seed: seedOf(plan.seed, prompt.id) };
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

  const askBoth = async (prompt: BatchPrompt, messages: Pair<Messages>, turn: number): Promise<Pair<BattleSide>> => {
    const [left, right] = await Promise.all([
      ask(plan.left, prompt, messages.left, turn),
      ask(plan.right, prompt, messages.right, turn),
    ]);
    step();
    return { left, right };
  };

  const judge = async (promptId: string, said: Said): Promise<BatchBattle & { readonly unreadable: boolean }> => {
    const turn = said.turns.length + 1;
    const record: BattleRecord = { ...said, id: idOf(said, plan), vote: null };
    const verdict = plan.verdicts?.get(verdictKey(promptId, turn));
    if (verdict !== undefined) return { promptId, record: voted(record, verdict), unreadable: false };
    if (plan.judge === null) return { promptId, record, unreadable: false };
    const { contestant, identity } = plan.judge;
    const pair = { left: answeredBy(said, "left"), right: answeredBy(said, "right") };
    const asked = turn === 1 ? said.messages : [pair.left.messages, pair.right.messages];
    const key = hashOf("judge", identity, asked, pair.left.answer, pair.right.answer);
    let judgment = judged.get(key);
    if (judgment === undefined) {
      judgment = await judgePair(contestant, pair, seedOf(plan.seed, promptId), signal);
      judged.set(key, judgment);
      await journal.append({ kind: "judgment", key, judged: judgment });
    }
    step();
    const { winner, judgments } = judgment;
    if (winner === null) return { promptId, record, unreadable: true };
    const details = { places: judgments.map(({ place }) => place), judgments };
    return { promptId, record: voted(record, { winner, judge: contestant.id, details }), unreadable: false };
  };

  const battlesOf = async (prompt: BatchPrompt) => {
    const first = await askBoth(prompt, { left: prompt.messages, right: prompt.messages }, 1);
    let said = saidOf(plan, prompt, first);
    const results = [await judge(prompt.id, said)];
    for (const [at, words] of prompt.turns.entries()) {
      const next = { role: "user", content: words } as const;
      const messages = {
        left: [...conversationOf(said, "left"), next],
        right: [...conversationOf(said, "right"), next],
      };
      const answers = await askBoth(prompt, messages, at + 2);
      said = { ...said, turns: [...said.turns, { createdAt: new Date(), prompt: words, ...answers }] };
      results.push(await judge(prompt.id, said));
    }
    return results;
  };

  try {
    const results = (await inParallel(plan.prompts, plan.concurrency, battlesOf, signal)).flat();
    return {
      battles: results.map(({ promptId, record }) => ({ promptId, record })),
      unreadable: results.filter(({ unreadable }) => unreadable).length,
    };
  } finally {
    await journal.close();
  }
}

type Messages = BatchPrompt["messages"];

/** What a judge is shown of one side: its last answer, and the conversation before it. */
function answeredBy(said: Said, side: SideName): Answered {
  const conversation = conversationOf(said, side);
  return { messages: conversation.slice(0, -1), answer: conversation.at(-1)?.content ?? "" };
}

/** What both sides have said to a prompt so far; where it is judged it becomes a battle. */
type Said = Omit<Battle, "id">;

function saidOf({ parameters, seed, left, right }: BatchPlan, prompt: BatchPrompt, first: Pair<BattleSide>): Said {
  const generated = [left, right].some(({ kind }) => kind === "live");
  return {
    source: "batch",
    createdAt: new Date(),
    category: prompt.category,
    messages: prompt.messages.map(({ role, content: words }) => ({ role, content: words })),
    parameters: generated ? parameters : { temperature: null, topP: null, maxTokens: null },
    seed: generated ? seedOf(seed, prompt.id) : null,
    ...first,
    turns: [],
  };
}

/** The same battle has the same id each time, so that its import is known the second time. */
function idOf({ messages, left, right, turns }: Said, { judge, verdicts }: BatchPlan): string {
  const judgedBy = judge?.identity ?? (verdicts === null ? null : "verdicts");
  const further = turns.map((turn) => [turn.prompt, turn.left.text, turn.right.text]);
  const content = [messages, left.contestant, left.text, right.contestant, right.text, judgedBy, ...further];
  return `ab_${hashOf(...content).slice(0, 32)}`;
}

function voted(
  record: BattleRecord,
  { winner, judge, details }: { readonly winner: Winner; readonly judge: string; readonly details: unknown },
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
