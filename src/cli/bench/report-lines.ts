import type { Machine } from "./machine.js";
import type { Ratio } from "./ratios.js";
import type { EngineReport, ServerReport } from "./report.js";
import type { SoakErrors } from "./soak-errors.js";
import { percent, tableLines } from "./table.js";
import { wayLabels } from "./way.js";

/** The report for people, one line each. */
export function engineReportLines(report: EngineReport): readonly string[] {
  const { model, settings } = report;
  const weights = model.weights === "random" ? `random ${model.quantization}` : model.quantization;
  const steered = model.adapter === null ? "without an adapter" : `steered by ${model.adapter}`;
  return [
    ...machineLines(report.machine),
    `${model.id}, ${weights} weights, ${model.layers} layers, context ${model.contextLength}; ${steered}`,
    `medians of ${settings.rounds} rounds, all ways in turn; temperature ${settings.temperature}, seed ${settings.seed}`,
    ...decodeLines(report),
    ...prefillLines(report),
    ...contextLines(report),
    ...leftOutLines(report),
    ...acceptanceLines(report),
    ...guessLines(report),
    ...peerLines(report),
    ...maskLines(report),
    ...machineLimitLines(report),
    ...soakLines(report),
    ...ratioLines(report.ratios),
  ];
}

export function serverReportLines({ machine, server, settings, speeds, ratios }: ServerReport): readonly string[] {
  const header = [
    `up to ${settings.tokens} tokens`,
    "streams",
    "tokens/s",
    "first token, ms",
    "p95",
    "ms/token",
    "p95",
    "answers",
    "errors",
  ];
  const rows = speeds.map((row) => [
    "",
    String(row.streams),
    row.tokensPerSecond.toFixed(1),
    row.firstTokenMs.p50.toFixed(0),
    row.firstTokenMs.p95.toFixed(0),
    row.tokenGapMs.p50.toFixed(2),
    row.tokenGapMs.p95.toFixed(2),
    String(row.answers),
    String(row.errors),
  ]);
  return [
    ...machineLines(machine),
    `${server.model} at ${server.baseUrl}; ${settings.rounds} rounds, temperature ${settings.temperature}, seed ${settings.seed}`,
    "",
    ...tableLines(header, rows),
    ...[...new Set(speeds.flatMap(({ errorReasons }) => errorReasons))].map((reason) => `error: ${reason}`),
    ...ratioLines(ratios),
  ];
}

function machineLines({ cpu, cores, memoryGiB, system, node, version, commit, loadBefore }: Machine): string[] {
  const program = `toast-serve ${version}${commit === null ? "" : ` (${commit.slice(0, 7)})`}`;
  const load = loadBefore >= 0.5 ? [`The machine was not quiet: load ${loadBefore.toFixed(1)} before the start.`] : [];
  return [`${cpu}, ${cores} cores, ${memoryGiB} GiB, ${system}, Node ${node}; ${program}`, ...load];
}

function decodeLines({ decode, settings }: EngineReport): readonly string[] {
  if (decode === null) return [];
  const header = [
    `decode, ${settings.tokens} tokens`,
    "streams",
    "tokens/s",
    "ms/token",
    "p95",
    "first token, ms",
    "forwards/token",
    "drafts accepted",
    "ms/step",
    "engine",
  ];
  const rows = decode.map((row) => [
    wayLabels[row.way],
    String(row.streams),
    row.tokensPerSecond.toFixed(1),
    row.tokenGapMs.p50.toFixed(2),
    row.tokenGapMs.p95.toFixed(2),
    row.firstTokenMs.toFixed(0),
    row.forwardsPerToken.toFixed(2),
    row.draftsAccepted === null ? "" : percent(row.draftsAccepted),
    row.msPerStep.toFixed(2),
    percent(row.engineShare),
  ]);
  return ["", ...tableLines(header, rows)];
}

function prefillLines({ prefill }: EngineReport): readonly string[] {
  if (prefill === null) return [];
  const rows = prefill.map((row) => [
    row.passes === "one" ? "plain, one pass" : "steered, two passes",
    String(row.promptTokens),
    row.tokensPerSecond.toFixed(0),
    row.firstTokenMs.toFixed(0),
  ]);
  return ["", ...tableLines(["prompt", "tokens", "tokens/s", "first token, ms"], rows)];
}

function contextLines({ contexts }: EngineReport): readonly string[] {
  if (contexts === null) return [];
  const rows = contexts.map((row) => [
    wayLabels[row.way],
    String(row.cachedTokens),
    row.msPerStep.toFixed(2),
    row.tokenGapMs.p50.toFixed(2),
    row.tokenGapMs.p95.toFixed(2),
  ]);
  return ["", ...tableLines(["long context, one stream", "cached tokens", "ms/step", "ms/token", "p95"], rows)];
}

/** Lengths that were asked for and are longer than the model can read. */
function leftOutLines({ model, settings, prefill, contexts }: EngineReport): readonly string[] {
  const missing = (asked: readonly number[], measured: readonly number[] | undefined, what: string) => {
    const left = measured === undefined ? [] : asked.filter((length) => !measured.includes(length));
    return left.length === 0
      ? []
      : [`left out, beyond the context of ${model.contextLength}: ${left.join(", ")} ${what}`];
  };
  return [
    ...missing(
      settings.prefill,
      prefill?.map(({ promptTokens }) => promptTokens),
      "tokens of prompt",
    ),
    ...missing(
      settings.contexts,
      contexts?.map(({ cachedTokens }) => cachedTokens),
      "cached tokens",
    ),
  ];
}

