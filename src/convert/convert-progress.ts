export interface ConvertProgress {
  /** What is being done, for people. */
  readonly stage: string;
  /** Bytes. */
  readonly done: number;
  readonly total: number;
}

/** Opens a stage of `total` bytes; the function it returns is told how many more are done. */
export type ReportTo = (stage: string, total: number) => (bytes: number) => void;

/** @param options.signal ends the work at the next report, with its reason. */
export function reporter(options: {
  readonly onProgress?: ((progress: ConvertProgress) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}): ReportTo {
  const { onProgress, signal } = options;
  return (stage, total) => {
    let done = 0;
    const report = (bytes: number): void => {
      signal?.throwIfAborted();
      done += bytes;
      onProgress?.({ stage, done, total });
    };
    report(0);
    return report;
  };
}
