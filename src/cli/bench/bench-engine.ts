import { startApp } from "../../app.js";
import { defaultServedModel } from "../../engine/served-model.js";
import { readModelFolder } from "../../model/model-folder.js";
import { parseServeConfig } from "../../settings/serve-config.js";
import { BenchModel } from "./bench-model.js";
import type { PeerOptions } from "./llama-cpp.js";
import { thisMachine } from "./machine.js";
import { measureAcceptance } from "./measure-acceptance.js";
import { measureBandwidth, measureWeightReading } from "./measure-bandwidth.js";
import { measureContexts } from "./measure-contexts.js";
import { decode, measureDecode } from "./measure-decode.js";
import { measureGuesses } from "./measure-guesses.js";
import { type HealthLatency, measureHealthLatency } from "./measure-health-latency.js";
import { measureMasks } from "./measure-masks.js";
import { measurePeer } from "./measure-peer.js";
import { measurePrefill } from "./measure-prefill.js";
import { measureReports } from "./measure-reports.js";
import { measureSoak, type Soak } from "./measure-soak.js";
import { randomPrompts, textPrompts } from "./prompts.js";
import type { EngineReport } from "./report.js";
import type { Section } from "./sections.js";

export interface EngineBench {
  readonly folder: string;
  /** Random weights get random prompts. */
  readonly weights: "real" | "random";
  /** Real questions, for real weights. */
  readonly questions: readonly string[];
  readonly only: readonly Section[];
  readonly streams: readonly number[];
  readonly tokens: number;
  readonly rounds: number;
  readonly prefill: readonly number[];
  readonly contexts: readonly number[];
  /** Answers of each temperature, for the acceptance; of each kind of prompt, for the guesses. */
  readonly answers: number;
  /** Null: 0, and the acceptance at 0.7 as well. */
  readonly temperature: number | null;
  readonly seed: number;
  /** How long to watch GET /health. */
  readonly seconds: number;
  /** Of the soak. */
  readonly minutes: number;
  readonly clients: number;
  readonly threads: number | undefined;
  /** For the section "peer", without which there is none. */
  readonly peer: PeerOptions | null;
}

type OnProgress = (stage: string, fraction: number) => void;

/** What is measured while the engine is loaded. */
interface Inside
  extends Pick<
    EngineReport,
    "decode" | "prefill" | "contexts" | "acceptance" | "guesses" | "masks" | "peer" | "peakMemory" | "ratios"
  > {
  readonly weightReading: Awaited<ReturnType<typeof measureWeightReading>> | null;
}

/** Streams while GET /health is asked. */
const healthStreams = 4;

/** Measures one model folder from the inside, section by section. @param stop ends it with its reason. */
export async function benchEngine(
  bench: EngineBench,
  stop: AbortSignal,
  onProgress: OnProgress,
): Promise<EngineReport> {
  const machine = thisMachine();
  onProgress("loading", 0);
  const folder = await readModelFolder(bench.folder);
  const adapter = folder.adapters[0]?.manifest.name ?? null;
  const prompts =
    bench.weights === "random"
      ? randomPrompts(folder.manifest.architecture.vocabSize, bench.seed)
      : await textPrompts(folder, adapter, bench.questions);
  const choices = { threads: bench.threads, maxRunning: Math.max(...bench.streams, healthStreams) };
  const model = await BenchModel.open({ folder, adapter, prompts }, choices);
  let inside: Inside;
  try {
    inside = await measureInside(model, bench, stop, onProgress);
  } finally {
    await model.close();
  }
  const { weightReading, ratios, ...measured } = inside;
  const bandwidth = weightReading === null ? null : await measureBandwidth(weightReading, bench);
  const { id, quantization, layers, contextLength } = model.info;
  return {
    kind: "engine",
    machine,
    model: { id, quantization, weights: bench.weights, layers, contextLength, adapter },
    settings: {
      rounds: bench.rounds,
      tokens: bench.tokens,
      temperature: bench.temperature ?? 0,
      seed: bench.seed,
      streams: bench.streams,
      prefill: bench.prefill,
      contexts: bench.contexts,
      threads: bench.threads ?? null,
    },
    ...measured,
    ratios: bandwidth === null ? ratios : [...ratios, bandwidth.ratio],
    bandwidth: bandwidth?.bandwidth ?? null,
    health: bench.only.includes("health") ? await measureHealth(bench, stop, onProgress) : null,
    soak: bench.only.includes("soak") ? await soak(bench, stop, onProgress) : null,
  };
}

