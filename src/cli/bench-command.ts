import { setMaxListeners } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Command, InvalidArgumentError, Option } from "commander";
import { modelFolders } from "../app.js";
import { shapeNames } from "../convert/model-shapes.js";
import { makeRandomModel } from "../convert/random-model.js";
import { ToastError } from "../errors.js";
import { quantizations } from "../model/manifest.js";
import { parseServeConfig } from "../settings/serve-config.js";
import { benchEngine } from "./bench/bench-engine.js";
import { instructions } from "./bench/instructions.js";
import type { PeerOptions } from "./bench/llama-cpp.js";
import { generateLoad } from "./bench/load-generator.js";
import { thisMachine } from "./bench/machine.js";
import { readPromptFile } from "./bench/prompt-file.js";
import type { EngineReport, ServerReport } from "./bench/report.js";
import { engineReportLines, serverReportLines } from "./bench/report-lines.js";
import { defaultSections, parseSections, type Section, sections } from "./bench/sections.js";
import { type BenchSubject, type SubjectFlags, subjectOf } from "./bench/subject.js";
import { localFolder } from "./hub-models.js";
import { positiveInteger, positiveIntegers } from "./positive-integer.js";
import { type ProgressLine, progressLine } from "./progress-line.js";
import { stopSignalOfProcess } from "./stop-signal.js";
import type { Terminal } from "./terminal.js";

interface BenchFlags extends SubjectFlags {
  readonly only: readonly Section[];
  readonly streams: readonly number[];
  readonly tokens: number;
  readonly rounds: number;
  readonly prefill: readonly number[];
  readonly contexts: readonly number[];
  readonly requests: number;
  readonly prompts?: string;
  readonly temperature?: number;
  readonly seed: number;
  readonly seconds: number;
  readonly minutes: number;
  readonly clients: number;
  readonly threads?: number;
  readonly peer?: string;
  readonly peerModel?: string;
  readonly json?: true;
}

/** @param stop ends the measurement, no temporary folder is left; default: SIGINT and SIGTERM. */
export function benchCommand(terminal: Terminal, stop?: AbortSignal): Command {
  return new Command("bench")
    .description(
      "measure how fast a model folder, a model shape with random weights, or any OpenAI-compatible server is",
    )
    .argument("[folder]", "a converted model folder, or org/name of a hub (default: the first of models/)")
    .addOption(new Option("--shape <name>", "random weights of this shape instead of a folder").choices(shapeNames))
    .addOption(
      new Option("--quantize <kind>", "weights of a --shape: see convert").choices(quantizations).default("int8"),
    )
    .option("--keep <folder>", "where the weights of a --shape stay and are found again (default: removed at the end)")
    .option("--url <address>", "a server to put under load instead, such as http://127.0.0.1:8000/v1")
    .option("--model-id <id>", "the model to ask the server for")
    .option("--api-key <key>", "the server's key (OPENAI_API_KEY)")
    .option("--ignore-eos", "ask the server for full length by ignore_eos, which OpenAI's own does not know")
    .addOption(
      list(
        "--only <sections>",
        `of ${sections.join(",")}`,
        parseSections,
        defaultSections,
        "all but guesses, reports, masks, soak and peer",
      ),
    )
    .addOption(numbers("--streams <numbers>", "answers at a time", [1, 4, 8, 16]))
    .option("--tokens <number>", "tokens of an answer while it is measured", positiveInteger, 64)
    .option("--rounds <number>", "how often everything is measured, in turn", positiveInteger, 3)
    .addOption(numbers("--prefill <numbers>", "tokens of the prompts to read", [128, 512, 1024]))
    .addOption(numbers("--contexts <numbers>", "cached tokens to decode behind", [128, 512, 1024, 2048]))
    .option(
      "--requests <number>",
      "answers for acceptance and guesses; of a server: in a round, or as many as streams",
      positiveInteger,
      16,
    )
    .option("--prompts <file>", "questions: .jsonl with instruction, prompt or text; or one a line (default: built in)")
    .option("--temperature <number>", "of sampling (default: 0; acceptance at 0 and 0.7)", temperature)
    .option("--seed <number>", "of weights, prompts and sampling", positiveInteger, 1)
    .option("--seconds <number>", "how long to watch GET /health", positiveInteger, 5)
    .option("--minutes <number>", "how long the soak goes on", positiveInteger, 10)
    .option("--clients <number>", "of the soak: they come, go and hang up", positiveInteger, 16)
    .option("--threads <number>", "threads of one forward (default: the engine's choice)", positiveInteger)
    .option("--peer <folder>", "measure llama.cpp in turn: the folder with its llama-bench and llama-batched-bench")
    .option("--peer-model <file>", "the GGUF file that --peer measures: the same weights, as many bits")
    .option("--json", "print the report as JSON")
    .addHelpText("after", examples)
    .action(async (word: string | undefined, flags: BenchFlags, command: Command) => {
      const signal = stop ?? stopSignalOfProcess();
      const given = Object.keys(flags).filter((name) => command.getOptionValueSource(name) === "cli");
      const subject = subjectOf(word, flags, given, terminal.environment);
      const local =
        subject.kind === "folder" && subject.folder !== null
          ? { ...subject, folder: await localFolder(subject.folder, terminal, signal) }
          : subject;
      await bench(local, flags, terminal, signal);
    });
}

/** An option with commas, its default shown as one would write it. */
function list<Item>(
  flags: string,
  description: string,
  parse: (text: string) => readonly Item[],
  fallback: readonly Item[],
  shown: string,
): Option {
  return new Option(flags, description).argParser(parse).default(fallback, shown);
}

