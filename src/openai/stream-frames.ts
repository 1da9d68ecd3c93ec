import type { Usage } from "../engine/engine.js";
import { toHttpError } from "./error-envelope.js";
import { dataFrame, doneFrame } from "./server-sent-events.js";
import { endedEarly, finishReasonOf, type StreamEvent, UsageSum } from "./stream-events.js";

/** How one wire format tells a streamed answer, part by part, each part as frames ready to send. */
export interface StreamFrames {
  /** Before any event. */
  opening(): readonly string[];
  /** What an event says; nothing where a client has no use for it. */
  event(event: StreamEvent): readonly string[];
  /** Behind the last event. */
  end(usage: Usage): readonly string[];
  /** In place of the rest, when the answer breaks off: the status is long sent. */
  failure(error: unknown): readonly string[];
}

/**
 * The frames of a streamed answer. A failure half-way becomes frames too, and ends it.
 * Pulls one event at a time, so a reader that stops pulling stops it.
 * @param options.choices of all prompts together.
 * @param options.onError hears of each failure, for the log.
 */
export async function* framesOf(
  frames: StreamFrames,
  events: AsyncIterable<StreamEvent>,
  options: { readonly choices: number; readonly onError: (error: unknown) => void },
): AsyncGenerator<string, void, undefined> {
  yield* frames.opening();
  const usage = new UsageSum();
  let finished = 0;
  try {
    for await (const event of events) {
      if (event.kind === "finished") {
        finishReasonOf(event.reason);
        usage.add(event.prompt, event.usage);
        finished++;
      }
      yield* frames.event(event);
    }
    if (finished < options.choices) throw endedEarly();
    yield* frames.end(usage.total);
  } catch (error) {
    options.onError(error);
    yield* frames.failure(error);
  }
}

/** Chunks of one streamed answer: the parts in which chat completions and completions differ. */
export interface StreamChunks {
  opening(): readonly object[];
  event(event: StreamEvent): readonly object[];
  usage(usage: Usage): object;
}

/** Chunks as `data:` lines; `[DONE]` is the last, after an error too. */
export function chunkFrames(chunks: StreamChunks, includeUsage: boolean): StreamFrames {
  return {
    opening: () => chunks.opening().map(dataFrame),
    event: (event) => chunks.event(event).map(dataFrame),
    end: (usage) => [...(includeUsage ? [dataFrame(chunks.usage(usage))] : []), doneFrame],
    failure: (error) => [dataFrame(toHttpError(error).envelope), doneFrame],
  };
}
