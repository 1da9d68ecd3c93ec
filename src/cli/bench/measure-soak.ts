import { monitorEventLoopDelay } from "node:perf_hooks";
import { setTimeout as wait } from "node:timers/promises";
import { type RunningApp, startApp } from "../../app.js";
import type { EngineStatus } from "../../engine/engine-status.js";
import { parseServeConfig } from "../../settings/serve-config.js";
import {
  countErrors,
  outcomeOf,
  type SoakErrors,
  type SoakFailure,
  type SoakOutcome,
  unanswered,
} from "./soak-errors.js";
import { median, quantile } from "./statistics.js";

/** What a server is like after many clients have come, gone and hung up. */
export interface Soak {
  readonly clients: number;
  readonly minutes: number;
  /** Read to their end. */
  readonly answers: number;
  /** Those that their client walked away from. */
  readonly hungUp: number;
  /** Anything else, by what it was. */
  readonly errors: readonly SoakErrors[];
  /** Resident bytes of the process: medians of the second and of the last fifth of the time. */
  readonly memory: { readonly warm: number; readonly end: number };
  /** How long the HTTP thread stood still; the clients run in it as well, so it is no less than a server's. */
  readonly standstill: Spread;
  /** How long GET /readyz took, which asks the engine's thread too. */
  readonly ready: Spread;
  /** What a plot is drawn from (scripts/plot_soak.py), in order. */
  readonly samples: readonly SoakSample[];
  /** Once every client is gone. */
  readonly idle: EngineStatus;
}

/** Milliseconds. */
interface Spread {
  readonly p99: number;
  readonly max: number;
}

/** A piece of the soak. */
interface SoakSample {
  /** At its end, since the clients began. */
  readonly seconds: number;
  /** Resident bytes at its end. */
  readonly memory: number;
  /** Milliseconds of the longest standstill of the HTTP thread in it. */
  readonly standstill: number;
  /** Milliseconds of the slowest GET /readyz in it. */
  readonly ready: number;
  /** Answers since the clients began. */
  readonly answers: number;
}

export interface SoakSettings {
  readonly folder: string;
  readonly questions: readonly string[];
  readonly clients: number;
  readonly minutes: number;
  readonly seed: number;
  readonly threads: number | undefined;
}

/** Small, so that it is full and blocks are fought over long before the end. */
const cacheMegabytes = "24";
/** Between two looks at memory and /readyz. */
const lookPauseMs = 1_000;
/** Looks go together where there would be more samples than a plot has room for. */
const mostSamples = 360;
/** Of the timer that finds standstills, in milliseconds: it counts what is beyond. */
const timerMs = 10;

/**
 * Runs a whole server and clients that behave as people do: each asks, reads, now and then walks away in the middle,
 * and asks again, with prompts that begin alike, with and without steering.
 * @param stop ends it with its reason.
 */
export async function measureSoak(
  settings: SoakSettings,
  stop: AbortSignal,
  onRun: (fraction: number) => void,
): Promise<Soak> {
  const environment = { HOST: "127.0.0.1", PORT: "0", DRAIN_SECONDS: "5" };
  const threads = settings.threads === undefined ? undefined : String(settings.threads);
  const app = await startApp(
    parseServeConfig({ model: settings.folder, threads, "cache-mb": cacheMegabytes, "max-running": "8" }, environment),
  );
  try {
    const models = (await app.ready()).map(({ id }) => id);
    const endAt = performance.now() + settings.minutes * 60_000;
    const tally = { answers: 0, hungUp: 0, errors: [] as SoakFailure[] };
    const over = () => performance.now() >= endAt || stop.aborted;
    const clients = Array.from({ length: settings.clients }, async (_, client) => {
      const next = randomOf(settings.seed * 1000 + client);
      while (!over()) {
        const outcome = await ask(
          app.url,
          requestOf(next, models, settings.questions),
          next() < 0.3 ? next() * 400 : null,
        );
        if (outcome === "hung up") tally.hungUp++;
        else if (outcome.kind === "answered") tally.answers++;
        else tally.errors.push(outcome);
        await wait(next() * 150);
      }
    });
    const watch = new SoakWatch(app.url, settings.minutes * 60, () => tally.answers);
    try {
      while (!over()) {
        onRun((await watch.look()) / (settings.minutes * 60));
        await wait(Math.min(lookPauseMs, Math.max(1, endAt - performance.now())));
      }
      await Promise.all(clients);
    } finally {
      watch.end();
    }
    stop.throwIfAborted();
    return {
      clients: settings.clients,
      minutes: settings.minutes,
      answers: tally.answers,
      hungUp: tally.hungUp,
      errors: countErrors(tally.errors),
      ...watch.seen(),
      idle: await idleStatus(app),
    };
  } finally {
    await app.stop();
  }
}

/** Looks at a server while clients use it. */
class SoakWatch {
  readonly #url: string;
  readonly #answers: () => number;
  readonly #sampleSeconds: number;
  readonly #startedAt = performance.now();
  readonly #whole = monitorEventLoopDelay({ resolution: timerMs });
  readonly #piece = monitorEventLoopDelay({ resolution: timerMs });
  readonly #memory: number[] = [];
  readonly #ready: number[] = [];
  readonly #samples: SoakSample[] = [];
  #looksInPiece = 0;

  /** @param seconds of the whole soak. @param answers so far. */
  constructor(url: string, seconds: number, answers: () => number) {
    this.#url = url;
    this.#answers = answers;
    this.#sampleSeconds = seconds / mostSamples;
    this.#whole.enable();
    this.#piece.enable();
  }

