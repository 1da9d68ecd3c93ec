import type { Attributes, Context, Tracer } from "@opentelemetry/api";
import { within } from "../within.js";
import type { GenerationFacts, RequestRecord } from "./request-record.js";

/**
 * Sends a trace of each request to a collector. The one file that knows OpenTelemetry, which is loaded only when it is
 * used.
 */
export interface Tracing {
  /** To be called when a request has ended. @returns its trace id, null when its caller wants no trace of it. */
  trace(record: RequestRecord): string | null;
  /** Sends what is left. Never throws: a collector that is away must not hold up a shutdown. */
  close(): Promise<void>;
}

/** Machines ask for these every few seconds; a trace of that tells nothing. */
const untraced: ReadonlySet<string> = new Set(["/health", "/livez", "/readyz", "/metrics"]);

/** How long the last spans may take to leave. */
const closeTimeoutMs = 2_000;

/**
 * @param environment OpenTelemetry's own variables: `OTEL_EXPORTER_OTLP_ENDPOINT` (or `…_TRACES_ENDPOINT`) says where
 *   to send, over OTLP/HTTP; `OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` are
 *   honoured too.
 * @returns null when no endpoint is set, or `OTEL_SDK_DISABLED` is true.
 */
export async function openTracing(environment: NodeJS.ProcessEnv, version: string): Promise<Tracing | null> {
  const { OTEL_SDK_DISABLED: disabled } = environment;
  const url = tracesUrl(environment);
  if (url === null || disabled === "true") return null;
  const [api, core, { OTLPTraceExporter }, resources, sdk] = await Promise.all([
    import("@opentelemetry/api"),
    import("@opentelemetry/core"),
    import("@opentelemetry/exporter-trace-otlp-http"),
    import("@opentelemetry/resources"),
    import("@opentelemetry/sdk-trace"),
  ]);
  const ours = resources.resourceFromAttributes({ "service.name": "toast-serve", "service.version": version });
  const provider = new sdk.TracerProvider({
    resource: ours.merge(resources.detectResources({ detectors: [resources.envDetector] })),
    // Whoever calls decides whether the trace is kept; a request that comes without a decision is kept.
    sampler: new sdk.ParentBasedSampler({ root: new sdk.AlwaysOnSampler() }),
    spanProcessors: [new sdk.BatchSpanProcessor({ exporter: new OTLPTraceExporter({ url }) })],
  });
  const tracer = provider.getTracer("toast-serve", version);
  const propagator = new core.W3CTraceContextPropagator();
  return {
    trace(record) {
      if (untraced.has(record.route)) return null;
      const parent = propagator.extract(api.ROOT_CONTEXT, record.traceHeaders, api.defaultTextMapGetter);
      const span = tracer.startSpan(
        spanName(record),
        { kind: api.SpanKind.SERVER, startTime: dateOf(record.arrivedAt), attributes: attributesOf(record) },
        parent,
      );
      if (record.status >= 500) span.setStatus({ code: api.SpanStatusCode.ERROR });
      for (const facts of record.generations) tracePhases(tracer, api.trace.setSpan(parent, span), facts);
      span.end(dateOf(record.endedAt));
      const { traceId, traceFlags } = span.spanContext();
      return (traceFlags & api.TraceFlags.SAMPLED) === 0 ? null : traceId;
    },
    async close() {
      await within(
        provider.shutdown().catch(() => {}),
        closeTimeoutMs,
      );
    },
  };
}

function tracesUrl(environment: NodeJS.ProcessEnv): string | null {
  const { OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: traces, OTEL_EXPORTER_OTLP_ENDPOINT: base } = environment;
  if (traces !== undefined && traces !== "") return traces;
  return base === undefined || base === "" ? null : `${base.replace(/\/$/, "")}/v1/traces`;
}

/**
 * In the queue, until the first token, and from there to the last. A phase that was not reached has no span, nor has
 * any of an embedding's inputs, which may be thousands.
 */
