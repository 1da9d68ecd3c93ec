import type { Engine } from "../../src/engine/engine.js";
import { EngineRegistry } from "../../src/engine/engine-registry.js";
import type { EngineWatch } from "../../src/engine/engine-watch.js";
import { RunningRequests } from "../../src/server/generate/running-requests.js";
import { createServerApp } from "../../src/server/server-app.js";
import { type TestEdgeOptions, testEdge } from "./edge/test-edge.js";
import { idleParts } from "./idle-parts.js";
import { ScriptedEngine } from "./scripted-engine.js";

/** The routes over a scripted engine, and what a test may look at behind them. */
export function buildApp(
  options: {
    engines?: readonly Engine[];
    maxBodyBytes?: number;
    keepAliveMs?: number;
    maxRequestTokens?: number;
    edge?: TestEdgeOptions;
    watch?: EngineWatch;
  } = {},
) {
  const engine = options.engines?.find((one) => one instanceof ScriptedEngine) ?? new ScriptedEngine();
  const engines = options.engines ?? [engine];
  const running = new RunningRequests();
  const { edge, observe, lines } = testEdge(engines, options.edge);
  const logged: unknown[] = [];
  const registry = new EngineRegistry(engines, {
    observe,
    ...(options.watch === undefined ? {} : { watch: options.watch }),
  });
  const app = createServerApp({
    ...idleParts(registry),
    registry,
    running,
    limits: {
      maxBodyBytes: options.maxBodyBytes ?? 10_000,
      keepAliveMs: options.keepAliveMs ?? 10_000,
      maxRequestTokens: options.maxRequestTokens ?? 65_536,
    },
    edge,
    startedAt: 1_700_000_000,
    logError: (_, error) => logged.push(error),
  });
  const chat = (body: object | string, init: RequestInit = {}) =>
    app.request("/v1/chat/completions", {
      method: "POST",
      body: typeof body === "string" ? body : JSON.stringify(body),
      ...init,
    });
  return { app, engine, running, logged, lines, chat };
}

export const question = { model: "tiny:alpaca", messages: [{ role: "user", content: "Who are you?" }] };

/** The data of each event of a stream, `[DONE]` included; comments too. */
export async function framesOf(response: Response): Promise<string[]> {
  return (await response.text()).split("\n\n").filter((frame) => frame !== "");
}
