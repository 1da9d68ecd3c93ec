import { readFile } from "node:fs/promises";
import { isAbsolute } from "node:path";
import { Command, Option } from "commander";
import { type AdapterRequest, convert } from "../convert/convert.js";
import { ToastError } from "../errors.js";
import { parseHubName, pathOrHubName } from "../hub/hub-name.js";
import { readHubSettings } from "../hub/hub-settings.js";
import { type Quantization, quantizations } from "../model/manifest.js";
import { builtinTemplates } from "../text/builtin-templates.js";
import { localSource } from "./hub-models.js";
import { positiveInteger } from "./positive-integer.js";
import { progressLine } from "./progress-line.js";
import { stopSignalOfProcess } from "./stop-signal.js";
import type { Terminal } from "./terminal.js";

interface ConvertFlags {
  readonly out: string;
  readonly quantize: Quantization;
  readonly adapter?: readonly string[];
  readonly name?: readonly string[];
  readonly modelId?: string;
  readonly chatTemplate?: string;
  readonly contextLength?: number;
  readonly licence?: string;
  readonly calibration?: string;
}

/** @param stop ends the conversion, nothing half-written is left; default: SIGINT and SIGTERM. */
export function convertCommand(terminal: Terminal, stop?: AbortSignal): Command {
  return new Command("convert")
    .description("make a model folder of a GGUF file or Hugging Face weights, and of steering adapters")
    .argument(
      "<model>",
      "a .gguf file (any part of a split one, or a folder with one), or a folder with config.json, tokenizer.json and one or many .safetensors files; or org/name of a hub",
    )
    .requiredOption(
      "--out <folder>",
      "the folder to make; if it holds this very backbone, the adapters are added to it",
    )
    .addOption(
      new Option(
        "--quantize <kind>",
        "weights as stored in the folder: none is fp32, int8 a quarter of that, int4 a sixth",
      )
        .choices(quantizations)
        .default("int8"),
    )
    .option("--adapter <file>", "a steering adapter (.safetensors); give it again for more", append)
    .option("--name <name>", "the name of the adapter before it: it is served as <model-id>:<name>", append)
    .option("--model-id <id>", "the served model id (default: the name of <model>)")
    .option(
      "--chat-template <template>",
      `${Object.keys(builtinTemplates).join(", ")} or a Jinja file (default: the one in <model>)`,
    )
    .option("--context-length <tokens>", "serve at most this many positions (default: all)", positiveInteger)
    .option("--licence <text>", "licence of the weights (default: the one that <model> states)")
    .option(
      "--calibration <file>",
      "a text like those to be served, 1,024 tokens of which weights are fitted to (default: prose, talk, lists and code of ours)",
    )
    .addHelpText("after", examples)
    .action((source: string, flags: ConvertFlags) =>
      runConvert(source, flags, terminal, stop ?? stopSignalOfProcess()),
    );
}

const examples = `
Examples:
  $ toast-serve convert ./smollm2-135m --out ./models/smollm2
      int8 weights, the folder's own chat template
  $ toast-serve convert ./SmolLM2-135M-Instruct.Q4_1.gguf --out ./models/smollm2
      the same of a GGUF file; its weights are read at its own precision, whatever that is
  $ toast-serve convert ./base --out ./models/base --adapter toast.safetensors --name alpaca --chat-template alpaca
      serves 'base' and, steered, 'base:alpaca'
  $ toast-serve convert ./base --out ./models/base --adapter poems.safetensors --name poet
      adds a second adapter to the folder above
  $ toast-serve convert HuggingFaceTB/SmolLM2-360M --out ./models/base --adapter toast.safetensors --name mine
      a model of Hugging Face, downloaded if it is not yet (see toast-serve pull --help)`;

async function runConvert(source: string, flags: ConvertFlags, terminal: Terminal, signal: AbortSignal): Promise<void> {
  const adapters = pairAdapters(flags.adapter ?? [], flags.name ?? []);
  const chatTemplate = flags.chatTemplate === undefined ? undefined : await templateSource(flags.chatTemplate);
  const calibrationText = flags.calibration === undefined ? undefined : await calibrationFile(flags.calibration);
  const { path, name } = await sourceOf(source, terminal, signal);
  const progress = progressLine(terminal, "Converting");
  try {
    const result = await convert({
      source: path,
      out: flags.out,
      quantize: flags.quantize,
      modelId: flags.modelId ?? name,
      adapters,
      chatTemplate,
      calibrationText,
      licence: flags.licence,
      contextLength: flags.contextLength,
      signal,
      onProgress: ({ stage, done, total }) => progress.update(stage, total === 0 ? 0 : done / total),
    });
    progress.end();
    for (const warning of result.warnings) terminal.err(`Note: ${warning}`);
    const { id } = result.manifest;
    terminal.out(`${result.kind === "created" ? "Made" : "Added to"} ${result.out}`);
    for (const served of [id, ...result.adapters.map(({ name }) => `${id}:${name}`)]) {
      terminal.out(`  ${served}`);
    }
    terminal.out(`Serve it: toast-serve serve --model ${flags.out}`);
  } finally {
    progress.end();
  }
}

/** A folder of this disk, or of the hub's cache, whose name says nothing of the model. */
async function sourceOf(
  word: string,
  terminal: Terminal,
  signal: AbortSignal,
): Promise<{ path: string; name?: string }> {
  const hubName = isAbsolute(pathOrHubName(word)) ? null : parseHubName(word);
  if (hubName === null) return { path: word };
  const { source } = await localSource(hubName, await readHubSettings(terminal.environment), terminal, signal);
  return { path: source, name: hubName.name };
}

/** @throws ToastError `invalid_option` when files and names do not pair up. */
function pairAdapters(files: readonly string[], names: readonly string[]): readonly AdapterRequest[] {
  return files.map((file, at) => {
    const name = names[at];
    if (name === undefined || names.length !== files.length) {
      const message = `Each --adapter needs a --name, in the same order; got ${files.length} and ${names.length}.`;
      throw new ToastError("invalid_option", message, { param: "--name" });
    }
    return { file, name };
  });
}

async function templateSource(nameOrFile: string): Promise<string> {
  if (Object.hasOwn(builtinTemplates, nameOrFile)) {
    return builtinTemplates[nameOrFile as keyof typeof builtinTemplates];
  }
  try {
    return await readFile(nameOrFile, "utf8");
  } catch (cause) {
    const known = Object.keys(builtinTemplates).join(", ");
    const message = `--chat-template must be ${known} or a file that can be read; got '${nameOrFile}'.`;
    throw new ToastError("invalid_option", message, { param: "--chat-template", cause });
  }
}

async function calibrationFile(file: string): Promise<string> {
  try {
    return (await readFile(file, "utf8")).replace(/^\uFEFF/, "");
  } catch (cause) {
    const message = `--calibration must be a text file that can be read; got '${file}'.`;
    throw new ToastError("invalid_option", message, { param: "--calibration", cause });
  }
}

function append(value: string, before: readonly string[] | undefined): readonly string[] {
  return [...(before ?? []), value];
}