function tracePhases(tracer: Tracer, parent: Context, facts: GenerationFacts): void {
  if (facts.request.pooling !== undefined) return;
  const { begunAt, startedAt, firstTokenAt } = facts;
  const endedAt = facts.endedAt ?? performance.now();
  const phase = (name: string, from: number, to: number, attributes: Attributes) =>
    tracer.startSpan(name, { startTime: dateOf(from), attributes }, parent).end(dateOf(Math.max(from, to)));
  phase("queue", begunAt, startedAt ?? endedAt, {});
  if (startedAt === null) return;
  const { promptTokens, cachedTokens } = facts;
  phase("prefill", startedAt, firstTokenAt ?? endedAt, {
    "gen_ai.usage.input_tokens": promptTokens,
    "gen_ai.usage.cache_read.input_tokens": cachedTokens,
  });
  if (firstTokenAt === null) return;
  phase("decode", firstTokenAt, endedAt, { "gen_ai.usage.output_tokens": facts.completionTokens });
}

function spanName({ method, route, generations }: RequestRecord): string {
  const [first] = generations;
  return first === undefined ? `${method} ${route}` : `${operationOf(route)} ${first.modelName}`;
}

function operationOf(route: string): string {
  if (route === "/v1/embeddings") return "embeddings";
  return route === "/v1/completions" ? "text_completion" : "chat";
}

/**
 * @see OpenTelemetry's semantic conventions for HTTP servers and for generative AI
 *   (https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/)
 */
function attributesOf({ id, method, route, status, errorCode, generations }: RequestRecord): Attributes {
  const [first] = generations;
  return {
    "http.request.method": method,
    "http.route": route,
    "http.response.status_code": status,
    "toast_serve.request_id": id,
    ...(errorCode === null ? {} : { "error.type": errorCode }),
    ...(first === undefined ? {} : generationAttributes(route, first, generations)),
  };
}

function generationAttributes(
  route: string,
  { modelName, request }: GenerationFacts,
  generations: readonly GenerationFacts[],
): Attributes {
  const { sampling, steering, maxTokens, choices } = request;
  const total = (read: (facts: GenerationFacts) => number) => generations.reduce((sum, facts) => sum + read(facts), 0);
  return {
    "gen_ai.operation.name": operationOf(route),
    "gen_ai.provider.name": "toast_serve",
    "gen_ai.request.model": modelName,
    "gen_ai.response.model": modelName,
    "gen_ai.request.choice.count": choices,
    "gen_ai.request.temperature": sampling.temperature,
    "gen_ai.request.top_p": sampling.topP,
    "gen_ai.request.frequency_penalty": sampling.frequencyPenalty,
    "gen_ai.request.presence_penalty": sampling.presencePenalty,
    "gen_ai.request.seed": sampling.seed,
    ...(sampling.topK === null ? {} : { "gen_ai.request.top_k": sampling.topK }),
    ...(maxTokens === null ? {} : { "gen_ai.request.max_tokens": maxTokens }),
    "gen_ai.usage.input_tokens": total((facts) => facts.promptTokens),
    "gen_ai.usage.cache_read.input_tokens": total((facts) => facts.cachedTokens),
    "gen_ai.usage.output_tokens": total((facts) => facts.completionTokens),
    "gen_ai.response.finish_reasons": generations
      .filter(({ request: { pooling } }) => pooling === undefined)
      .flatMap(({ reasons }) => reasons),
    ...(steering.kind !== "steered"
      ? {}
      : {
          "toast_serve.steering.adapter": steering.adapter,
          "toast_serve.steering.strength": steering.strength,
          "toast_serve.steering.layers": [...steering.layers],
        }),
    ...(steering.kind === "plain" || steering.vectors.length === 0
      ? {}
      : {
          "toast_serve.steering.vectors": steering.vectors.map(({ name }) => name),
          "toast_serve.steering.vector_strengths": steering.vectors.map(({ strength }) => strength),
        }),
  };
}

/** @param at of `performance.now()` */
function dateOf(at: number): number {
  return performance.timeOrigin + at;
}
