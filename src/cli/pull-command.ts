import { Command, Option } from "commander";
import { ToastError } from "../errors.js";
import type { PulledModel } from "../hub/cached-model.js";
import { formatHubName, type HubName, parseHubName } from "../hub/hub-name.js";
import { readHubSettings } from "../hub/hub-settings.js";
import { formatBytes } from "../hub/transfer.js";
import { type Quantization, quantizations } from "../model/manifest.js";
import { convertPulled, defaultQuantization, pull } from "./hub-models.js";
import { stopSignalOfProcess } from "./stop-signal.js";
import type { Terminal } from "./terminal.js";

interface PullFlags {
  readonly quantize: Quantization;
  readonly modelId?: string;
  readonly downloadOnly?: true;
}

/** @param stop ends it; what was downloaded stays for the next run. Default: SIGINT and SIGTERM. */
export function pullCommand(terminal: Terminal, stop?: AbortSignal): Command {
  return new Command("pull")
    .description("download a model from Hugging Face, and convert it, so that it can be served by its name")
    .argument("<model>", "org/name, or org/name@revision: a branch, a tag or a commit")
    .argument("[file]", "of a repository with GGUF files: which one, by its name or its quantization (Q4_K_M)")
    .addOption(
      new Option("--quantize <kind>", "weights as they are served: none is fp32, int8 a quarter of that, int4 a sixth")
        .choices(quantizations)
        .default(defaultQuantization),
    )
    .option("--model-id <id>", "the served model id (default: the name, without org)")
    .option("--download-only", "do not convert it")
    .addHelpText("after", help)
    .action((word: string, file: string | undefined, flags: PullFlags) =>
      run(word, file, flags, terminal, stop ?? stopSignalOfProcess()),
    );
}

const help = `
It downloads what serving needs and nothing else: config.json, tokenizer, chat template, model card, and the weights as
safetensors or as one GGUF file. Never pickles (.bin, .pt), which run code when they are read. Files lie where Python's
huggingface_hub keeps them, so what either has downloaded the other finds. A download that was interrupted goes on where it
stopped; every file is checked against its hash.

Environment, as huggingface_hub has it:
  HF_TOKEN             a token, for private and gated models (else the one that 'hf auth login' has left)
  HF_HOME              ~/.cache/huggingface: the cache is its hub/, converted models its toast-serve/
  HF_HUB_CACHE         the cache alone, elsewhere
  TOAST_CACHE          the converted models alone, elsewhere
  HF_ENDPOINT          a mirror, or a hub of your own (default: https://huggingface.co)
  HF_HUB_OFFLINE=1     asks the hub nothing: what is there is used
  HTTPS_PROXY, NO_PROXY

Examples:
  $ toast-serve pull HuggingFaceTB/SmolLM2-360M-Instruct
  $ toast-serve serve --model HuggingFaceTB/SmolLM2-360M-Instruct
      serves it; without the first line this one downloads it. Only 'pull' looks whether there is something newer.
  $ toast-serve pull bartowski/SmolLM2-360M-Instruct-GGUF Q8_0
      one of a repository's GGUF files; without a name it lists them with their sizes
  $ toast-serve pull my-org/my-model@v1.0 --quantize none --model-id mine
      a tag, as fp32, under another id`;

async function run(
  word: string,
  file: string | undefined,
  flags: PullFlags,
  terminal: Terminal,
  stop: AbortSignal,
): Promise<void> {
  const name = nameOf(word, file);
  const settings = await readHubSettings(terminal.environment);
  const model = await pull(name, settings, terminal, stop);
  terminal.out(`${formatHubName(named(model))} at ${model.commit.slice(0, 12)}, ${formatBytes(model.bytes)}`);
  terminal.out(`  downloaded: ${model.source}`);
  if (flags.downloadOnly === true) {
    terminal.out(`Convert it: toast-serve convert ${formatHubName(named(model))} --out <folder>`);
    return;
  }
  const modelId = flags.modelId ?? name.name;
  const { quantize } = flags;
  const copy = await convertPulled(model, settings, { quantize, modelId }, terminal, stop);
  terminal.out(`  converted:  ${copy.folder} (${copy.manifest.quantization})`);
  if (copy.manifest.licence !== null) terminal.out(`  licence:    ${printable(copy.manifest.licence)}`);
  // By its name, 'serve' finds what it would have made itself.
  const isDefault = quantize === defaultQuantization && modelId === name.name;
  terminal.out(`Serve it: toast-serve serve --model ${isDefault ? formatHubName(named(model)) : copy.folder}`);
}

/** @throws ToastError `invalid_option` */
function nameOf(word: string, file: string | undefined): HubName {
  const name = parseHubName(word);
  if (file === undefined) return name;
  if (name.file !== null) {
    throw new ToastError("invalid_option", `Name the file once: '${name.file}' stands in '${word}', and '${file}'.`);
  }
  return { ...name, file };
}

/** The word by which 'serve' finds this very model. */
function named({ name, gguf }: PulledModel): HubName {
  return name.file === null ? name : { ...name, file: gguf };
}

function printable(text: string): string {
  return text.replaceAll(/[^\x20-\x7e]+/g, " ").slice(0, 100);
}
