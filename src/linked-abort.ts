/** A controller that aborts when a signal does, for the signal's reason, or by itself. */
export interface LinkedAbort {
  readonly controller: AbortController;
  /** To be called when nothing can be aborted any more: the signal may live much longer. */
  unlink(): void;
}

/**
 * Not AbortSignal.any: on Node 20 its results are never collected once they have had a listener, even where none of the
 * signals that they follow lives. 200,000 results of two signals, each with one listener: 240 MB more heap after two
 * forced collections (Node 20.20.2); with the listener removed from each, 22 MB.
 */
export function linkedAbort(signal: AbortSignal): LinkedAbort {
  const controller = new AbortController();
  const abort = (): void => controller.abort(signal.reason);
  signal.addEventListener("abort", abort, { once: true });
  if (signal.aborted) abort();
  return { controller, unlink: () => signal.removeEventListener("abort", abort) };
}
