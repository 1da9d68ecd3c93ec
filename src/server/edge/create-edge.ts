import type { Engine, Generate } from "../../engine/engine.js";
import { ToastError } from "../../errors.js";
import type { ServeConfig } from "../../settings/serve-config.js";
import { isLoopback } from "./access-policy.js";
import { ApiKeys } from "./api-keys.js";
import { chargeTokens, type Edge } from "./edge.js";
import { Metrics } from "./metrics.js";
import { observed } from "./observed-generations.js";
import { withQueueTimeout } from "./queue-timeout.js";
import { type CallerLimiter, RateLimiter } from "./rate-limiter.js";
import type { Log } from "./request-log.js";
import type { Tracing } from "./tracing.js";
import { withCaller } from "./with-caller.js";

/** The settings that the edge goes by. */
export type EdgeConfig = Pick<
  ServeConfig,
  | "host"
  | "corsOrigins"
  | "allowedHosts"
  | "metricsAccess"
  | "requestsPerMinute"
  | "tokensPerMinute"
  | "maxConcurrent"
  | "queueTimeoutMs"
  | "logPrompts"
  | "servedNames"
>;

export interface EdgeParts {
  readonly keys: ApiKeys;
  /** Those that are served now. */
  readonly engines: () => readonly Engine[];
  readonly log: Log;
  readonly tracing: Tracing | null;
  readonly processMetrics: boolean;
  /** Default: one that counts in this process. */
  readonly limiter?: CallerLimiter;
}

/**
 * Puts the edge together.
 * @returns with it, what requests get to see of an engine's `generate`: generations that are measured, limited and
 *   written down.
 * @throws ToastError `invalid_option` when settings contradict.
 */
export function createEdge(
  config: EdgeConfig,
  { keys, engines, log, tracing, processMetrics, limiter = new RateLimiter(config) }: EdgeParts,
): { readonly edge: Edge; readonly observe: (generate: Generate, base: string) => Generate } {
  const { corsOrigins, allowedHosts, metricsAccess, queueTimeoutMs, logPrompts, servedNames } = config;
  if (metricsAccess === "keyed" && !keys.required) {
    throw new ToastError(
      "invalid_option",
      "--metrics-access keyed needs keys: give --keys-file, --api-key or --admin-key.",
    );
  }
  const localOnly = isLoopback(config.host);
  if (!keys.required && !localOnly) {
    log.warn({ host: config.host }, openDoors);
  } else if (keys.required && !keys.hasAdmin) {
    log.info("No admin key is set: what changes the served models is closed.");
  }
  const metrics = new Metrics(engines, { processMetrics, servedNames });
  const listeners = [metrics, chargeTokens(limiter)];
  return {
    edge: { policy: { localOnly, corsOrigins, allowedHosts, metricsAccess }, keys, limiter, metrics, log, tracing },
    observe: (generate, base) =>
      withQueueTimeout(observed(withCaller(generate), base, { listeners, keepText: logPrompts }), queueTimeoutMs),
  };
}

const openDoors =
  "NO API KEY IS SET, AND OTHER MACHINES CAN REACH THIS SERVER: whoever does can use it. Set keys with --keys-file (see 'toast-serve keys --help'), or listen on 127.0.0.1. What changes the served models is closed meanwhile.";

/**
 * The keys of a configuration.
 * @throws ToastError `file_missing`, `invalid_config`
 */
export function openKeys(
  { apiKeys, adminKeys, keysFile }: Pick<ServeConfig, "apiKeys" | "adminKeys" | "keysFile">,
  log: Log,
): Promise<ApiKeys> {
  return ApiKeys.open({
    userKeys: apiKeys,
    adminKeys,
    file: keysFile,
    onReload: (count) => log.info({ keys: count }, "The keys file has changed and was read again."),
    onError: (error) =>
      log.error({ err: error }, "The keys file has changed and cannot be read; the keys of before hold."),
  });
}
