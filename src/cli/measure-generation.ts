import type { Engine } from "../engine/engine.js";
import type { GenerationRequest, ModelInfo } from "../engine/messages.js";
import type { Schedule } from "../engine/scheduler.js";
import { median } from "./statistics.js";

/** How fast text comes out of one engine, one way of steering, one number of streams. */
export interface GenerationSpeed {
  /** The served id that this is the speed of. */
  readonly model: string;
  /** How the two lanes of a steered sequence advance; null for the plain base, which has one. */
  readonly schedule: Schedule | null;
  readonly streams: number;
  readonly promptTokens: number;
  /** Generated in all, over every repetition. */
  readonly tokens: number;
  /** All streams together; from the first request to the last token. */
  readonly tokensPerSecond: number;
  /** Median over requests: from the first token to the last, by the tokens between. */
  readonly msPerToken: number;
  /** Median over requests. */
  readonly firstTokenMs: number;
  /** All forwards, those of the prompts too, by the tokens generated. */
  readonly forwardsPerToken: number;
  /** Share of the drafts that the steered pass chose as well; null where nothing was drafted. */
  readonly acceptance: number | null;
}

export interface GenerationSettings {
  readonly prompt: string;
  readonly tokens: number;
  readonly repetitions: number;
}

/** Runs the same requests with each of `adapters` (null: plain); one request of each before, unmeasured. */
export async function measureGeneration(
  engine: Engine,
  model: ModelInfo,
  adapters: readonly (string | null)[],
  settings: GenerationSettings & { readonly streams: number; readonly schedule: Schedule },
): Promise<readonly GenerationSpeed[]> {
  const results: GenerationSpeed[] = [];
  for (const adapter of adapters) {
    await timeRequest(engine, requestFor(settings, model, adapter, 0));
    const before = await engine.inspect();
    const timings: Timing[] = [];
    let elapsedMs = 0;
    for (let repetition = 0; repetition < settings.repetitions; repetition++) {
      const startedAt = performance.now();
      const seeds = Array.from({ length: settings.streams }, (_, stream) => 1 + repetition * settings.streams + stream);
      timings.push(
        ...(await Promise.all(seeds.map((seed) => timeRequest(engine, requestFor(settings, model, adapter, seed))))),
      );
      elapsedMs += performance.now() - startedAt;
    }
    const after = await engine.inspect();
    const proposed = after.drafts.proposed - before.drafts.proposed;
    const tokens = timings.reduce((sum, timing) => sum + timing.tokens, 0);
    results.push({
      model: adapter === null ? model.id : `${model.id}:${adapter}`,
      schedule: adapter === null ? null : settings.schedule,
      streams: settings.streams,
      promptTokens: timings[0]?.promptTokens ?? 0,
      tokens,
      tokensPerSecond: (1000 * tokens) / elapsedMs,
      msPerToken: median(timings.flatMap(({ msPerToken }) => (msPerToken === null ? [] : [msPerToken]))),
      firstTokenMs: median(timings.map(({ firstTokenMs }) => firstTokenMs)),
      forwardsPerToken: (after.forwards - before.forwards) / tokens,
      acceptance: proposed === 0 ? null : (after.drafts.accepted - before.drafts.accepted) / proposed,
    });
  }
  return results;
}

interface Timing {
  readonly promptTokens: number;
  readonly tokens: number;
  readonly firstTokenMs: number;
  /** Null for an answer of fewer than two tokens. */
  readonly msPerToken: number | null;
}

async function timeRequest(engine: Engine, request: GenerationRequest): Promise<Timing> {
  const startedAt = performance.now();
  const generation = await engine.generate(request, new AbortController().signal);
  let firstAt: number | null = null;
  let tokens = 0;
  for await (const event of generation.events) {
    firstAt ??= performance.now();
    if (event.kind === "finished") {
      tokens = event.usage.completionTokens;
    }
  }
  const endedAt = performance.now();
  return {
    promptTokens: generation.promptTokens,
    tokens,
    firstTokenMs: (firstAt ?? endedAt) - startedAt,
    msPerToken: tokens < 2 || firstAt === null ? null : (endedAt - firstAt) / (tokens - 1),
  };
}

/** Sampled at temperature 1, by seed: greedy text of a small model repeats itself or ends at once. */
function requestFor(
  { prompt, tokens }: GenerationSettings,
  model: ModelInfo,
  adapter: string | null,
  seed: number,
): GenerationRequest {
  return {
    prompt: { kind: "chat", messages: [{ role: "user", content: prompt }] },
    steering:
      adapter === null ? { kind: "plain" } : { kind: "steered", adapter, strength: 1, layers: [0, model.layers - 1] },
    sampling: {
      temperature: 1,
      topP: 1,
      topK: null,
      minP: 0,
      presencePenalty: 0,
      frequencyPenalty: 0,
      repetitionPenalty: 1,
      seed,
    },
    choices: 1,
    maxTokens: tokens,
    stopStrings: [],
    ignoreEos: false,
  };
}