function acceptanceLines({ acceptance, model }: EngineReport): readonly string[] {
  if (acceptance === null) return [];
  const rows = acceptance.map((row) => [
    `${model.id}:${model.adapter ?? ""}`,
    String(row.temperature),
    String(row.answers),
    String(row.tokens),
    row.accepted === null ? "" : percent(row.accepted),
  ]);
  return ["", ...tableLines(["real questions", "temperature", "answers", "tokens", "drafts accepted"], rows)];
}

function guessLines({ guesses, settings }: EngineReport): readonly string[] {
  if (guesses === null) return [];
  const header = [`answers, ${settings.tokens} tokens at most`, "to", "answers", "tokens", "guesses right"];
  const rows = guesses.map(({ way, kind, answers, tokens, guesses: { proposed, accepted }, tokensPerSecond }) => [
    wayLabels[way],
    kind,
    String(answers),
    String(tokens),
    proposed === 0 ? "" : `${accepted} of ${proposed}`,
    tokensPerSecond.without.toFixed(1),
    tokensPerSecond.with.toFixed(1),
  ]);
  return ["", ...tableLines([...header, "tokens/s", "with guesses"], rows)];
}

function peerLines({ peer }: EngineReport): readonly string[] {
  if (peer === null) return [];
  const rows = peer.map(({ what, who, at, tokensPerSecond }) => [
    who === "peer" ? "llama.cpp" : wayLabels[who],
    what === "decode" ? `${at} streams` : `prompt of ${at}`,
    tokensPerSecond.toFixed(1),
  ]);
  return ["", ...tableLines(["ours and llama.cpp, in turn", "what", "tokens/s"], rows)];
}

function maskLines({ masks }: EngineReport): readonly string[] {
  if (masks === null) return [];
  const header = ["grammar", "vocabulary", "tokens", "to compile, ms", "us/token", "worst", "again", "worst"];
  const rows = masks.map(({ grammar, vocabulary, tokens, compileMs, firstUs, againUs }) => [
    grammar,
    String(vocabulary),
    String(tokens),
    compileMs.toFixed(1),
    ...[firstUs.median, firstUs.worst, againUs.median, againUs.worst].map((us) => us.toFixed(0)),
  ]);
  return ["", ...tableLines(header, rows)];
}

function machineLimitLines({ bandwidth, health, peakMemory }: EngineReport): readonly string[] {
  const lines = ["", `peak memory of the process with one engine: ${(peakMemory / 2 ** 20).toFixed(0)} MiB`];
  if (bandwidth !== null) {
    const { machine, weightBytesPerStep, achieved, share } = bandwidth;
    lines.push(
      `memory gives ${gigabytes(machine)} GB/s; a plain step reads ${(weightBytesPerStep / 1e6).toFixed(1)} MB of weights at ${gigabytes(achieved)} GB/s, ${percent(share)} of that`,
    );
  }
  if (health !== null) {
    lines.push(
      `GET /health while ${health.streams} answers stream: median ${health.medianMs.toFixed(1)} ms, 95 % ${health.p95Ms.toFixed(1)} ms, worst ${health.maxMs.toFixed(1)} ms (${health.samples} samples, ${health.answersCompleted} answers completed)`,
    );
  }
  return lines;
}

function soakLines({ soak }: EngineReport): readonly string[] {
  if (soak === null) return [];
  const { memory, standstill, ready, idle } = soak;
  const megabytes = (bytes: number) => (bytes / 2 ** 20).toFixed(0);
  return [
    "",
    `soak, ${soak.clients} clients for ${soak.minutes} minutes: ${soak.answers} answers, ${soak.hungUp} hung up, ${soak.errors.reduce((sum, { count }) => sum + count, 0)} errors`,
    ...soak.errors.map(soakErrorLine),
    `memory ${megabytes(memory.warm)} MiB once warm, ${megabytes(memory.end)} MiB at the end; ${idle.preemptions} preemptions, ${idle.prefixTokens.hit} of ${idle.prefixTokens.queried} prompt tokens reused`,
    `the HTTP thread stood still for ${standstill.p99.toFixed(0)} ms at the 99th percentile of its ticks, ${standstill.max.toFixed(0)} ms at most; /readyz took ${ready.p99.toFixed(0)} ms and ${ready.max.toFixed(0)} ms`,
    `afterwards ${idle.lanesInUse} lanes in use, ${idle.cacheBytes} bytes of cache held; integrity: ${idle.violations.length === 0 ? "clean" : idle.violations.join("; ")}`,
  ];
}

const endings: Readonly<Record<SoakErrors["kind"], string>> = {
  refused: "refused",
  brokenOff: "broken off with an error",
  cutShort: "cut short",
  unanswered: "unanswered",
};

function soakErrorLine({ kind, count, code, status, retryAfter, message }: SoakErrors): string {
  const what = [status, code].filter((part) => part !== null).join(" ");
  const again = retryAfter === null ? "" : `, to come again in ${retryAfter} s`;
  return `  ${count} ${endings[kind]}${what === "" ? "" : ` (${what})`}${again}: ${message}`;
}

function gigabytes(bytesPerSecond: number): string {
  return (bytesPerSecond / 1e9).toFixed(1);
}

function ratioLines(ratios: readonly Ratio[]): readonly string[] {
  if (ratios.length === 0) return [];
  const rows = ratios.map(({ name, at, median, low, high }) => [
    name,
    at === null ? "" : String(at),
    median.toFixed(3),
    `${low.toFixed(3)} … ${high.toFixed(3)}`,
  ]);
  return ["", ...tableLines(["ratios, round by round", "at", "median", "all rounds"], rows)];
}
