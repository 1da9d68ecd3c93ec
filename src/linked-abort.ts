import { setMaxListeners } from "node:events";

/** A controller that aborts when one of some signals does, for that signal's reason, or by itself. */
export interface LinkedAbort {
  readonly controller: AbortController;
  /** To be called when nothing can be aborted any more: the signals may live much longer. */
  unlink(): void;
}

/**
 * Not AbortSignal.any: on Node 20 its results are never collected once they have had a listener, even where none of the
 * signals that they follow lives. 200,000 results of two signals, each with one listener: 240 MB more heap after two
 * forced collections (Node 20.20.2); with the listener removed from each, 22 MB.
 */
export function linkedAbort(...signals: readonly AbortSignal[]): LinkedAbort {
  const controller = new AbortController();
  // Each part of what it ends listens, and a request may have many: eleven are no leak.
  setMaxListeners(0, controller.signal);
  const unlink = (): void => {
    for (const signal of signals) signal.removeEventListener("abort", abort);
  };
  function abort(this: AbortSignal): void {
    unlink();
    controller.abort(this.reason);
  }
  for (const signal of signals) signal.addEventListener("abort", abort);
  const over = signals.find(({ aborted }) => aborted);
  if (over !== undefined) abort.call(over);
  return { controller, unlink };
}
