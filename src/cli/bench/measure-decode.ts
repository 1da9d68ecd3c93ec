import { ordinaryText, type ReportRequest } from "../../engine/generation-request.js";
import { defaultLimits } from "../../engine/thread/engine-client.js";
import type { BenchModel } from "./bench-model.js";
import { type Ratio, ratioOf, spreadOf } from "./ratios.js";
import { inRounds } from "./rounds.js";
import { median, quantile } from "./statistics.js";
import { engineShare, msPerStep, runStreams, type StreamRun } from "./stream-run.js";
import type { Way } from "./way.js";

/** How fast text comes out: one way, one number of streams; medians over the rounds. */
export interface DecodeSpeed {
  readonly way: Way;
  readonly streams: number;
  /** Of all streams together, while all of them decode. */
  readonly tokensPerSecond: number;
  /** Between two tokens of one stream. */
  readonly tokenGapMs: { readonly p50: number; readonly p95: number };
  /** From the request, with the prompts of all other streams waiting as well. */
  readonly firstTokenMs: number;
  readonly promptTokens: number;
  /** Of one stream; a plain token takes one. */
  readonly forwardsPerToken: number;
  /** Share of the drafts that the steered pass chose as well; null where nothing was drafted. */
  readonly draftsAccepted: number | null;
  readonly msPerStep: number;
  /** Share of a step that is not spent in graphs. */
  readonly engineShare: number;
}

export interface DecodeSettings {
  readonly streams: readonly number[];
  /** While all streams decode. */
  readonly tokens: number;
  readonly temperature: number;
  readonly seed: number;
  readonly rounds: number;
}

interface DecodeCase {
  readonly streams: number;
  readonly way: Way;
  /** What is asked for beside the text; nothing when it is left out. */
  readonly report?: ReportRequest;
}

export async function measureDecode(
  model: BenchModel,
  settings: DecodeSettings,
  stop: AbortSignal,
  onRun: (fraction: number) => void,
): Promise<{ readonly speeds: readonly DecodeSpeed[]; readonly ratios: readonly Ratio[] }> {
  const cases = settings.streams.flatMap((streams) => model.ways.map((way): DecodeCase => ({ streams, way })));
  const results = await inRounds(
    settings.rounds,
    cases,
    (one, round) => decode(model, one, round, settings, stop),
    onRun,
  );
  const runsOf = (way: Way, streams: number): readonly StreamRun[] =>
    results.find(({ case: one }) => one.way === way && one.streams === streams)?.values ?? [];
  return {
    speeds: results.map(({ case: one, values }) => speedOf(one, values)),
    ratios: decodeRatios(model.ways, settings.streams, runsOf),
  };
}

/** One run of so many streams. The same round asks the same questions in every way. */
export async function decode(
  model: BenchModel,
  { streams, way, report = ordinaryText.report }: DecodeCase,
  round: number,
  { tokens, temperature, seed }: Pick<DecodeSettings, "tokens" | "temperature" | "seed">,
  stop: AbortSignal,
): Promise<StreamRun> {
  const numbers = Array.from({ length: streams }, (_, stream) => round * streams + stream);
  const prompts = numbers.map((number) => model.prompts.question(number));
  const lead = streams === 1 ? 0 : leadOf(prompts, way);
  const requests = prompts.map((ids, stream) => ({
    ...model.request(way, ids, {
      tokens: 1 + tokens + lead,
      temperature,
      seed: seed + (numbers[stream] ?? 0),
      ignoreEos: true,
    }),
    report,
  }));
  return runStreams(await model.engine(way), requests, stop);
}

/** How far the first stream can be ahead when the last one starts: decoding takes turns with chunks of prompt. */
function leadOf(prompts: readonly (readonly number[])[], way: Way): number {
  const passes = way === "plain" ? 1 : 2;
  return prompts.reduce((sum, ids) => sum + passes * Math.ceil(ids.length / defaultLimits.chunkTokens), 0);
}

function speedOf({ way, streams }: DecodeCase, runs: readonly StreamRun[]): DecodeSpeed {
  const gaps = runs.flatMap(({ tokenGapsMs }) => tokenGapsMs);
  const proposed = runs.reduce((sum, { drafts }) => sum + drafts.proposed, 0);
  const accepted = runs.reduce((sum, { drafts }) => sum + drafts.accepted, 0);
  return {
    way,
    streams,
    tokensPerSecond: median(runs.map((run) => run.tokensPerSecond)),
    tokenGapMs: { p50: quantile(gaps, 0.5), p95: quantile(gaps, 0.95) },
    firstTokenMs: median(runs.flatMap(({ firstTokenMs }) => firstTokenMs)),
    promptTokens: median(runs.flatMap(({ promptTokens }) => promptTokens)),
    forwardsPerToken: median(runs.map(({ steps }) => (streams * steps.forwards) / steps.tokens)),
    draftsAccepted: proposed === 0 ? null : accepted / proposed,
    msPerStep: median(runs.map(msPerStep)),
    engineShare: median(runs.map(engineShare)),
  };
}

/** What the project's claims are made of. */
function decodeRatios(
  ways: readonly Way[],
  streamCounts: readonly number[],
  runsOf: (way: Way, streams: number) => readonly StreamRun[],
): readonly Ratio[] {
  const rates = (way: Way, streams: number) => runsOf(way, streams).map(({ tokensPerSecond }) => tokensPerSecond);
  const ratios: Ratio[] = [];
  const isSteered = ways.includes("draftAhead");
  for (const streams of streamCounts) {
    const [above, below] = [rates("vectors", streams), rates("plain", streams)];
    ratios.push(ratioOf("tokens/s: three control vectors / plain", streams, above, below));
  }
  const served = ways.filter((one) => one === "plain" || one === "draftAhead");
  const [fewest = 1, ...more] = streamCounts.toSorted((a, b) => a - b);
  for (const streams of isSteered ? streamCounts : []) {
    const steps = (way: Way) => runsOf(way, streams).map(msPerStep);
    const pairs = [
      ["step: draft ahead / plain", steps("draftAhead"), steps("plain")],
      ["tokens/s: draft ahead / plain", rates("draftAhead", streams), rates("plain", streams)],
      ["tokens/s: draft ahead / two passes", rates("draftAhead", streams), rates("sequential", streams)],
    ] as const;
    ratios.push(...pairs.map(([name, above, below]) => ratioOf(name, streams, above, below)));
  }
  for (const streams of more) {
    for (const way of served) {
      const name = `tokens/s: more streams / ${fewest}, ${way === "plain" ? "plain" : "draft ahead"}`;
      ratios.push(ratioOf(name, streams, rates(way, streams), rates(way, fewest)));
    }
  }
  for (const streams of new Set([fewest, ...more.slice(-1)])) {
    for (const way of served) {
      const name = `engine's share of a step, ${way === "plain" ? "plain" : "draft ahead"}`;
      ratios.push(spreadOf(name, streams, runsOf(way, streams).map(engineShare)));
    }
  }
  return ratios;
}
