import { setTimeout as wait } from "node:timers/promises";
import { type RunningApp, startApp } from "../../app.js";
import type { EngineStatus } from "../../engine/engine-status.js";
import { parseServeConfig } from "../../settings/serve-config.js";
import { median } from "./statistics.js";

/** What a server is like after many clients have come, gone and hung up. */
export interface Soak {
  readonly clients: number;
  readonly minutes: number;
  /** Streams read to their end. */
  readonly answers: number;
  /** Streams that their client walked away from. */
  readonly hungUp: number;
  /** Anything else; the first few, each once. */
  readonly errors: number;
  readonly errorReasons: readonly string[];
  /** Resident bytes of the process: medians of the second and of the last fifth of the time. */
  readonly memory: { readonly warm: number; readonly end: number };
  /** Once every client is gone. */
  readonly idle: EngineStatus;
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
const samplePauseMs = 1000;

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
    const tally = { answers: 0, hungUp: 0, errors: [] as string[] };
    const over = () => performance.now() >= endAt || stop.aborted;
    const clients = Array.from({ length: settings.clients }, async (_, client) => {
      const next = randomOf(settings.seed * 1000 + client);
      while (!over()) {
        const outcome = await ask(
          app.url,
          bodyOf(next, models, settings.questions),
          next() < 0.3 ? next() * 400 : null,
        );
        if (outcome === "answered") tally.answers++;
        else if (outcome === "hung up") tally.hungUp++;
        else tally.errors.push(outcome);
        await wait(next() * 150);
      }
    });
    const samples: number[] = [];
    const startedAt = performance.now();
    while (!over()) {
      samples.push(process.memoryUsage.rss());
      onRun((performance.now() - startedAt) / (endAt - startedAt));
      await wait(Math.min(samplePauseMs, Math.max(1, endAt - performance.now())));
    }
    await Promise.all(clients);
    stop.throwIfAborted();
    const fifth = (from: number) =>
      median(samples.slice(Math.floor(samples.length * from), Math.ceil(samples.length * (from + 0.2))));
    return {
      clients: settings.clients,
      minutes: settings.minutes,
      answers: tally.answers,
      hungUp: tally.hungUp,
      errors: tally.errors.length,
      errorReasons: [...new Set(tally.errors)].slice(0, 3),
      memory: { warm: fifth(0.2), end: fifth(0.8) },
      idle: await idleStatus(app),
    };
  } finally {
    await app.stop();
  }
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

/** @param hangUpAfterMs null reads to the end. @returns how it went; a failure as its reason. */
async function ask(url: string, body: object, hangUpAfterMs: number | null): Promise<string> {
  const controller = new AbortController();
  const timer = hangUpAfterMs === null ? undefined : setTimeout(() => controller.abort(), hangUpAfterMs);
  try {
    const response = await fetch(`${url}/v1/chat/completions`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
      signal: controller.signal,
    });
    const text = await response.text();
    if (!response.ok) return `${response.status} ${text.slice(0, 200)}`;
    return text.endsWith("data: [DONE]\n\n") && !text.includes('{"error"') ? "answered" : "a stream broke off";
  } catch (error) {
    if (controller.signal.aborted) return "hung up";
    return error instanceof Error ? error.message : String(error);
  } finally {
    clearTimeout(timer);
  }
}

function bodyOf(next: () => number, models: readonly string[], questions: readonly string[]): object {
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
