import { type IncomingHttpHeaders, request } from "node:http";
import OpenAI from "openai";
import type { Engine } from "../../src/engine/engine.js";
import { EngineRegistry } from "../../src/engine/engine-registry.js";
import { RunningRequests } from "../../src/server/generate/running-requests.js";
import { type ConnectionLimits, listen } from "../../src/server/http-server.js";
import { createServerApp } from "../../src/server/server-app.js";
import { type TestEdgeOptions, testEdge } from "../server/edge/test-edge.js";
import { idleParts } from "../server/idle-parts.js";
import { checkingFetch, checkTraffic } from "./own-document.js";

export interface TestServer {
  readonly url: string;
  readonly port: number;
  readonly running: RunningRequests;
  /** What the server logged as its own failures. */
  readonly logged: unknown[];
  /** The records of its log, all of them. */
  readonly lines: Record<string, unknown>[];
  readonly openai: OpenAI;
  /** For clients: holds what it carries against the server's own description. */
  readonly fetch: typeof fetch;
  /** What that fetch found, to be empty. */
  readonly departures: readonly Error[];
  /** Sends bytes and reads bytes; nothing in between parses or retries. */
  exchange(path: string, options?: ExchangeOptions): Promise<Exchange>;
  chat(body: object | string | Buffer, options?: ExchangeOptions): Promise<Exchange>;
  post(path: string, body: object | string | Buffer, options?: ExchangeOptions): Promise<Exchange>;
  shutdown(drainMs: number): Promise<void>;
}

interface ExchangeOptions {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Buffer;
  readonly signal?: AbortSignal;
  /** Called with all text so far whenever bytes arrive. */
  readonly onText?: (text: string) => void;
}

export interface Exchange {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
}

/** The real routes on a real socket of any free port, over whatever engines a test brings. */
export async function startTestServer(
  engines: readonly Engine[],
  options: {
    readonly maxBodyBytes?: number;
    readonly keepAliveMs?: number;
    readonly requestTimeoutMs?: number;
    readonly edge?: TestEdgeOptions;
    readonly connections?: Partial<ConnectionLimits>;
  } = {},
): Promise<TestServer> {
  const running = new RunningRequests({ timeoutMs: options.requestTimeoutMs ?? null });
  const { edge, observe, log, lines } = testEdge(engines, options.edge);
  const logged: unknown[] = [];
  const registry = new EngineRegistry(engines, { observe });
  const routes = createServerApp({
    ...idleParts(registry),
    registry,
    running,
    limits: {
      maxBodyBytes: options.maxBodyBytes ?? 200_000,
      keepAliveMs: options.keepAliveMs ?? 10_000,
      maxRequestTokens: 65_536,
    },
    edge,
    startedAt: Math.floor(Date.now() / 1000),
    logError: (requestId, error) => {
      logged.push(error);
      log.error({ requestId, err: error }, "A request failed.");
    },
  });
  const server = await listen((incoming, bindings) => routes.fetch(incoming, bindings), {
    host: "127.0.0.1",
    port: 0,
    running,
    limits: options.connections ?? {},
  });
  const exchange = async (path: string, options: ExchangeOptions = {}) => {
    const answer = await exchangeBytes(server.url + path, options);
    checkTraffic({
      method: options.method ?? "GET",
      path,
      requestBody: options.body?.toString() ?? null,
      status: answer.status,
      contentType: answer.headers["content-type"] ?? "",
      text: answer.text,
    });
    return answer;
  };
  const post: TestServer["post"] = (path, body, options) =>
    exchange(path, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: typeof body === "string" || Buffer.isBuffer(body) ? body : JSON.stringify(body),
      ...options,
    });
  const departures: Error[] = [];
  const fetch = checkingFetch(departures);
  return {
    url: server.url,
    port: server.port,
    running,
    logged,
    lines,
    openai: new OpenAI({ baseURL: `${server.url}/v1`, apiKey: "none", maxRetries: 0, fetch }),
    fetch,
    departures,
    exchange,
    chat: (body, options) => post("/v1/chat/completions", body, options),
    post,
    shutdown: (drainMs) => server.shutdown(drainMs),
  };
}

function exchangeBytes(url: string, { onText, body, ...options }: ExchangeOptions): Promise<Exchange> {
  return new Promise((resolve, reject) => {
    const sent = request(url, { method: "GET", ...options }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => {
        chunks.push(chunk);
        onText?.(Buffer.concat(chunks).toString("utf8"));
      });
      response.on("error", reject);
      response.on("end", () =>
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          text: Buffer.concat(chunks).toString("utf8"),
        }),
      );
    });
    sent.on("error", reject);
    sent.end(body);
  });
}

/** Resolves once a stream that `onText` listens to has had two comments: a wait that no slow machine makes too short. */
export function untilCommented(): { readonly promise: Promise<void>; readonly onText: (text: string) => void } {
  let resolve = () => {};
  const promise = new Promise<void>((done) => {
    resolve = done;
  });
  return {
    promise,
    onText: (text) => text.split("\n\n").filter((frame) => frame.startsWith(":")).length >= 2 && resolve(),
  };
}

/** A chunk as the wire has it; every key is looked at by some test. */
export interface WireChunk {
  readonly id: string;
  readonly object: string;
  readonly created: number;
  readonly model: string;
  readonly system_fingerprint: string;
  readonly choices: {
    readonly index: number;
    readonly delta: { readonly role?: string; readonly content?: string };
    readonly finish_reason: string | null;
  }[];
  readonly usage?: WireUsage | null;
  readonly steering?: object | null;
}

export interface WireUsage {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly total_tokens: number;
  readonly prompt_tokens_details: { readonly cached_tokens: number };
}

/** Frames between blank lines, as the bytes have them. */
export function framesOf({ text }: Exchange): readonly string[] {
  return text.split("\n\n").filter((frame) => frame !== "");
}

/** The JSON of all frames but comments and `[DONE]`. */
export function chunksOf(answer: Exchange): readonly WireChunk[] {
  return framesOf(answer)
    .filter((frame) => frame.startsWith("data: ") && frame !== "data: [DONE]")
    .map((frame) => JSON.parse(frame.slice("data: ".length)) as WireChunk);
}

export function streamedText(answer: Exchange): string {
  return chunksOf(answer)
    .map(({ choices }) => choices[0]?.delta.content ?? "")
    .join("");
}

export interface WireAnswer {
  readonly id: string;
  readonly model: string;
  readonly system_fingerprint: string;
  readonly choices: {
    readonly index: number;
    readonly message: { readonly role: string; readonly content: string };
    readonly finish_reason: string;
  }[];
  readonly usage: WireUsage;
  readonly steering: object | null;
}

export function answerOf({ text }: Exchange): WireAnswer {
  return JSON.parse(text) as WireAnswer;
}

export function errorOf({ text }: Exchange): { message: string; type: string; param: string | null; code: string } {
  return (JSON.parse(text) as { error: { message: string; type: string; param: string | null; code: string } }).error;
}
