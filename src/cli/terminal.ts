/** Where a command writes, and what it was started with; tests bring their own. */
export interface Terminal {
  /** Results: what a pipe should carry on. */
  out(line: string): void;
  /** Progress and problems. */
  err(line: string): void;
  /** Whether a person watches the progress. */
  readonly interactive: boolean;
  readonly environment: NodeJS.ProcessEnv;
  /** Results that are no whole lines. */
  write?(text: string): void;
  /** Where a person, or a pipe, types; absent: nobody does. */
  readonly screen?: Screen;
}

export interface Screen {
  readonly input: NodeJS.ReadableStream;
  readonly output: NodeJS.WritableStream;
  /** Whether both ends are a person's. */
  readonly isPerson: boolean;
}

export function processTerminal(): Terminal {
  return {
    out: (line) => process.stdout.write(`${line}\n`),
    err: (line) => process.stderr.write(`${line}\n`),
    interactive: process.stderr.isTTY === true,
    environment: process.env,
    write: (text) => process.stdout.write(text),
    screen: {
      input: process.stdin,
      output: process.stdout,
      isPerson: process.stdin.isTTY === true && process.stdout.isTTY === true,
    },
  };
}