async function measureInside(
  model: BenchModel,
  bench: EngineBench,
  stop: AbortSignal,
  onProgress: OnProgress,
): Promise<Inside> {
  const settings = { ...bench, temperature: bench.temperature ?? 0 };
  const progressOf = (section: Section) => (fraction: number) =>
    onProgress(section, (bench.only.indexOf(section) + fraction) / bench.only.length);
  const ifWanted = async <Result>(
    section: Section,
    measure: (onRun: (fraction: number) => void) => Promise<Result>,
  ): Promise<Result | null> => (bench.only.includes(section) ? measure(progressOf(section)) : null);

  onProgress("warming up", 0);
  await warmUp(model, settings, stop);
  const prefill = await ifWanted("prefill", (onRun) =>
    measurePrefill(model, { ...settings, lengths: bench.prefill }, stop, onRun),
  );
  const contexts = await ifWanted("contexts", (onRun) =>
    measureContexts(model, { ...settings, lengths: bench.contexts }, stop, onRun),
  );
  const acceptance = await ifWanted("acceptance", async (onRun) => {
    if (model.adapter === null || bench.weights === "random") return null;
    const temperatures = bench.temperature === null ? [0, 0.7] : [bench.temperature];
    return measureAcceptance(model, { ...settings, temperatures }, stop, onRun);
  });
  // Before a second engine is there. maxRSS is in KiB.
  const peakMemory = process.resourceUsage().maxRSS * 1024;
  const decoded = await ifWanted("decode", (onRun) => measureDecode(model, settings, stop, onRun));
  const guessed = await ifWanted("guesses", (onRun) => measureGuesses(model, settings, stop, onRun));
  const peerOptions = bench.peer;
  const peer = await ifWanted("peer", async (onRun) =>
    peerOptions === null ? null : measurePeer(model, peerOptions, { ...settings, lengths: bench.prefill }, stop, onRun),
  );
  const reports = await ifWanted("reports", (onRun) => measureReports(model, settings, stop, onRun));
  const masks = await ifWanted("masks", (onRun) => measureMasks(model.folder, bench.rounds, onRun));
  const weightReading = await ifWanted("bandwidth", (onRun) => measureWeightReading(model, settings, stop, onRun));
  return {
    decode: decoded?.speeds ?? null,
    prefill: prefill?.speeds ?? null,
    contexts: contexts?.speeds ?? null,
    acceptance,
    guesses: guessed?.speeds ?? null,
    peer: peer?.speeds ?? null,
    masks,
    weightReading,
    peakMemory,
    ratios: [
      ...[decoded, prefill, contexts, guessed, peer].flatMap((section) => section?.ratios ?? []),
      ...(reports ?? []),
    ],
  };
}

/** The largest run that will be measured, so that its memory counts and none is allocated while the clock runs. */
async function warmUp(
  model: BenchModel,
  settings: EngineBench & { readonly temperature: number },
  stop: AbortSignal,
): Promise<void> {
  const streams = settings.only.includes("decode") ? Math.max(...settings.streams) : 1;
  await decode(model, { streams, way: model.bestWay }, 0, settings, stop);
}

function soak(bench: EngineBench, stop: AbortSignal, onProgress: OnProgress): Promise<Soak> {
  return measureSoak(bench, stop, (fraction) => onProgress(`soak, ${bench.clients} clients`, fraction));
}

/** The whole server over the folder: routes, socket, engine. */
async function measureHealth(bench: EngineBench, stop: AbortSignal, onProgress: OnProgress): Promise<HealthLatency> {
  stop.throwIfAborted();
  onProgress("health", 1 - 1 / bench.only.length);
  const environment = { HOST: "127.0.0.1", PORT: "0", DRAIN_SECONDS: "0" };
  const threads = bench.threads === undefined ? undefined : String(bench.threads);
  const app = await startApp(parseServeConfig({ model: bench.folder, threads }, environment));
  try {
    const served = defaultServedModel(await app.ready());
    if (served === null) throw new Error("no model is ready although all are loaded");
    const prompt = bench.questions[0] ?? "";
    return await measureHealthLatency(
      app.url,
      { model: served.id, prompt, streams: healthStreams, seconds: bench.seconds },
      stop,
    );
  } finally {
    await app.stop();
  }
}
