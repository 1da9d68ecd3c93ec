import { readFile } from "node:fs/promises";
import { Command } from "commander";
import { z } from "zod";
import { loadModel, releaseModel } from "../engine/load-model.js";
import { ToastError } from "../errors.js";
import { jsonOf } from "../remote-response.js";
import { localFolder } from "./hub-models.js";
import { measureFolder } from "./perplexity/measure-folder.js";
import { measureServer } from "./perplexity/measure-server.js";
import type { Perplexity } from "./perplexity/perplexity.js";
import { positiveInteger } from "./positive-integer.js";
import { type ProgressLine, progressLine } from "./progress-line.js";
import { apiKeyOf, baseUrlOf, ServerClient } from "./server-client.js";
import { stopSignalOfProcess } from "./stop-signal.js";
import type { Terminal } from "./terminal.js";

interface PerplexityFlags {
  readonly text: string;
  readonly url?: string;
  readonly modelId?: string;
  readonly apiKey?: string;
  readonly block: number;
  readonly maxTokens: number;
  readonly threads?: number;
  readonly json?: true;
}

export function perplexityCommand(terminal: Terminal): Command {
  return new Command("perplexity")
    .description("measure how well a model predicts a text, plain and steered by each adapter")
    .argument("[folder]", "a converted model folder, or org/name of a hub")
    .option("--url <address>", "a server to ask instead: this one, or another with /tokenize and echo, as vLLM")
    .option("--model-id <id>", "with --url: the model to ask for, such as mine:alpaca")
    .option("--api-key <key>", "the server's key (OPENAI_API_KEY)")
    .requiredOption("--text <file>", "plain text, or .jsonl with a field 'text' on each line")
    .option(
      "--block <tokens>",
      "context of each prediction at most; a block begins anew with BOS",
      positiveInteger,
      512,
    )
    .option("--max-tokens <number>", "stop after this many tokens", positiveInteger, 50_000)
    .option("--threads <number>", "threads of one forward (default: the engine's choice)", positiveInteger)
    .option("--json", "print the result as JSON")
    .addHelpText("after", examples)
    .action((folder: string | undefined, flags: PerplexityFlags) => run(folder, flags, terminal));
}

const examples = `
Lower is better; text that the model was trained on says nothing.

Examples:
  $ toast-serve perplexity ./my-model --text held-out.txt
  $ toast-serve convert ./base --out /tmp/fp32 --quantize none && toast-serve perplexity /tmp/fp32 --text held-out.txt
      what int8 costs: compare the two
  $ toast-serve perplexity --url http://127.0.0.1:8000 --model-id mine:alpaca --text held-out.txt
      the same through a running server, by echo and logprobs: what its clients get`;

async function run(folder: string | undefined, flags: PerplexityFlags, terminal: Terminal): Promise<void> {
  if ((folder === undefined) === (flags.url === undefined)) {
    throw new ToastError("invalid_option", "Give a model folder, or a server with --url and --model-id.");
  }
  const local = folder === undefined ? undefined : await localFolder(folder, terminal);
  const progress = progressLine(terminal, "Measuring");
  try {
    const texts = documentsOf(
      (await readFile(flags.text, "utf8").catch(unreadable(flags.text))).replace(/^\uFEFF/, ""),
      flags.text,
    );
    const results =
      local === undefined
        ? [await askServer(flags, texts, terminal, progress)]
        : await loadAndMeasure(local, flags, texts, progress);
    progress.end();
    for (const line of flags.json === true ? [JSON.stringify(results, null, 2)] : tableOf(results)) terminal.out(line);
  } finally {
    progress.end();
  }
}

async function loadAndMeasure(
  folder: string,
  flags: PerplexityFlags,
  texts: readonly string[],
  progress: ProgressLine,
): Promise<readonly Perplexity[]> {
  const model = await loadModel(folder, flags, (stage) => progress.update(stage, 0));
  try {
    return await measureFolder(model, texts, flags, (fraction) => progress.update("scoring", fraction));
  } finally {
    await releaseModel(model);
  }
}

function askServer(
  flags: PerplexityFlags,
  texts: readonly string[],
  terminal: Terminal,
  progress: ProgressLine,
): Promise<Perplexity> {
  const { url = "", modelId, apiKey } = flags;
  if (modelId === undefined) {
    const message = "--url needs --model-id: the model to ask for, as GET /v1/models names it.";
    throw new ToastError("invalid_option", message);
  }
  const client = new ServerClient(baseUrlOf(url), apiKeyOf(apiKey, terminal.environment));
  return measureServer(client, modelId, texts, flags, stopSignalOfProcess(), (fraction) =>
    progress.update("asking", fraction),
  );
}

function documentsOf(content: string, file: string): readonly string[] {
  if (!file.endsWith(".jsonl")) return [content];
  return content
    .split("\n")
    .filter((line) => line.trim() !== "")
    .map((line, index) => {
      const parsed = z.object({ text: z.string() }).safeParse(jsonOf(line));
      if (parsed.success) return parsed.data.text;
      throw new ToastError("invalid_option", `Line ${index + 1} of ${file} is no JSON object with a string 'text'.`);
    });
}

function tableOf(results: readonly Perplexity[]): readonly string[] {
  const width = Math.max(...results.map(({ model }) => model.length));
  return results.map(({ model, quantization, tokens, perplexity, bitsPerByte }) => {
    const words = [model.padEnd(width), quantization, `perplexity ${perplexity.toFixed(3)}`];
    return [...words, `${bitsPerByte.toFixed(4)} bits per byte`, `(${tokens} tokens)`]
      .filter((word) => word !== null)
      .join("  ");
  });
}

function unreadable(file: string): (cause: Error) => never {
  return (cause) => {
    throw new ToastError("file_missing", `${file} cannot be read: ${cause.message}`, { cause });
  };
}
