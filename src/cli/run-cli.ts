import { Command, CommanderError } from "commander";
import { ToastError } from "../errors.js";
import { packageVersion } from "../package.js";
import { abCommand } from "./ab-command.js";
import { AlreadySaid } from "./already-said.js";
import { benchCommand } from "./bench-command.js";
import { chatCommand } from "./chat-command.js";
import { convertCommand } from "./convert-command.js";
import { keysCommand } from "./keys-command.js";
import { perplexityCommand } from "./perplexity-command.js";
import { pullCommand } from "./pull-command.js";
import { serveCommand } from "./serve-command.js";
import { StoppedEarly } from "./stop-signal.js";
import { processTerminal, type Terminal } from "./terminal.js";
import { vectorCommand } from "./vector-command.js";

/** 0: done. 1: it failed. 2: it was asked for in words that make no sense. 130: it was told to stop half-way. */
export type ExitCode = 0 | 1 | 2 | 130;

/**
 * Runs one command to its end.
 * @param words the command line, without node and script.
 * @param stop ends `serve`, `chat`, `pull`, `convert` and `bench`; default: SIGINT and SIGTERM.
 */
export async function runCli(
  words: readonly string[],
  terminal: Terminal = processTerminal(),
  stop?: AbortSignal,
): Promise<ExitCode> {
  const program = new Command("toast-serve")
    .description("Serves steered language models through an OpenAI-compatible endpoint.")
    .version(packageVersion())
    .addHelpText("after", examples)
    .addCommand(serveCommand(terminal, stop), { isDefault: true })
    .addCommand(chatCommand(terminal, stop))
    .addCommand(vectorCommand(terminal, stop))
    .addCommand(pullCommand(terminal, stop))
    .addCommand(convertCommand(terminal, stop))
    .addCommand(benchCommand(terminal, stop))
    .addCommand(perplexityCommand(terminal))
    .addCommand(abCommand(terminal, stop))
    .addCommand(keysCommand(terminal));
  for (const command of [program, ...program.commands, ...program.commands.flatMap(({ commands }) => commands)]) {
    command.exitOverride().configureOutput({
      writeOut: (text) => terminal.out(text.trimEnd()),
      writeErr: (text) => terminal.err(text.trimEnd()),
    });
  }
  try {
    await program.parseAsync(words, { from: "user" });
    return 0;
  } catch (error) {
    if (error instanceof AlreadySaid) return report(error.cause, { ...terminal, err: () => {} });
    return report(error, terminal);
  }
}

function report(error: unknown, terminal: Pick<Terminal, "err">): ExitCode {
  if (error instanceof CommanderError) {
    // Commander has said its piece already; asking for help is no mistake.
    return error.exitCode === 0 ? 0 : 2;
  }
  if (error instanceof ToastError) {
    terminal.err(error.message);
    return error.code === "invalid_option" ? 2 : 1;
  }
  if (error instanceof Error && error.name === "AbortError") {
    terminal.err(error instanceof StoppedEarly ? error.message : "Stopped before the end; nothing is left behind.");
    return 130;
  }
  terminal.err(error instanceof Error ? (error.stack ?? error.message) : String(error));
  return 1;
}

const examples = `
Examples:
  $ toast-serve
      serves the models that come with this package on http://127.0.0.1:8000
  $ toast-serve serve --model ./my-model --port 9000
      serves one model folder; --model again for more
  $ toast-serve pull HuggingFaceTB/SmolLM2-360M-Instruct
      downloads a model from Hugging Face and converts it; 'serve --model' takes the name too
  $ toast-serve chat ./my-model
      talks to it in the terminal
  $ toast-serve vector make --name pirate --positive 'a pirate' --negative 'an ordinary person'
      makes a control vector: steering with a dial, in seconds
  $ toast-serve convert ./tiny-llama --out ./my-model --adapter toast.safetensors --name alpaca
      makes a model folder of Hugging Face weights and a steering adapter
  $ toast-serve bench ./my-model
      measures speed, plain and steered; also of random weights or of another server
  $ toast-serve keys create alice --file keys.json
      makes an API key; 'serve --keys-file keys.json' then needs one
  $ toast-serve perplexity ./my-model --text held-out.txt
      measures how well it predicts a text
  $ toast-serve ab --left mine --right mine:alpaca --prompts question.jsonl
      compares two of them on a set of prompts

toast-serve <command> --help says more of each.`;
