import { basename } from "node:path";
import { Command, Option } from "commander";
import { type RunningApp, startApp } from "../app.js";
import { defaultServedModel, type ServedModel } from "../engine/served-model.js";
import { packageVersion } from "../package.js";
import { createLog, type Log } from "../server/edge/request-log.js";
import {
  allSettings,
  type ConfigFile,
  fallbackWords,
  type LogSettings,
  parseLogSettings,
  parseServeConfig,
  type ServeConfig,
  type ServeFlags,
} from "../settings/serve-config.js";
import type { Setting } from "../settings/setting.js";
import { AlreadySaid } from "./already-said.js";
import { withLocalModels } from "./hub-models.js";
import { configLines } from "./print-config.js";
import { progressLine } from "./progress-line.js";
import { readConfigFile } from "./read-config-file.js";
import { stopSignalOfProcess } from "./stop-signal.js";
import type { Terminal } from "./terminal.js";

interface FileFlags {
  readonly config?: string;
  readonly printConfig?: true;
}

/** @param stop ends the server; default: SIGINT and SIGTERM. */
export function serveCommand(terminal: Terminal, stop?: AbortSignal): Command {
  const command = new Command("serve").description("serve models over HTTP (the default command)");
  for (const setting of allSettings) command.addOption(optionOf(setting).helpGroup(setting.group ?? ""));
  return command
    .option("--config <file>", "a .json, .jsonc, .yaml or .yml file with these settings, by their names (CONFIG_FILE)")
    .option("--print-config", "print the settings, and where each comes from, and end")
    .addHelpText("after", examples)
    .action(async ({ config: path, printConfig, ...options }: FileFlags) => {
      const flags = flagsOf(options);
      const { environment } = terminal;
      const { CONFIG_FILE } = environment;
      const named = path ?? (CONFIG_FILE === "" ? undefined : CONFIG_FILE);
      let file: ConfigFile | null = null;
      if (printConfig === true) {
        file = named === undefined ? null : await readConfigFile(named);
        for (const line of configLines(flags, environment, file)) terminal.out(line);
        return;
      }
      let config: ServeConfig;
      try {
        file = named === undefined ? null : await readConfigFile(named);
        config = parseServeConfig(flags, environment, file);
      } catch (error) {
        throw fatal(error, parseLogSettings(flags, environment, file), terminal);
      }
      await serve(config, terminal, stop ?? stopSignalOfProcess());
    });
}

/** The values stay text here: flags and environment are checked in one place, parseServeConfig. */
function optionOf(setting: Setting): Option {
  const { flag, placeholder, help, variable, separator } = setting;
  const words = placeholder === null ? `--${flag}` : `--${flag} <${placeholder}>`;
  const option = new Option(words, `${help} (${variable}; default: ${fallbackWords(setting)})`);
  return separator === null ? option : option.argParser(append);
}

/** Commander writes the names of flags as one word. */
function flagsOf(options: object): ServeFlags {
  const given = new Map<string, unknown>(Object.entries(options));
  return Object.fromEntries(allSettings.map((setting) => [setting.flag, given.get(optionOf(setting).attributeName())]));
}

function append(value: string, before: readonly string[] | undefined): readonly string[] {
  return [...(before ?? []), value];
}

const examples = `
Each option can also be given by the environment variable named behind it, or under its own name in a --config file. Options
win over the environment, the environment over the file.

Examples:
  $ toast-serve serve --port 9000
  $ toast-serve serve --model ./base --model ./rival
      serves both; a request picks one by its id, see GET /v1/models
  $ toast-serve serve --model HuggingFaceTB/SmolLM2-360M-Instruct
      a model of Hugging Face, downloaded and converted the first time (see toast-serve pull --help)
  $ toast-serve serve --model ./base --adapters-dir ./adapters
      adapters that appear in ./adapters, or come by POST /v1/adapters, are served as base:<name>
  $ HOST=0.0.0.0 PORT=80 toast-serve
      serves every network, as a container does
  $ toast-serve serve --config toast.yaml --log-level debug --print-config
      says what the server would go by, and why; the output is a config file itself
  $ toast-serve serve --keys-file keys.json --requests-per-minute 60 --max-concurrent 4
      asks for a key (see toast-serve keys --help), and limits each`;

