import { setTimeout as wait } from "node:timers/promises";
import { EventQueue } from "../../event-queue.js";
import { linkedAbort } from "../../linked-abort.js";
import type { BattleSide, SideName } from "../battle-record.js";
import type { AnswerEvent, Contestant, Question } from "../contestants/contestant.js";
import { EqualPace, type PacedFrame } from "./equal-pace.js";

export type Pair<Value> = Readonly<Record<SideName, Value>>;
export const sideNames = ["left", "right"] as const satisfies readonly SideName[];

export type OpenFrame =
  | { readonly kind: "text"; readonly side: SideName; readonly text: string }
  | { readonly kind: "end"; readonly side: SideName; readonly answer: BattleSide }
  | { readonly kind: "error"; readonly side: SideName; readonly error: unknown };

/** Both answers as they come, names known: what one side does is of no concern to the other. Ends with both. */
export async function* openAnswers(
  contestants: Pair<Contestant>,
  question: Question,
  signal: AbortSignal,
): AsyncGenerator<OpenFrame, void, undefined> {
  const { controller: stop, unlink } = linkedAbort(signal);
  const frames = new EventQueue<OpenFrame>();
  const read = async (side: SideName) => {
    try {
      for await (const event of contestants[side].ask(question, stop.signal)) {
        frames.push(event.kind === "text" ? { ...event, side } : { kind: "end", side, answer: event.side });
      }
    } catch (error) {
      frames.push({ kind: "error", side, error });
    }
  };
  const reading = Promise.all(sideNames.map(read)).then(() => frames.close());
  try {
    yield* frames;
  } finally {
    stop.abort();
    unlink();
    await reading;
  }
}

export interface Pace {
  readonly charactersPerSecond: number;
  readonly tickMs: number;
}

/**
 * Both answers released at one pace. A side that fails ends both.
 * @param questions the same to both, behind what each has said before.
 * @returns what the two said, once all of it was handed out.
 * @throws what the failed side threw.
 */
export async function* pacedAnswers(
  contestants: Pair<Contestant>,
  questions: Pair<Question>,
  { charactersPerSecond, tickMs }: Pace,
  signal: AbortSignal,
): AsyncGenerator<PacedFrame, Pair<BattleSide>, undefined> {
  const { controller: stop, unlink } = linkedAbort(signal);
  const pace = new EqualPace(charactersPerSecond);
  const answers: { left: BattleSide | null; right: BattleSide | null } = { left: null, right: null };
  let failure: { readonly error: unknown } | null = null as { readonly error: unknown } | null;
  const read = async (side: SideName) => {
    try {
      for await (const event of contestants[side].ask(questions[side], stop.signal)) take(side, event);
    } catch (error) {
      failure ??= { error };
      stop.abort();
    }
  };
  const take = (side: SideName, event: AnswerEvent) => {
    if (event.kind === "text") {
      pace.add(side, event.text);
    } else {
      answers[side] = event.side;
      pace.complete(side);
    }
  };
  const reading = sideNames.map(read);
  try {
    while (!pace.done) {
      signal.throwIfAborted();
      if (failure !== null) throw failure.error;
      yield* pace.release(performance.now());
      if (!pace.done) await wait(tickMs, undefined, { signal: stop.signal }).catch(() => {});
    }
    const { left, right } = answers;
    if (left === null || right === null) throw new Error("An answer ended without its end.");
    return { left, right };
  } finally {
    stop.abort();
    unlink();
    await Promise.all(reading);
  }
}