function numbers(flags: string, description: string, fallback: readonly number[]): Option {
  return list(flags, description, positiveIntegers, fallback, fallback.join(","));
}

const examples = `
Everything that is compared is measured in turn, round by round; the ratios at the end are taken within rounds and carry over
to other machines, times do not. Measure on a quiet machine.

Examples:
  $ toast-serve bench
      the first model of this package: what steering costs, and what drafting ahead saves of it
  $ toast-serve bench ./my-model --only decode,acceptance --prompts questions.jsonl
      how often drafts are accepted depends on what is asked
  $ toast-serve bench --shape tinyllama-1.1b --quantize int8 --streams 1,8 --keep /tmp/1b
      speed depends on the shape alone: no weights are needed; /tmp/1b makes the next run start sooner
  $ toast-serve bench --only masks
      what binding answers to grammars costs a token, at the vocabulary of the model
  $ toast-serve bench --only soak --minutes 10 --clients 16
      clients that come, go and hang up: does memory stay flat, is every lane given back
  $ toast-serve bench --only peer --peer llama.cpp/build/bin --peer-model smollm2-q8_0.gguf --streams 1,8 --prefill 512
      the same work by llama.cpp, in turn
  $ toast-serve bench --url http://127.0.0.1:8080/v1 --model-id llama --streams 1,8 --json
      the same load for any server`;

async function bench(subject: BenchSubject, flags: BenchFlags, terminal: Terminal, stop: AbortSignal): Promise<void> {
  // Every request listens to it, and there may be many.
  setMaxListeners(0, stop);
  const progress = progressLine(terminal, "Measuring");
  try {
    const given = flags.prompts === undefined ? instructions : await readPromptFile(flags.prompts);
    const from = flags.seed % given.length;
    const questions = [...given.slice(from), ...given.slice(0, from)];
    if (subject.kind === "server") {
      const report = await measureServer(subject, flags, questions, stop, progress);
      print(report, serverReportLines(report), flags, terminal, progress);
    } else {
      const report = await measureFolder(subject, flags, questions, terminal, stop, progress);
      print(report, engineReportLines(report), flags, terminal, progress);
    }
  } finally {
    progress.end();
  }
}

async function measureServer(
  { kind: _, ...server }: Extract<BenchSubject, { kind: "server" }>,
  flags: BenchFlags,
  prompts: readonly string[],
  stop: AbortSignal,
  progress: ProgressLine,
): Promise<ServerReport> {
  const { rounds, requests, tokens, seed, streams } = flags;
  const settings = { rounds, requests, tokens, temperature: flags.temperature ?? 0, seed };
  const machine = thisMachine();
  const load = await generateLoad({ ...server, ...settings, prompts, streams }, stop, (fraction) =>
    progress.update(server.baseUrl, fraction),
  );
  return {
    kind: "server",
    machine,
    server: { baseUrl: server.baseUrl, model: server.model },
    settings: { ...settings, ignoreEos: server.ignoreEos },
    ...load,
  };
}

async function measureFolder(
  subject: Exclude<BenchSubject, { kind: "server" }>,
  flags: BenchFlags,
  questions: readonly string[],
  terminal: Terminal,
  stop: AbortSignal,
  progress: ProgressLine,
): Promise<EngineReport> {
  const peer = peerOf(flags);
  const only = peer === null || flags.only.includes("peer") ? flags.only : [...flags.only, "peer" as const];
  const measure = (folder: string) =>
    benchEngine(
      {
        ...flags,
        only,
        peer,
        folder,
        weights: subject.kind === "shape" ? "random" : "real",
        questions,
        answers: flags.requests,
        temperature: flags.temperature ?? null,
        threads: flags.threads,
      },
      stop,
      progress.update,
    );
  if (subject.kind === "folder") {
    const config = parseServeConfig({ model: subject.folder ?? undefined }, terminal.environment);
    const [folder = ""] = await modelFolders(config);
    return measure(folder);
  }
  const { shape, quantize, keep } = subject;
  const scratch = keep === null ? await mkdtemp(join(tmpdir(), "toast-bench-")) : null;
  try {
    const out = keep ?? join(scratch ?? "", shape);
    const onProgress = ({ stage, done, total }: { stage: string; done: number; total: number }) =>
      progress.update(stage, total === 0 ? 0 : done / total);
    await makeRandomModel({ shape, seed: flags.seed, quantize, out, onProgress, signal: stop });
    return await measure(out);
  } finally {
    if (scratch !== null) await rm(scratch, { recursive: true, force: true });
  }
}

/** @throws ToastError `invalid_option` for half of what a peer needs */
function peerOf({ peer, peerModel, only, threads }: BenchFlags): PeerOptions | null {
  if (peer !== undefined && peerModel !== undefined) return { folder: peer, model: peerModel, threads };
  if (peer === undefined && peerModel === undefined && !only.includes("peer")) return null;
  throw new ToastError("invalid_option", "A peer is measured with --peer and --peer-model: give both.");
}

function print(
  report: object,
  lines: readonly string[],
  flags: BenchFlags,
  terminal: Terminal,
  progress: ProgressLine,
): void {
  progress.end();
  for (const line of flags.json === true ? [JSON.stringify(report, null, 2)] : lines) terminal.out(line);
}

/** @throws InvalidArgumentError, which commander reports with the option's name. */
function temperature(text: string): number {
  const value = /^\d(\.\d{1,6})?$/.test(text) ? Number(text) : Number.NaN;
  if (!(value <= 2)) throw new InvalidArgumentError("It must be a number from 0 to 2.");
  return value;
}
