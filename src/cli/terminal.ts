/** Where a command writes, and what it was started with; tests bring their own. */
export interface Terminal {
  /** Results: what a pipe should carry on. */
  out(line: string): void;
  /** Progress and problems. */
  err(line: string): void;
  /** Whether a person watches the progress. */
  readonly interactive: boolean;
  readonly environment: NodeJS.ProcessEnv;
}

export function processTerminal(): Terminal {
  return {
    out: (line) => process.stdout.write(`${line}\n`),
    err: (line) => process.stderr.write(`${line}\n`),
    interactive: process.stderr.isTTY === true,
    environment: process.env,
  };
}
