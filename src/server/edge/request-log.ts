import { type Logger, type LoggerOptions, pino } from "pino";
import type { GenerationRequest } from "../../engine/generation-request.js";
import type { ServeConfig } from "../../settings/serve-config.js";
import { prettyLine } from "./pretty-line.js";
import type { GenerationFacts, RequestRecord } from "./request-record.js";

export type Log = Pick<Logger, "trace" | "debug" | "info" | "warn" | "error" | "fatal">;

/** @param write takes one line, without its end. */
export function createLog(
  level: ServeConfig["logLevel"],
  format: "json" | "pretty",
  write: (line: string) => void,
): Log {
  const options: LoggerOptions = {
    level,
    // Neither process id nor host name: whoever runs the process knows them.
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
    serializers: { err: pino.stdSerializers.err },
  };
  return pino(options, {
    write: (line: string) => write(format === "json" ? line.trimEnd() : prettyLine(line)),
  });
}

/** Asked for every few seconds by machines; of interest to nobody while all is well. */
const probes: ReadonlySet<string> = new Set(["/health", "/livez", "/readyz", "/metrics"]);

/** One line for each request, at its end. */
export function logRequest(log: Log, record: RequestRecord, traceId: string | null): void {
  const line = { ...requestFields(record), ...(traceId === null ? {} : { traceId }) };
  const message = `${record.method} ${record.route} ${record.status}`;
  if (record.status >= 500 && !probes.has(record.route)) log.error(line, message);
  else if (probes.has(record.route)) log.debug(line, message);
  else log.info(line, message);
}

function requestFields(record: RequestRecord) {
  const { id, method, route, status, caller, errorCode, arrivedAt, endedAt, generations } = record;
  const [first] = generations;
  return {
    requestId: id,
    method,
    route,
    status,
    durationMs: rounded(endedAt - arrivedAt),
    ...(caller?.kind === "key" ? { key: caller.name } : {}),
    ...(errorCode === null ? {} : { error: errorCode }),
    ...(first === undefined ? {} : generationFields(record, generations, first)),
  };
}

function generationFields(
  { arrivedAt }: RequestRecord,
  generations: readonly GenerationFacts[],
  first: GenerationFacts,
) {
  const { steering } = first.request;
  const total = (read: (facts: GenerationFacts) => number) => generations.reduce((sum, facts) => sum + read(facts), 0);
  return {
    model: first.modelName,
    ...(steering.kind === "steered" ? { adapter: steering.adapter, strength: steering.strength } : {}),
    ...(steering.kind === "plain" || steering.vectors.length === 0
      ? {}
      : { vectors: steering.vectors.map(({ name, strength }) => ({ name, strength })) }),
    promptTokens: total((facts) => facts.promptTokens),
    cachedTokens: total((facts) => facts.cachedTokens),
    completionTokens: total((facts) => facts.completionTokens),
    ...(first.startedAt === null ? {} : { queueMs: rounded(first.startedAt - first.begunAt) }),
    ...(first.firstTokenAt === null ? {} : { ttftMs: rounded(first.firstTokenAt - arrivedAt) }),
    // Inputs of embeddings may be thousands, and all end alike.
    finished: generations.flatMap(({ request, reasons }) => (request.pooling === undefined ? reasons : [])),
    ...(first.text === null
      ? {}
      : { prompts: generations.map(({ request }) => promptOf(request)), texts: generations.map(({ text }) => text) }),
  };
}

function promptOf({ prompt }: GenerationRequest): unknown {
  switch (prompt.kind) {
    case "chat":
      return prompt.messages;
    case "text":
      return prompt.text;
    case "tokens":
      return prompt.ids;
  }
}

function rounded(milliseconds: number): number {
  return Math.round(milliseconds * 10) / 10;
}
