import type { z } from "zod";
import type { Arena, OpenBattle } from "../../arena/arena.js";
import { type BattleSide, toWire } from "../../arena/battle-record.js";
import { newBattleId } from "../../arena/battles/ballot.js";
import { openAnswers, type Pace, type Pair, pacedAnswers } from "../../arena/battles/two-answers.js";
import type { Contestant } from "../../arena/contestants/contestant.js";
import { ToastError } from "../../errors.js";
import { type ErrorEnvelope, toHttpError } from "../../openai/error-envelope.js";
import type { battleFrameSchema, comparisonFrameSchema } from "./arena-answers.js";
import type { BattleRequest, CompareRequest, TurnRequest } from "./arena-requests.js";

/** The frames of a stream, as objects; see docs/arena.md. */
export type Frames<Frame extends object = object> = AsyncGenerator<Frame, void, undefined>;
type ComparisonFrame = z.input<typeof comparisonFrameSchema>;
type BattleFrame = z.input<typeof battleFrameSchema>;

/** Both answers as they come, names known. @param onError hears of what is the server's own failure. */
export async function* comparisonFrames(
  contestants: Pair<Contestant>,
  { question }: CompareRequest,
  signal: AbortSignal,
  onError: (error: unknown) => void,
): Frames<ComparisonFrame> {
  yield {
    kind: "start",
    seed: question.seed,
    sides: { left: nameOf(contestants.left), right: nameOf(contestants.right) },
  };
  for await (const frame of openAnswers(contestants, question, signal)) {
    switch (frame.kind) {
      case "text":
        yield frame;
        break;
      case "end":
        yield { kind: "end", side: frame.side, answer: toWire(frame.answer) };
        break;
      case "error":
        onError(frame.error);
        yield { kind: "error", side: frame.side, ...toHttpError(frame.error).envelope };
    }
  }
  yield { kind: "done" };
}

function nameOf({ id, label }: Contestant) {
  return { contestant: id, label };
}

/** A blind battle: nothing in it tells who answers, errors included; those go to `onError` in full. */
export async function* battleFrames(
  arena: Arena,
  contestants: Pair<Contestant>,
  { question, category }: BattleRequest,
  pace: Pace,
  signal: AbortSignal,
  onError: (error: unknown) => void,
): Frames<BattleFrame> {
  const id = newBattleId();
  const createdAt = new Date();
  yield { kind: "battle", id };
  try {
    const answers = yield* pacedAnswers(contestants, { left: question, right: question }, pace, signal);
    refuseEmpty(answers);
    const ballot = await arena.keep(id, { question, category, answers }, createdAt);
    yield { kind: "complete", id, ballot };
  } catch (error) {
    if (signal.aborted) throw error;
    onError(error);
    yield { kind: "void", ...blindEnvelope(error) };
  }
}

/** A further turn of a battle, as blind as the first: its vote is on the whole. */
export async function* turnFrames(
  arena: Arena,
  open: OpenBattle,
  { ballot, prompt }: TurnRequest,
  pace: Pace,
  signal: AbortSignal,
  onError: (error: unknown) => void,
): Frames<BattleFrame> {
  const createdAt = new Date();
  const { id } = open.record;
  yield { kind: "battle", id };
  try {
    const { contestants, questions } = arena.nextQuestions(open, prompt);
    const answers = yield* pacedAnswers(contestants, questions, pace, signal);
    refuseEmpty(answers);
    await arena.keepTurn(open, { createdAt, prompt, answers });
    yield { kind: "complete", id, ballot };
  } catch (error) {
    if (signal.aborted) throw error;
    onError(error);
    yield { kind: "void", ...blindEnvelope(error) };
  }
}

function refuseEmpty({ left, right }: Pair<BattleSide>): void {
  if (left.text !== "" || right.text !== "") return;
  throw new ToastError("nothing_to_judge", "Both answers are empty: there is nothing to judge. Try another prompt.");
}

const inGeneral = "One of the two could not answer: this battle does not count. Try again.";

/** What went wrong, in words that hold for either side. */
function blindEnvelope(error: unknown): ErrorEnvelope {
  const { envelope } = toHttpError(error);
  const say = (message: string): ErrorEnvelope => ({ error: { ...envelope.error, message } });
  switch (envelope.error.code) {
    case "context_length_exceeded":
      return say(
        "The prompt is too long for one of the two: this battle does not count. Shorten it, or ask for fewer tokens.",
      );
    case "server_overloaded":
      return say("The server is busy: this battle does not count. Try again in a moment.");
    case "server_draining":
    case "store_failed":
    case "already_voted":
    case "battle_changed":
    case "nothing_to_judge":
      return { error: envelope.error };
    case "contestant_failed":
      return say(inGeneral);
    default:
      return { error: { ...envelope.error, message: inGeneral, param: null } };
  }
}
