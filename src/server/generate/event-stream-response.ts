import { keepAliveFrame } from "../../openai/server-sent-events.js";
import { within } from "../within.js";

const encoder = new TextEncoder();
const keepAliveBytes = encoder.encode(keepAliveFrame);

/**
 * Streams frames as `text/event-stream`. Each frame is pulled only when the socket has room, so a slow reader holds up
 * its own stream and no memory; a keep-alive comment goes out whenever no frame came for a while.
 * @param options.onClose runs once, when the last frame is out or the reader has gone.
 */
export function eventStreamResponse(
  frames: AsyncIterator<string>,
  options: {
    readonly keepAliveMs: number;
    readonly onClose: (how: "complete" | "abandoned") => void;
    readonly status?: 200 | 201;
  },
): Response {
  let pending: Promise<IteratorResult<string>> | null = null;
  const body = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        pending ??= frames.next();
        const next = await within(pending, options.keepAliveMs);
        if (next === "late") {
          controller.enqueue(keepAliveBytes);
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
      "content-type": "text/event-stream; charset=utf-8",
      "cache-control": "no-cache",
      // nginx buffers answers otherwise, and the tokens arrive all at once.
      "x-accel-buffering": "no",
    },
  });
}