async function serve(config: ServeConfig, terminal: Terminal, stop: AbortSignal): Promise<void> {
  const pretty = isPretty(config, terminal);
  const log = createLog(config.logLevel, pretty ? "pretty" : "json", terminal.err);
  try {
    await serveLogged(config, terminal, stop, log, pretty);
  } catch (error) {
    throw fatal(error, config, terminal);
  }
}

function isPretty({ logFormat }: LogSettings, { interactive }: Terminal): boolean {
  return logFormat === "pretty" || (logFormat === "auto" && interactive);
}

/** What a server cannot start for, where the log is JSON: a line of it. @returns what to throw. */
function fatal(error: unknown, settings: LogSettings, terminal: Terminal): unknown {
  if (isPretty(settings, terminal) || settings.logLevel === "silent") return error;
  const log = createLog(settings.logLevel, "json", terminal.err);
  log.fatal({ err: error }, error instanceof Error ? error.message : String(error));
  return new AlreadySaid(error);
}

async function serveLogged(
  config: ServeConfig,
  terminal: Terminal,
  stop: AbortSignal,
  log: Log,
  pretty: boolean,
): Promise<void> {
  // Where the log is JSON, everything on standard error is.
  const report = pretty ? terminal.err : (line: string) => log.info(line);
  const local = await withLocalModels(config, { ...terminal, err: report }, stop);
  const progress = progressLine({ ...terminal, err: report }, "Loading");
  const fractions = new Map<string, number>();
  let app: RunningApp;
  try {
    app = await startApp(local, {
      log,
      environment: terminal.environment,
      version: packageVersion(),
      onPhase(folder, phase) {
        fractions.set(folder, phase.kind === "loading" ? phase.fraction : 1);
        const stage = phase.kind === "loading" ? phase.stage : phase.kind;
        const sum = [...fractions.values()].reduce((total, fraction) => total + fraction, 0);
        progress.update(`${basename(folder)}: ${stage}`, sum / app.engines.length);
      },
    });
  } catch (error) {
    progress.end();
    throw error;
  }
  try {
    const models = await Promise.race([app.ready(), aborted(stop)]);
    progress.end();
    for (const failure of app.failures) {
      const message = `A model is not served: ${failure}`;
      if (pretty) terminal.err(message);
      else log.error(message);
    }
    if (models !== "stopped") {
      for (const line of welcome(app.url, models)) {
        terminal.out(line);
      }
      await aborted(stop);
    }
    report("Stopping: running answers may end.");
  } finally {
    progress.end();
    await app.stop();
  }
}

/** What a newcomer needs to see text within a minute: the ids, the address, a line to paste. */
export function welcome(url: string, models: readonly ServedModel[]): readonly string[] {
  const model = defaultServedModel(models);
  const body = {
    model: model?.id,
    stream: true,
    messages: [{ role: "user", content: "Give three tips for staying healthy." }],
  };
  return [
    `Serving on ${url}`,
    ...models.map(
      ({ id, base, adapter }) => `  ${id}  ${adapter === null ? `${base.quantization} weights` : "steered"}`,
    ),
    "",
    "Open that address in a browser, or try:",
    `  curl -N ${url}/v1/chat/completions -H 'content-type: application/json' -d '${JSON.stringify(body)}'`,
  ];
}

function aborted(signal: AbortSignal): Promise<"stopped"> {
  return new Promise((resolve) => {
    if (signal.aborted) {
      resolve("stopped");
    }
    signal.addEventListener("abort", () => resolve("stopped"), { once: true });
  });
}
