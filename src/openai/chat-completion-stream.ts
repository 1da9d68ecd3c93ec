import type { GenerationEvent } from "../engine/engine.js";
import type { Usage } from "../engine/messages.js";
import { ToastError } from "../errors.js";
import { type AnswerHead, chunkBuilder } from "./chat-completion.js";
import { toHttpError } from "./error-envelope.js";
import { dataFrame, doneFrame } from "./server-sent-events.js";

/**
 * The frames of a streamed answer: for each choice opening, text and finish, theirs between those of the others; then usage when asked
 * for, `[DONE]`. A failure half-way becomes an
 * error frame, since the status is long sent; `[DONE]` follows it too.
 * Pulls one event per text frame, so a reader that stops pulling stops it.
 * @param onError hears of each failure, for the log.
 */
export async function* chatCompletionFrames(
  head: AnswerHead,
  events: AsyncIterable<GenerationEvent>,
  options: { readonly choices: number; readonly includeUsage: boolean; readonly onError: (error: unknown) => void },
): AsyncGenerator<string, void, undefined> {
  const chunks = chunkBuilder(head, options.includeUsage);
  for (let choice = 0; choice < options.choices; choice++) yield dataFrame(chunks.opening(choice));
  const usages: Usage[] = [];
  try {
    for await (const event of events) {
      if (event.kind === "delta") {
        // Held-back text (half a character, a possible stop string) makes empty deltas; a client has no use for them.
        if (event.text !== "") {
          yield dataFrame(chunks.text(event.choice, event.text));
        }
        continue;
      }
      if (event.kind === "prompt") continue;
      if (event.reason === "cancelled") {
        throw cancelledByServer();
      }
      yield dataFrame(chunks.finish(event.choice, event.reason));
      usages.push(event.usage);
    }
    if (usages.length < options.choices) throw endedEarly();
    if (options.includeUsage) yield dataFrame(chunks.usage(usages));
    yield doneFrame;
  } catch (error) {
    options.onError(error);
    yield dataFrame(toHttpError(error).envelope);
    yield doneFrame;
  }
}

/** The engine promises a `finished` at the end of every generation. */
export function endedEarly(): ToastError {
  return new ToastError("engine_failed", "The engine stopped in the middle of this answer.");
}

/** Cancelled while the client still listens: only a server on its way down does that. */
export function cancelledByServer(): ToastError {
  return new ToastError(
    "server_draining",
    "The server is shutting down and ended this answer. Send the request again.",
  );
}
