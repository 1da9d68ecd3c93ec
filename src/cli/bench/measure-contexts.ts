import type { BenchModel } from "./bench-model.js";
import { type Ratio, ratioOf } from "./ratios.js";
import { inRounds } from "./rounds.js";
import { median, quantile } from "./statistics.js";
import { msPerStep, runStreams, type StreamRun } from "./stream-run.js";
import type { Way } from "./way.js";

/** What a step costs behind so many cached tokens, one stream. */
export interface ContextSpeed {
  readonly way: Way;
  /** As asked for; near the end of the model's context the prompt is shorter by what is generated. */
  readonly cachedTokens: number;
  readonly promptTokens: number;
  readonly msPerStep: number;
  readonly tokenGapMs: { readonly p50: number; readonly p95: number };
}

interface ContextCase {
  readonly way: Way;
  readonly length: number;
}

/** Few: the context should not grow much while it is measured. */
const generatedTokens = 24;

/** @param settings.lengths cached tokens; those beyond the model's context are left out. */
export async function measureContexts(
  model: BenchModel,
  settings: { readonly lengths: readonly number[]; readonly rounds: number; readonly seed: number },
  stop: AbortSignal,
  onRun: (fraction: number) => void,
): Promise<{ readonly speeds: readonly ContextSpeed[]; readonly ratios: readonly Ratio[] }> {
  const ways = model.ways.filter((way) => way === "plain" || way === "draftAhead");
  const lengths = settings.lengths.filter((length) => length <= model.info.contextLength).toSorted((a, b) => a - b);
  const cases = lengths.flatMap((length) => ways.map((way): ContextCase => ({ way, length })));
  // Every run reads a text of its own.
  let number = settings.seed;
  const results = await inRounds(settings.rounds, cases, (one) => stepsBehind(model, one, number++, stop), onRun);
  const stepsOf = (way: Way, length: number): readonly number[] =>
    (results.find(({ case: one }) => one.way === way && one.length === length)?.values ?? []).map(msPerStep);
  const [shortest = 0, ...longer] = lengths;
  return {
    speeds: results.map(({ case: one, values }) => {
      const gaps = values.flatMap(({ tokenGapsMs }) => tokenGapsMs);
      return {
        way: one.way,
        cachedTokens: one.length,
        promptTokens: median(values.flatMap(({ promptTokens }) => promptTokens)),
        msPerStep: median(values.map(msPerStep)),
        tokenGapMs: { p50: quantile(gaps, 0.5), p95: quantile(gaps, 0.95) },
      };
    }),
    ratios: ways.flatMap((way) =>
      longer.map((length) => {
        const name = `step: more cached tokens / ${shortest}, ${way === "plain" ? "plain" : "draft ahead"}`;
        return ratioOf(name, length, stepsOf(way, length), stepsOf(way, shortest));
      }),
    ),
  };
}

async function stepsBehind(
  model: BenchModel,
  { way, length }: ContextCase,
  number: number,
  stop: AbortSignal,
): Promise<StreamRun> {
  const promptTokens = Math.max(1, Math.min(length, model.info.contextLength - generatedTokens));
  const request = model.request(way, model.prompts.ofLength(promptTokens, number), {
    tokens: generatedTokens,
    temperature: 0,
    seed: 0,
    ignoreEos: true,
  });
  return runStreams(await model.engine(way), [request], stop);
}
