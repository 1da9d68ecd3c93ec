import type { ReportRequest } from "../../engine/generation-request.js";
import type { BenchModel } from "./bench-model.js";
import { type DecodeSettings, decode } from "./measure-decode.js";
import { type Ratio, ratioOf } from "./ratios.js";
import { inRounds } from "./rounds.js";

const nothing: ReportRequest = { logprobs: null, promptLogprobs: null, explain: false };

/** What a client may want to know beside the text. */
const kinds: readonly { readonly name: string; readonly report: ReportRequest }[] = [
  { name: "nothing", report: nothing },
  { name: "explain", report: { ...nothing, explain: true } },
  { name: "logprobs 5", report: { ...nothing, logprobs: 5 } },
  { name: "logprobs 20 and explain", report: { ...nothing, logprobs: 20, explain: true } },
];

/**
 * What reports cost, for the fewest and the most streams: tokens a second with each kind of them, over those without;
 * and processor time, which a busy machine disturbs less (with `--threads 1`: threads that wait for each other take
 * time as well).
 */
export async function measureReports(
  model: BenchModel,
  settings: DecodeSettings,
  stop: AbortSignal,
  onRun: (fraction: number) => void,
): Promise<readonly Ratio[]> {
  const way = model.bestWay;
  const streamCounts = [...new Set([Math.min(...settings.streams), Math.max(...settings.streams)])];
  const cases = streamCounts.flatMap((streams) => kinds.map(({ name, report }) => ({ streams, way, name, report })));
  const measure = async (one: (typeof cases)[number], round: number) => {
    const before = process.cpuUsage();
    const { tokensPerSecond } = await decode(model, one, round, settings, stop);
    const { user, system } = process.cpuUsage(before);
    return { tokensPerSecond, processorTime: user + system };
  };
  const results = await inRounds(settings.rounds, cases, measure, onRun);
  const valuesOf = (figure: "tokensPerSecond" | "processorTime", name: string, streams: number): readonly number[] =>
    results
      .filter(({ case: one }) => one.name === name && one.streams === streams)
      .flatMap(({ values }) => values.map((value) => value[figure]));
  const ratios = (figure: "tokensPerSecond" | "processorTime", label: string): readonly Ratio[] =>
    streamCounts.flatMap((streams) =>
      kinds.slice(1).map(({ name }) => {
        const [above, below] = [valuesOf(figure, name, streams), valuesOf(figure, "nothing", streams)];
        return ratioOf(`${label}: ${name} / no reports`, streams, above, below);
      }),
    );
  return [...ratios("tokensPerSecond", "tokens/s"), ...ratios("processorTime", "processor time")];
}
