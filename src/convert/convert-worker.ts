import { parentPort, workerData } from "node:worker_threads";
import { ToastError } from "../errors.js";
import { convertAdapter } from "./convert-adapter.js";
import type { ConversionJob, ConversionOutcome } from "./convert-in-thread.js";

/** Entry of the converter's thread: one adapter, then its end. */
if (parentPort === null) throw new Error("convert-worker.js runs in a worker thread; convertInThread starts it");
const port = parentPort;
const stop = new AbortController();
// The only message there is: to stop.
port.once("message", () => stop.abort());

let outcome: ConversionOutcome;
try {
  outcome = {
    kind: "converted",
    manifest: await convertAdapter({ ...(workerData as ConversionJob), signal: stop.signal }),
  };
} catch (cause) {
  const error =
    cause instanceof ToastError
      ? cause
      : new ToastError("engine_failed", cause instanceof Error ? cause.message : String(cause), { cause });
  outcome = { kind: "failed", error: error.toData() };
}
port.postMessage(outcome);
port.close();
