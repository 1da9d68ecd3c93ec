import { Agent, request } from "node:http";
import { setTimeout as wait } from "node:timers/promises";
import { median, quantile } from "./statistics.js";

/** How long GET /health takes over a socket while other requests generate. */
export interface HealthLatency {
  readonly streams: number;
  readonly samples: number;
  readonly medianMs: number;
  readonly p95Ms: number;
  readonly maxMs: number;
  /** Streams that came to their end meanwhile: proof that the server was at work. */
  readonly answersCompleted: number;
}

/** Milliseconds between two questions. */
const pauseMs = 20;

/**
 * Keeps `streams` streamed chat completions running against the server and asks for its health meanwhile.
 * @param stop ends it with its reason.
 * @throws Error when the server refuses the streams: an idle server's latency would be no answer.
 */
export async function measureHealthLatency(
  url: string,
  settings: { readonly model: string; readonly prompt: string; readonly streams: number; readonly seconds: number },
  stop: AbortSignal,
): Promise<HealthLatency> {
  const agent = new Agent({ keepAlive: true });
  const load = new AbortController();
  const body = JSON.stringify({
    model: settings.model,
    stream: true,
    ignore_eos: true,
    max_tokens: 128,
    messages: [{ role: "user", content: settings.prompt }],
  });
  let answersCompleted = 0;
  let failure: Error | null = null;
  const streams = Array.from({ length: settings.streams }, async () => {
    while (!load.signal.aborted) {
      try {
        const { status } = await exchange(agent, `${url}/v1/chat/completions`, load.signal, body);
        if (status !== 200) {
          throw new Error(`POST ${url}/v1/chat/completions answered ${status}.`);
        }
        answersCompleted += 1;
      } catch (error) {
        if (!load.signal.aborted) {
          failure = error instanceof Error ? error : new Error(String(error));
          load.abort();
        }
      }
    }
  });
  // The first prefill starts before the first question.
  await wait(200);
  const samples: number[] = [];
  const endAt = performance.now() + settings.seconds * 1000;
  while (performance.now() < endAt && !load.signal.aborted && !stop.aborted) {
    const { milliseconds } = await exchange(agent, `${url}/health`, new AbortController().signal);
    samples.push(milliseconds);
    await wait(pauseMs);
  }
  load.abort();
  await Promise.all(streams);
  agent.destroy();
  stop.throwIfAborted();
  if (failure !== null) {
    throw failure;
  }
  return {
    streams: settings.streams,
    samples: samples.length,
    medianMs: median(samples),
    p95Ms: quantile(samples, 0.95),
    maxMs: Math.max(...samples),
    answersCompleted,
  };
}

/** node:http rather than fetch, whose own work per request would be most of what is measured. */
function exchange(
  agent: Agent,
  url: string,
  signal: AbortSignal,
  body?: string,
): Promise<{ readonly status: number; readonly milliseconds: number }> {
  return new Promise((resolve, reject) => {
    const startedAt = performance.now();
    const method = body === undefined ? "GET" : "POST";
    const sent = request(
      url,
      { agent, method, signal, headers: { "content-type": "application/json" } },
      (response) => {
        response.on("error", reject);
        response.on("end", () =>
          resolve({ status: response.statusCode ?? 0, milliseconds: performance.now() - startedAt }),
        );
        response.resume();
      },
    );
    sent.on("error", reject);
    sent.end(body);
  });
}
