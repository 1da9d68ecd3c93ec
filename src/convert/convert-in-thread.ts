import { Worker } from "node:worker_threads";
import { type ErrorData, ToastError } from "../errors.js";
import type { AdapterManifest } from "../model/manifest.js";
import type { ConvertAdapterOptions } from "./convert-adapter.js";

export type ConversionJob = Pick<ConvertAdapterOptions, "model" | "file" | "name" | "out">;

export type ConversionOutcome =
  | { readonly kind: "converted"; readonly manifest: AdapterManifest }
  | { readonly kind: "failed"; readonly error: ErrorData };

/**
 * `convertAdapter` in a thread of its own: folding holds its thread for whole matrix products, and the caller has
 * requests to answer.
 * @param options.workerUrl the compiled entry; tests that run from source name the built one.
 * @param options.signal asks it to stop; it does before the next weight.
 * @throws ToastError as `convertAdapter`, and `engine_failed` when the thread dies or was stopped.
 */
export async function convertInThread(
  job: ConversionJob,
  options: { readonly workerUrl?: URL | undefined; readonly signal?: AbortSignal | undefined } = {},
): Promise<AdapterManifest> {
  const worker = new Worker(options.workerUrl ?? new URL("./convert-worker.js", import.meta.url), { workerData: job });
  const stop = () => worker.postMessage("stop");
  options.signal?.addEventListener("abort", stop, { once: true });
  try {
    const outcome = await new Promise<ConversionOutcome>((resolve, reject) => {
      let received: ConversionOutcome | null = null;
      worker.once("message", (message: ConversionOutcome) => {
        received = message;
      });
      worker.once("error", (cause) => reject(stopped(cause.message)));
      // Not before it has ended: onnxruntime takes the process with it when a thread is cut off.
      worker.once("exit", () => (received === null ? reject(stopped("it ended without a word")) : resolve(received)));
    });
    if (outcome.kind === "failed") throw ToastError.fromData(outcome.error);
    return outcome.manifest;
  } finally {
    options.signal?.removeEventListener("abort", stop);
  }
}

function stopped(reason: string): ToastError {
  return new ToastError("engine_failed", `The conversion of the adapter stopped: ${reason}.`);
}
