import { setTimeout as wait } from "node:timers/promises";
import type { Context, Hono, MiddlewareHandler } from "hono";
import { matchedRoutes } from "hono/route";
import { ToastError } from "../../errors.js";
import { toHttpError } from "../../openai/error-envelope.js";
import type { RequestEnvironment } from "../request-environment.js";
import { checkHost, checkKey, checkOrigin } from "./access.js";
import type { AccessPolicy, AccessTable } from "./access-policy.js";
import type { ApiKeys } from "./api-keys.js";
import type { Metrics } from "./metrics.js";
import type { GenerationListener } from "./observed-generations.js";
import type { CallerLimiter } from "./rate-limiter.js";
import { type Log, logRequest } from "./request-log.js";
import { type RequestRecord, withRecord } from "./request-record.js";
import type { Tracing } from "./tracing.js";

/** What stands between a socket and the routes. */
export interface Edge {
  readonly policy: AccessPolicy;
  readonly keys: ApiKeys;
  readonly limiter: CallerLimiter;
  readonly metrics: Metrics;
  readonly log: Log;
  readonly tracing: Tracing | null;
}

/** How long the record of a request whose client has left waits for the engine to let go of it. */
const settleMs = 2_000;

/**
 * In this order: the record, who may come at all, who it is, how much they may do. A refused request has a record too.
 */
export function installEdge(app: Hono<RequestEnvironment>, edge: Edge, accessOf: AccessTable): void {
  app.use(keepRecord(edge));
  app.use(checkHost(edge.policy, edge.keys));
  app.use(...checkOrigin(edge.policy, edge.keys));
  app.use(checkKey(edge.policy, edge.keys, accessOf));
  app.use(limitRate(edge.limiter, accessOf));
}

/** What tokens cost a caller's limit: a prompt when it is taken, an answer when it has ended. */
export function chargeTokens(limiter: CallerLimiter): GenerationListener {
  return {
    accepted(facts, record) {
      if (record?.caller != null) limiter.charge(record.caller.id, facts.promptTokens);
    },
    ended(facts, record) {
      if (record?.caller != null) {
        limiter.charge(record.caller.id, facts.completionTokens);
      }
    },
  };
}

/** Follows a request from its arrival to its last byte, then tells metrics, traces and log. */
function keepRecord(edge: Edge): MiddlewareHandler<RequestEnvironment> {
  return async (context, next) => {
    const record = newRecord(context);
    const closed = responseClosed(context);
    await withRecord(record, next);
    record.route = routeOf(context);
    record.status = hasLeft(context) ? 499 : context.res.status;
    record.errorCode = context.error === undefined ? null : toHttpError(context.error).envelope.error.code;
    const report = async () => {
      await closed;
      record.endedAt = performance.now();
      await settled(record);
      edge.metrics.responded(record);
      logRequest(edge.log, record, edge.tracing?.trace(record) ?? null);
    };
    report().catch((error: unknown) => edge.log.error({ err: error }, "A request could not be recorded."));
  };
}

function limitRate(limiter: CallerLimiter, accessOf: AccessTable): MiddlewareHandler<RequestEnvironment> {
  return async (context, next) => {
    if (context.req.method !== "POST" || accessOf("POST", context.req.path) !== "user") {
      await next();
      return;
    }
    const admission = await limiter.admit(context.get("caller").id);
    if (admission.kind === "refused") {
      for (const [name, value] of Object.entries(admission.headers)) context.header(name, value);
      context.header("retry-after", String(admission.retryAfterSeconds));
      throw new ToastError("rate_limit_exceeded", admission.message);
    }
    const closed = responseClosed(context);
    await next();
    for (const [name, value] of Object.entries(admission.headers)) context.res.headers.set(name, value);
    void closed.then(admission.release);
  };
}

function newRecord(context: Context<RequestEnvironment>): RequestRecord {
  const { headers } = context.req.raw;
  const sent = ["traceparent", "tracestate"].flatMap((name) => {
    const value = headers.get(name);
    return value === null ? [] : [[name, value]];
  });
  const now = performance.now();
  return {
    id: context.get("requestId"),
    method: context.req.method,
    traceHeaders: Object.fromEntries(sent),
    arrivedAt: now,
    caller: null,
    route: "unmatched",
    status: 0,
    errorCode: null,
    endedAt: now,
    generations: [],
  };
}

/** Resolves when the last byte is out or nobody is there to take it; at once where there is no socket. */
function responseClosed({ env }: Context<RequestEnvironment>): Promise<void> {
  const outgoing = env?.outgoing;
  if (outgoing === undefined || outgoing.destroyed) return Promise.resolve();
  return new Promise((resolve) => outgoing.once("close", () => resolve()));
}

/** Before there was an answer for it. */
function hasLeft({ req, env }: Context<RequestEnvironment>): boolean {
  return req.raw.signal.aborted && env?.outgoing?.headersSent !== true;
}

/** Engines let go of an abandoned generation a step later; what it came to is worth that wait. */
async function settled({ generations }: RequestRecord): Promise<void> {
  const deadline = performance.now() + settleMs;
  while (generations.some(({ endedAt }) => endedAt === null) && performance.now() < deadline) await wait(20);
}

/** The pattern of the route, not of what stands before every route. */
function routeOf(context: Context): string {
  return matchedRoutes(context).findLast(({ method }) => method !== "ALL")?.path ?? "unmatched";
}
