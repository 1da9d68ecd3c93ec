import { basename } from "node:path";
import { Command, Option } from "commander";
import { type RunningApp, startApp } from "../app.js";
import { parseServeConfig, type ServeFlags, type Setting, settings } from "../config.js";
import { defaultServedModel, type ServedModel } from "../openai/served-model.js";
import { progressLine } from "./progress-line.js";
import { stopSignalOfProcess } from "./stop-signal.js";
import type { Terminal } from "./terminal.js";

/** @param stop ends the server; default: SIGINT and SIGTERM. */
export function serveCommand(terminal: Terminal, stop?: AbortSignal): Command {
  const command = new Command("serve").description("serve models over HTTP (the default command)");
  for (const setting of Object.values<Setting>(settings)) {
    command.addOption(optionOf(setting));
  }
  return command
    .addHelpText("after", examples)
    .action((flags: ServeFlags) => serve(flags, terminal, stop ?? stopSignalOfProcess()));
}

/** The values stay text here: flags and environment are checked in one place, config.ts. */
function optionOf({ flag, placeholder, description, fallback, variable, repeatable }: Setting): Option {
  const option = new Option(`--${flag} <${placeholder}>`, `${description} (${variable}; default: ${fallback})`);
  return repeatable === true ? option.argParser(append) : option;
}

function append(value: string, before: readonly string[] | undefined): readonly string[] {
  return [...(before ?? []), value];
}

const examples = `
Each option can also be given by the environment variable named behind it; the option wins.

Examples:
  $ toast-serve serve --port 9000
  $ toast-serve serve --model ./base --model ./rival
      serves both; a request picks one by its id, see GET /v1/models
  $ toast-serve serve --model ./base --adapters-dir ./adapters
      adapters that appear in ./adapters, or come by POST /v1/adapters, are served as base:<name>
  $ HOST=0.0.0.0 PORT=80 toast-serve
      serves every network, as a container does`;

async function serve(flags: ServeFlags, terminal: Terminal, stop: AbortSignal): Promise<void> {
  const config = parseServeConfig(flags, terminal.environment);
  const progress = progressLine(terminal, "Loading");
  const fractions = new Map<string, number>();
  let app: RunningApp;
  try {
    app = await startApp(config, {
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
    for (const failure of app.failures) terminal.err(`A model is not served: ${failure}`);
    if (models !== "stopped") {
      for (const line of welcome(app.url, models)) {
        terminal.out(line);
      }
      await aborted(stop);
    }
    terminal.err("Stopping: running answers may end.");
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
    "Try it:",
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
