import type { Arena } from "../arena/arena.js";
import { toWire } from "../arena/battle-record.js";
import { newBattleId } from "../arena/battles/ballot.js";
import { openAnswers, type Pace, type Pair, pacedAnswers } from "../arena/battles/two-answers.js";
import type { Contestant } from "../arena/contestants/contestant.js";
import { ToastError } from "../errors.js";
import { type ErrorEnvelope, toHttpError } from "../openai/error-envelope.js";
import type { BattleRequest, CompareRequest } from "./arena-requests.js";

/** The frames of a stream, as objects; see docs/arena.md. */
export type Frames = AsyncGenerator<object, void, undefined>;

/** Both answers as they come, names known. @param onError hears of what is the server's own failure. */
export async function* comparisonFrames(
  contestants: Pair<Contestant>,
  { question }: CompareRequest,
  signal: AbortSignal,
  onError: (error: unknown) => void,
): Frames {
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
): Frames {
  const id = newBattleId();
  const createdAt = new Date();
  yield { kind: "battle", id };
  try {
    const answers = yield* pacedAnswers(contestants, question, pace, signal);
    if (answers.left.text === "" && answers.right.text === "") {
      throw new ToastError(
        "contestant_failed",
        "Both answers are empty: there is nothing to judge. Try another prompt.",
      );
    }
    const ballot = await arena.keep(id, { question, category, answers }, createdAt);
    yield { kind: "complete", id, ballot };
  } catch (error) {
    if (signal.aborted) throw error;
    onError(error);
    yield { kind: "void", ...blindEnvelope(error) };
  }
}

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
      return { error: envelope.error };
    case "contestant_failed":
      // Our own sentence of two empty answers names nobody; another server's may.
      return error instanceof ToastError && error.message.startsWith("Both answers")
        ? envelope
        : say("One of the two could not answer: this battle does not count. Try again.");
    default:
      return {
        error: {
          ...envelope.error,
          message: "One of the two could not answer: this battle does not count. Try again.",
          param: null,
        },
      };
  }
}
