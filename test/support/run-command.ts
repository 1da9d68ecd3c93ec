import { runCli } from "../../src/cli/run-cli.js";

/** A command with nobody watching, and what it wrote. */
export async function runCommand(
  words: readonly string[],
  {
    environment = {},
    stop = new AbortController().signal,
  }: { readonly environment?: NodeJS.ProcessEnv; readonly stop?: AbortSignal } = {},
) {
  const outLines: string[] = [];
  const errLines: string[] = [];
  const terminal = {
    out: (line: string) => outLines.push(line),
    err: (line: string) => errLines.push(line),
    interactive: false,
    environment,
  };
  const code = await runCli(words, terminal, stop);
  return { code, out: outLines.join("\n"), err: errLines.join("\n"), outLines };
}
