import { Command } from "commander";
import { type RunningApp, startApp } from "../app.js";
import { parseServeConfig } from "../config.js";
import { createEngine } from "../engine/engine-client.js";
import { defaultServedModel } from "../openai/served-model.js";
import { type Machine, thisMachine } from "./machine.js";
import { type GenerationSpeed, measureGeneration } from "./measure-generation.js";
import { type HealthLatency, measureHealthLatency } from "./measure-health-latency.js";
import { positiveInteger } from "./positive-integer.js";
import { progressLine } from "./progress-line.js";
import type { Terminal } from "./terminal.js";

interface BenchFlags {
  readonly tokens: number;
  readonly repetitions: number;
  readonly streams: number;
  readonly seconds: number;
  readonly prompt: string;
  readonly threads?: string;
  readonly json?: true;
}

/** What `bench --json` prints. */
export interface BenchReport {
  readonly machine: Machine;
  readonly settings: Omit<BenchFlags, "json"> & { readonly model: string; readonly quantization: string };
  readonly generation: readonly GenerationSpeed[];
  readonly health: HealthLatency;
}

export function benchCommand(terminal: Terminal): Command {
  return new Command("bench")
    .description("measure generation, plain and steered, and the latency of GET /health meanwhile")
    .argument("[folder]", "a converted model folder (default: the first of this package's models/)")
    .option("--tokens <number>", "tokens to generate per answer", positiveInteger, 64)
    .option("--repetitions <number>", "answers per stream and way of steering", positiveInteger, 5)
    .option("--streams <number>", "answers at a time, beside one at a time", positiveInteger, 4)
    .option("--seconds <number>", "how long to watch GET /health", positiveInteger, 5)
    .option("--prompt <text>", "what to ask", "Explain how a rainbow is made.")
    .option("--threads <number>", "threads of one forward (default: the engine's choice)")
    .option("--json", "print the report as JSON")
    .addHelpText("after", examples)
    .action((folder: string | undefined, flags: BenchFlags) => bench(folder, flags, terminal));
}

const examples = `
Examples:
  $ toast-serve bench
  $ toast-serve bench ./my-model --streams 8 --tokens 128
  $ toast-serve bench ./my-model --json > bench.json

Steering costs what the lines of a model and of model:adapter differ by; what drafting ahead saves, the two lines of
model:adapter. Measure on a quiet machine.`;

async function bench(folder: string | undefined, flags: BenchFlags, terminal: Terminal): Promise<void> {
  const environment = { ...terminal.environment, HOST: "127.0.0.1", PORT: "0", DRAIN_SECONDS: "0" };
  const config = parseServeConfig({ model: folder, threads: flags.threads }, environment);
  const progress = progressLine(terminal, "Measuring");
  let app: RunningApp | null = null;
  try {
    app = await startApp(config);
    progress.update("loading", 0);
    const report = await measure(app, flags, config.threads ?? undefined, progress.update);
    progress.end();
    for (const line of flags.json === true ? [JSON.stringify(report, null, 2)] : tableOf(report)) {
      terminal.out(line);
    }
  } finally {
    progress.end();
    await app?.stop();
  }
}

async function measure(
  app: RunningApp,
  flags: BenchFlags,
  threads: number | undefined,
  onProgress: (stage: string, fraction: number) => void,
): Promise<BenchReport> {
  const served = defaultServedModel(await app.ready());
  const engine = app.engines.find(({ phase }) => phase.kind === "ready" && phase.model.id === served?.base.id);
  if (served === null || engine === undefined) {
    throw new Error("No model is ready although all are loaded.");
  }
  const generation: GenerationSpeed[] = [];
  const steered = served.base.adapters.map(({ name }) => name);
  // The plain two-pass loop is the measure of what drafting ahead is worth; it gives the same text.
  const sequential = createEngine({ folder: engine.folder, threads, limits: { schedule: "sequential" } });
  try {
    await sequential.ready();
    for (const [at, streams] of [...new Set([1, flags.streams])].entries()) {
      onProgress(`generation, ${streams} at a time`, at / 3);
      const one = { ...flags, streams };
      generation.push(
        ...(await measureGeneration(engine, served.base, [null], { ...one, schedule: "draftAhead" })),
        ...(await measureGeneration(sequential, served.base, steered, { ...one, schedule: "sequential" })),
        ...(await measureGeneration(engine, served.base, steered, { ...one, schedule: "draftAhead" })),
      );
    }
  } finally {
    await sequential.close();
  }
  onProgress("GET /health while generating", 2 / 3);
  const health = await measureHealthLatency(app.url, { ...flags, model: served.id });
  const { json: _, ...asked } = flags;
  const settings = { ...asked, model: served.base.id, quantization: served.base.quantization };
  return { machine: thisMachine(), settings, generation, health };
}

function tableOf({ machine, settings, generation, health }: BenchReport): readonly string[] {
  const header = [
    "model",
    "schedule",
    "streams",
    "tokens/s",
    "ms/token",
    "first token, ms",
    "forwards/token",
    "accepted",
  ];
  const rows = generation.map((row) => [
    row.model,
    row.schedule === null ? "plain" : row.schedule === "sequential" ? "two passes" : "draft ahead",
    String(row.streams),
    row.tokensPerSecond.toFixed(1),
    row.msPerToken.toFixed(2),
    row.firstTokenMs.toFixed(1),
    row.forwardsPerToken.toFixed(2),
    row.acceptance === null ? "" : `${(100 * row.acceptance).toFixed(0)} %`,
  ]);
  const widths = header.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)));
  const line = (cells: readonly string[]) =>
    cells.map((cell, at) => (at < 2 ? cell.padEnd(widths[at] ?? 0) : cell.padStart(widths[at] ?? 0))).join("  ");
  return [
    `${machine.cpu}, ${machine.cores} cores, ${machine.memoryGiB} GiB, ${machine.system}, Node ${machine.node}`,
    `${settings.model}, ${settings.quantization} weights; ${settings.tokens} tokens, ${settings.repetitions} repetitions; '${settings.prompt}'`,
    "",
    line(header),
    ...rows.map(line),
    "",
    `GET /health while ${health.streams} answers stream: median ${health.medianMs.toFixed(1)} ms, 95 % ${health.p95Ms.toFixed(1)} ms, worst ${health.maxMs.toFixed(1)} ms (${health.samples} samples, ${health.answersCompleted} answers completed)`,
  ];
}
