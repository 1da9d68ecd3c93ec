import type { Engine } from "../../engine/engine.js";
import type { EngineStatus } from "../../engine/engine-status.js";
import type { GenerationRequest } from "../../engine/generation-request.js";
import { ToastError } from "../../errors.js";

/** What the engine did while every stream of a run was decoding; of a run that is too short to tell, all of it. */
export interface StepFigures {
  readonly forwards: number;
  /** Decided tokens: rows of the pass that has the last word. */
  readonly tokens: number;
  readonly graphMs: number;
  readonly stepMs: number;
}

/** One run of several streams that start together. */
export interface StreamRun {
  /** One a stream. */
  readonly promptTokens: readonly number[];
  /** One a stream: from the request to its first text. */
  readonly firstTokenMs: readonly number[];
  /** All streams together, while every one of them was decoding. */
  readonly tokensPerSecond: number;
  /** In the same time: from one text of a stream to its next, by the tokens in it. */
  readonly tokenGapsMs: readonly number[];
  readonly steps: StepFigures;
  /** Of the whole run: every draft in it is decided at its end. */
  readonly drafts: EngineStatus["drafts"];
}

interface Arrival {
  readonly at: number;
  readonly tokens: number;
}

/** The time in which all streams decode, while it is being found. */
interface Watch {
  /** Streams without a token yet. */
  waiting: number;
  begun: Promise<EngineStatus> | null;
  ended: Promise<EngineStatus> | null;
  endedAt: number;
}

/**
 * A model so small that it is done before the question how far it is reaches it is judged by its whole run, prompts and
 * all.
 */
const fewestTokens = 8;

/**
 * Starts all requests at once. Time is taken from the moment when each has its first token to the moment when one has
 * its last: prompts are computed one after the other, and would else be counted as slow decoding.
 * @param requests of one engine that does nothing else, all plain or all steered.
 * @param stop ends the run with its reason.
 * @throws ToastError as `Engine.generate`, and `invalid_option` when there is no moment at which all streams run.
 */
export async function runStreams(
  engine: Engine,
  requests: readonly GenerationRequest[],
  stop: AbortSignal,
): Promise<StreamRun> {
  const before = await engine.inspect();
  const startedAt = performance.now();
  const watch: Watch = { waiting: requests.length, begun: null, ended: null, endedAt: Number.POSITIVE_INFINITY };
  const follow = async (request: GenerationRequest) => {
    const generation = await engine.generate(request, stop);
    const arrivals: Arrival[] = [];
    for await (const event of generation.events) {
      if (event.kind === "delta") {
        arrivals.push({ at: performance.now(), tokens: event.tokens });
        if (arrivals.length === 1 && --watch.waiting === 0) watch.begun = statusOf(engine);
      } else if (event.kind === "finished" && watch.ended === null) {
        watch.endedAt = performance.now();
        watch.ended = statusOf(engine);
      }
    }
    return { promptTokens: generation.promptTokens, arrivals };
  };
  const streams = await Promise.all(requests.map(follow));
  stop.throwIfAborted();
  const after = await engine.inspect();
  const { begun, ended, endedAt } = watch;
  const begunAt = Math.max(...streams.map(({ arrivals }) => arrivals[0]?.at ?? Number.POSITIVE_INFINITY));
  if (begun === null || ended === null || begunAt >= endedAt) {
    const message = `${requests.length} streams were never running all at once: ask for fewer --streams or more --tokens.`;
    throw new ToastError("invalid_option", message);
  }
  const steering = requests[0]?.steering.kind ?? "plain";
  const decoding = stepsBetween(await begun, await ended, steering);
  const tokenGapsMs = streams.flatMap(({ arrivals }) => gapsWithin(arrivals, begunAt, endedAt));
  return {
    promptTokens: streams.map(({ promptTokens }) => promptTokens),
    firstTokenMs: streams.map(({ arrivals }) => (arrivals[0]?.at ?? Number.NaN) - startedAt),
    tokensPerSecond: (1000 * tokenGapsMs.length) / (endedAt - begunAt),
    tokenGapsMs,
    steps: decoding.tokens < fewestTokens ? stepsBetween(before, after, steering) : decoding,
    drafts: {
      proposed: after.drafts.proposed - before.drafts.proposed,
      accepted: after.drafts.accepted - before.drafts.accepted,
    },
  };
}

/** To be awaited later, or never when the run ends before: that it fails then is no news. */
function statusOf(engine: Engine): Promise<EngineStatus> {
  const status = engine.inspect();
  status.catch(() => {});
  return status;
}

/** Milliseconds that each token between the two moments took; a text of several tokens counts for each of them. */
function gapsWithin(arrivals: readonly Arrival[], from: number, to: number): readonly number[] {
  return arrivals.flatMap(({ at, tokens }, index) => {
    const previous = arrivals[index - 1];
    if (previous === undefined || at <= from || at > to) return [];
    return Array.from({ length: tokens }, () => (at - previous.at) / tokens);
  });
}

function stepsBetween(
  before: EngineStatus,
  after: EngineStatus,
  steering: GenerationRequest["steering"]["kind"],
): StepFigures {
  const lane = steering === "plain" ? "bottomUp" : "steered";
  return {
    forwards: after.forwards - before.forwards,
    tokens: after.rows[lane] - before.rows[lane],
    graphMs: after.time.graphMs - before.time.graphMs,
    stepMs: after.time.stepMs - before.time.stepMs,
  };
}

/** Milliseconds of one forward with all that the engine does around it. */
export function msPerStep({ steps }: StreamRun): number {
  return steps.stepMs / steps.forwards;
}

/** Share of the steps' time that is not spent in graphs: scheduling, sampling, text. */
export function engineShare({ steps }: StreamRun): number {
  return (steps.stepMs - steps.graphMs) / steps.stepMs;
}
