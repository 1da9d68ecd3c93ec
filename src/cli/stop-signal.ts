/** The first SIGINT or SIGTERM asks; node's own handling of the second ends the process at once. */
export function stopSignalOfProcess(): AbortSignal {
  const controller = new AbortController();
  const ask = () => {
    process.off("SIGINT", ask);
    process.off("SIGTERM", ask);
    controller.abort();
  };
  process.on("SIGINT", ask);
  process.on("SIGTERM", ask);
  return controller.signal;
}

/** It was told to stop, and something is left of its work. */
export class StoppedEarly extends Error {
  override readonly name = "AbortError";
}