  /** @returns seconds since the beginning. @throws Error when the server is not ready */
  async look(): Promise<number> {
    const askedAt = performance.now();
    const response = await fetch(`${this.#url}/readyz`);
    const said = await response.text();
    if (!response.ok) throw new Error(`/readyz is ${response.status} in the middle of the soak: ${said}`);
    this.#ready.push(performance.now() - askedAt);
    this.#memory.push(process.memoryUsage.rss());
    this.#looksInPiece++;
    const seconds = (performance.now() - this.#startedAt) / 1_000;
    if (seconds - (this.#samples.at(-1)?.seconds ?? 0) >= this.#sampleSeconds) this.#endPiece(seconds);
    return seconds;
  }

  end(): void {
    this.#whole.disable();
    this.#piece.disable();
  }

  seen(): Pick<Soak, "memory" | "standstill" | "ready" | "samples"> {
    const memory = this.#memory;
    const fifth = (from: number) =>
      median(memory.slice(Math.floor(memory.length * from), Math.ceil(memory.length * (from + 0.2))));
    return {
      memory: { warm: fifth(0.2), end: fifth(0.8) },
      standstill: { p99: beyondTimer(this.#whole.percentile(99)), max: beyondTimer(this.#whole.max) },
      ready: { p99: quantile(this.#ready, 0.99), max: Math.max(...this.#ready) },
      samples: this.#samples,
    };
  }

  #endPiece(seconds: number): void {
    this.#samples.push({
      seconds,
      memory: this.#memory.at(-1) ?? 0,
      standstill: beyondTimer(this.#piece.max),
      ready: Math.max(...this.#ready.slice(-this.#looksInPiece)),
      answers: this.#answers(),
    });
    this.#piece.reset();
    this.#looksInPiece = 0;
  }
}

/** @param nanoseconds between two of the timer's ticks. @returns milliseconds */
function beyondTimer(nanoseconds: number): number {
  return Math.max(0, nanoseconds / 1e6 - timerMs);
}

/** A client that hung up is noticed within a step; a second is plenty. */
async function idleStatus({ engines }: RunningApp): Promise<EngineStatus> {
  const [engine] = engines;
  if (engine === undefined) throw new Error("the server has no engine");
  for (let tries = 0; tries < 50; tries++) {
    const status = await engine.inspect();
    if (status.running + status.waiting === 0) return status;
    await wait(20);
  }
  return engine.inspect();
}

/** @param hangUpAfterMs null reads to the end. */
async function ask(
  url: string,
  { path, body }: SoakRequest,
  hangUpAfterMs: number | null,
): Promise<SoakOutcome | "hung up"> {
  const controller = new AbortController();
  const timer = hangUpAfterMs === null ? undefined : setTimeout(() => controller.abort(), hangUpAfterMs);
  try {
    const response = await fetch(url + path, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
      signal: controller.signal,
    });
    return await outcomeOf(response);
  } catch (error) {
    return controller.signal.aborted ? "hung up" : unanswered(error);
  } finally {
    clearTimeout(timer);
  }
}

interface SoakRequest {
  readonly path: string;
  readonly body: object;
}

/** Mostly chat; now and then an answer that is bound to a schema of its own, a long text's tokens, or an embedding. */
function requestOf(next: () => number, models: readonly string[], questions: readonly string[]): SoakRequest {
  const chat = chatOf(next, models, questions);
  const [base = ""] = models;
  const kind = next();
  if (kind < 0.05) return { path: "/v1/embeddings", body: { model: base, input: questions.slice(0, 3) } };
  if (kind < 0.1) {
    const prompt = questions.join(" ").repeat(1 + Math.floor(next() * 20));
    return { path: "/tokenize", body: { model: base, prompt } };
  }
  if (kind >= 0.2) return { path: "/v1/chat/completions", body: chat };
  const properties = { [`name_${Math.floor(next() * 1e6)}`]: { type: "string", maxLength: 40 } };
  const schema = { type: "object", properties, required: Object.keys(properties), additionalProperties: false };
  const response_format = { type: "json_schema", json_schema: { name: "answer", schema } };
  return { path: "/v1/chat/completions", body: { ...chat, response_format, ignore_eos: false } };
}

function chatOf(next: () => number, models: readonly string[], questions: readonly string[]): object {
  const pick = <Item>(items: readonly Item[]): Item | undefined => items[Math.floor(next() * items.length)];
  // Prompts grow from the same beginnings, as chats do.
  const start = Math.floor(next() * Math.min(4, questions.length));
  const length = 1 + Math.floor(next() ** 2 * 20);
  const content = Array.from({ length }, (_, at) => questions[(start + at) % questions.length]).join(" ");
  const model = pick(models) ?? "";
  return {
    model,
    messages: [{ role: "user", content }],
    stream: true,
    n: next() < 0.1 ? 2 : 1,
    max_tokens: 1 + Math.floor(next() * 120),
    temperature: pick([0, 0.7, 1]),
    ignore_eos: next() < 0.7,
    ...(model.includes(":") ? { steering: { strength: pick([0, 0.5, 1]) } } : {}),
  };
}

/** xorshift32 behind a mixed seed. @returns draws from 0 (included) to 1. */
function randomOf(seed: number): () => number {
  let state = Math.imul(seed + 1, 0x9e3779b1) | 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}
