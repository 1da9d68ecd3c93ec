import type { Generate } from "../../engine/engine.js";
import { ToastError } from "../../errors.js";
import { linkedAbort } from "../../linked-abort.js";

/**
 * Ends generations that wait too long for their turn, with `server_overloaded`.
 * @param queueTimeoutMs null: no limit.
 */
export function withQueueTimeout(generate: Generate, queueTimeoutMs: number | null): Generate {
  if (queueTimeoutMs === null) return generate;
  return async (request, signal) => {
    // Never unlinked: the signal is that of one request and goes with it.
    const { controller } = linkedAbort(signal);
    const generation = await generate(request, controller.signal);
    const timer = setTimeout(() => controller.abort(waitedTooLong(queueTimeoutMs)), queueTimeoutMs).unref();
    controller.signal.addEventListener("abort", () => clearTimeout(timer), { once: true });
    void generation.started.then(() => clearTimeout(timer));
    return generation;
  };
}

function waitedTooLong(milliseconds: number): ToastError {
  const message = `The request waited for ${milliseconds / 1000} seconds and its turn did not come. Try again in a moment.`;
  return new ToastError("server_overloaded", message);
}
