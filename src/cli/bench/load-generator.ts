import { ToastError } from "../../errors.js";
import { type CompletionOutcome, streamCompletion } from "./completion-stream.js";
import { type Ratio, ratioOf } from "./ratios.js";
import { inRounds } from "./rounds.js";
import { median, quantile } from "./statistics.js";

export interface LoadSettings {
  /** Up to `/v1`: chat completions are below it. */
  readonly baseUrl: string;
  readonly apiKey: string | null;
  readonly model: string;
  /** Asked in turn. */
  readonly prompts: readonly string[];
  readonly streams: readonly number[];
  /** Of one round and number of streams; never fewer than streams. */
  readonly requests: number;
  readonly tokens: number;
  readonly temperature: number;
  readonly seed: number;
  readonly rounds: number;
  readonly ignoreEos: boolean;
}

/** What clients of a server see while so many of them ask at the same time. */
export interface ServerSpeed {
  readonly streams: number;
  readonly answers: number;
  readonly errors: number;
  /** The first few, each once. */
  readonly errorReasons: readonly string[];
  /** Of all answers, by the time from the first request to the last answer; median over the rounds. */
  readonly tokensPerSecond: number;
  readonly firstTokenMs: { readonly p50: number; readonly p95: number };
  readonly tokenGapMs: { readonly p50: number; readonly p95: number };
}

type Answered = Extract<CompletionOutcome, { kind: "answered" }>;

interface LoadRun {
  readonly answers: readonly Answered[];
  readonly failures: readonly string[];
  readonly tokensPerSecond: number;
}

/** @throws ToastError `server_refused` when a run gets no answer at all. */
export async function generateLoad(
  settings: LoadSettings,
  stop: AbortSignal,
  onRun: (fraction: number) => void,
): Promise<{ readonly speeds: readonly ServerSpeed[]; readonly ratios: readonly Ratio[] }> {
  const results = await inRounds(
    settings.rounds,
    settings.streams,
    async (streams, round) => {
      const run = await loadOnce(settings, streams, round, stop);
      if (run.answers.length === 0) throw refused(settings, run.failures);
      return run;
    },
    onRun,
  );
  const ratesOf = (streams: number): readonly number[] =>
    (results.find(({ case: one }) => one === streams)?.values ?? []).map(({ tokensPerSecond }) => tokensPerSecond);
  const [fewest = 1, ...more] = settings.streams.toSorted((a, b) => a - b);
  return {
    speeds: results.map(({ case: streams, values }) => speedOf(streams, values)),
    ratios: more.map((streams) =>
      ratioOf(`tokens/s: more streams / ${fewest}`, streams, ratesOf(streams), ratesOf(fewest)),
    ),
  };
}

/** Keeps `streams` requests running until all have been asked. */
async function loadOnce(settings: LoadSettings, streams: number, round: number, stop: AbortSignal): Promise<LoadRun> {
  const requests = Math.max(settings.requests, streams);
  const outcomes: CompletionOutcome[] = [];
  let next = 0;
  const startedAt = performance.now();
  const stream = async (): Promise<void> => {
    while (next < requests) {
      const number = round * requests + next++;
      outcomes.push(await ask(settings, number, stop));
    }
  };
  await Promise.all(Array.from({ length: streams }, stream));
  const seconds = (performance.now() - startedAt) / 1000;
  const answers = outcomes.filter((outcome) => outcome.kind === "answered");
  return {
    answers,
    failures: outcomes.flatMap((outcome) => (outcome.kind === "failed" ? [outcome.reason] : [])),
    tokensPerSecond: answers.reduce((sum, { tokens }) => sum + tokens, 0) / seconds,
  };
}

function ask(settings: LoadSettings, number: number, stop: AbortSignal): Promise<CompletionOutcome> {
  const { baseUrl, apiKey, model, prompts, tokens, temperature, ignoreEos } = settings;
  const prompt = prompts[number % prompts.length] ?? "";
  const question = { model, prompt, tokens, temperature, seed: settings.seed + number, ignoreEos };
  return streamCompletion(`${baseUrl}/chat/completions`, apiKey, question, stop);
}

function speedOf(streams: number, runs: readonly LoadRun[]): ServerSpeed {
  const answers = runs.flatMap((run) => run.answers);
  const failures = runs.flatMap((run) => run.failures);
  const firstTokens = answers.map(({ firstTokenMs }) => firstTokenMs);
  const gaps = answers.flatMap(({ gapsMs }) => gapsMs);
  return {
    streams,
    answers: answers.length,
    errors: failures.length,
    errorReasons: [...new Set(failures)].slice(0, 3),
    tokensPerSecond: median(runs.map(({ tokensPerSecond }) => tokensPerSecond)),
    firstTokenMs: { p50: quantile(firstTokens, 0.5), p95: quantile(firstTokens, 0.95) },
    tokenGapMs: { p50: quantile(gaps, 0.5), p95: quantile(gaps, 0.95) },
  };
}

function refused({ baseUrl }: LoadSettings, failures: readonly string[]): ToastError {
  const message = `${baseUrl} answered none of ${failures.length} requests. The first failed with: ${failures[0] ?? ""}`;
  return new ToastError("server_refused", message);
}
