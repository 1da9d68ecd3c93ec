import { parentPort, workerData } from "node:worker_threads";
import { ToastError } from "../../errors.js";
import { EngineWorker, type EngineWorkerOptions } from "./engine-worker.js";
import type { EngineCommand, EngineEvent } from "./messages.js";

/** Entry of the worker thread: connects an EngineWorker with the port. */
if (parentPort === null) throw new Error("worker.js runs in a worker thread; EngineClient starts it");
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
  const worker = await EngineWorker.load(workerData as EngineWorkerOptions, send);
  port.on("message", (command: EngineCommand) => {
    if (command.kind === "shutdown") {
      void worker.close().finally(() => port.close());
    } else {
      worker.handle(command);
    }
  });
  send({ kind: "ready", model: worker.model });
} catch (cause) {
  send({ kind: "failed", error: ToastError.from(cause).toData() });
  // Behind the message, which is sent at the end of this turn.
  queueMicrotask(() => port.close());
}
