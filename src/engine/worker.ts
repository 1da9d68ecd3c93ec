import { parentPort, workerData } from "node:worker_threads";
import { ToastError } from "../errors.js";
import type { EngineOptions } from "./engine-client.js";
import { EngineWorker } from "./engine-worker.js";
import type { EngineCommand, EngineEvent } from "./messages.js";

/** Entry of the worker thread: connects an EngineWorker with the port. */
if (parentPort === null) throw new Error("worker.js runs in a worker thread; createEngine starts it");
const port = parentPort;

/** What one turn of the loop says travels as one message: waking the other thread costs more than the words. */
let outbox: EngineEvent[] = [];
const send = (event: EngineEvent): void => {
  if (outbox.push(event) > 1) return;
  queueMicrotask(() => {
    port.postMessage(outbox);
    outbox = [];
  });
};

try {
  const worker = await EngineWorker.load(workerData as EngineOptions, send);
  port.on("message", (command: EngineCommand) => {
    if (command.kind === "shutdown") {
      void worker.close().finally(() => port.close());
    } else {
      worker.handle(command);
    }
  });
  send({ kind: "ready", model: worker.model });
} catch (cause) {
  const error =
    cause instanceof ToastError
      ? cause
      : new ToastError("engine_failed", cause instanceof Error ? cause.message : String(cause), { cause });
  send({ kind: "failed", error: error.toData() });
  // Behind the message, which is sent at the end of this turn.
  queueMicrotask(() => port.close());
}
