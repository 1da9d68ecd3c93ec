import { keepAliveFrame } from "../../openai/server-sent-events.js";
import { within } from "../within.js";

const encoder = new TextEncoder();

/** `ndjson`: lines of JSON, as Ollama's clients read them. These know no comments: a stream that waits says nothing. */
export type StreamKind = "events" | "ndjson";

const kinds = {
  events: { contentType: "text/event-stream; charset=utf-8", keepAlive: encoder.encode(keepAliveFrame) },
  ndjson: { contentType: "application/x-ndjson", keepAlive: null },
} as const;

/**
 * Streams frames. Each frame is pulled only when the socket has room, so a slow reader holds up
 * its own stream and no memory; a keep-alive comment goes out
 * whenever no frame came for a while, where there is such a thing.
 * @param options.onClose runs once, when the last frame is out or the reader has gone.
 */
export function eventStreamResponse(
  frames: AsyncIterator<string>,
  options: {
    readonly keepAliveMs: number;
    readonly onClose: (how: "complete" | "abandoned") => void;
    readonly status?: 200 | 201;
    /** Default: events. */
    readonly kind?: StreamKind | undefined;
  },
): Response {
  const { contentType, keepAlive } = kinds[options.kind ?? "events"];
  let pending: Promise<IteratorResult<string>> | null = null;
  const body = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        pending ??= frames.next();
        const next = keepAlive === null ? await pending : await within(pending, options.keepAliveMs);
        if (next === "late") {
          controller.enqueue(keepAlive ?? new Uint8Array());
          return;
        }
        pending = null;
        if (next.done === true) {
          controller.close();
          options.onClose("complete");
        } else {
          controller.enqueue(encoder.encode(next.value));
        }
      },
      cancel() {
        options.onClose("abandoned");
      },
    },
    // No frame is made ahead of a reader that wants it.
    { highWaterMark: 0 },
  );
  return new Response(body, {
    status: options.status ?? 200,
    headers: {
      "content-type": contentType,
      "cache-control": "no-cache",
      // nginx buffers answers otherwise, and the tokens arrive all at once.
      "x-accel-buffering": "no",
    },
  });
}
