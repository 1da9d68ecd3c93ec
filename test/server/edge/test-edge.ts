import type { Engine } from "../../../src/engine/engine.js";
import { ApiKeys, type ApiKeysOptions } from "../../../src/server/edge/api-keys.js";
import { createEdge, type EdgeConfig } from "../../../src/server/edge/create-edge.js";
import { createLog } from "../../../src/server/edge/request-log.js";
import type { Tracing } from "../../../src/server/edge/tracing.js";

export interface TestEdgeOptions extends Partial<EdgeConfig> {
  readonly keys?: Partial<ApiKeysOptions>;
  readonly tracing?: Tracing | null;
}

/** The edge of a server that needs no key and limits nothing, but for what a test sets; `lines` is its log. */
export function testEdge(engines: readonly Engine[], { tracing = null, keys, ...config }: TestEdgeOptions = {}) {
  const lines: Record<string, unknown>[] = [];
  const log = createLog("debug", "json", (line) => lines.push(JSON.parse(line) as Record<string, unknown>));
  const defaults: EdgeConfig = {
    host: "127.0.0.1",
    corsOrigins: null,
    allowedHosts: [],
    metricsAccess: "open",
    requestsPerMinute: null,
    tokensPerMinute: null,
    maxConcurrent: null,
    queueTimeoutMs: null,
    logPrompts: false,
    servedNames: [],
  };
  const ring = new ApiKeys({ userKeys: [], adminKeys: [], file: null, maxAgeMs: 0, ...keys });
  const parts = { keys: ring, engines: () => engines, log, tracing, processMetrics: false };
  return { ...createEdge({ ...defaults, ...config }, parts), log, lines };
}
