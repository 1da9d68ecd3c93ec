import type { Context, MiddlewareHandler, Next } from "hono";
import { z } from "zod";
import { parseBody } from "../openai/request-fields.js";
import type { RouteAccess } from "./edge/access-policy.js";
import { readJsonBody } from "./read-json-body.js";
import type { RequestEnvironment } from "./request-environment.js";
import type { ServerDeps } from "./server-deps.js";

/** What the document of the interface says of a route, beside its path. */
export interface Operation {
  readonly name: string;
  readonly summary: string;
  /** Parameters of the query; those of the path stand there. */
  readonly query?: readonly string[];
  /** Of a JSON body: the schema that checks it. */
  readonly request?: z.ZodType;
  /** A JSON body to begin with: without `model`, so that whoever tries it asks what is served. */
  readonly example?: object;
  /** What a body of another content type is. */
  readonly otherRequests?: Readonly<Record<string, string>>;
  /** Of a JSON response: the schema that types it. */
  readonly response?: z.ZodType;
  /** Content type of a response that is no JSON. */
  readonly textResponse?: "text/plain" | "application/x-ndjson" | "application/octet-stream";
  /** Of each event of a stream. */
  readonly event?: z.ZodType;
  /** How events go over the wire; default: `text/event-stream`. */
  readonly eventType?: "application/x-ndjson";
  /** What comes back, where more can be said than that it is the response. */
  readonly meaning?: string;
  readonly status?: 200 | 201;
  /** Of a 503 that is no error. */
  readonly unavailable?: z.ZodType;
  /** Whose shape its errors have. */
  readonly errors?: "anthropic" | "ollama";
  /** Statuses of its own, beside those of any body (400, 413), of whoever may not call (401, 403, 429) and 500. */
  readonly failures?: readonly (400 | 404 | 408 | 429 | 503 | 507)[];
}

/** One entry of the table of routes: router, access check and document are made from it. */
export interface Route {
  readonly method: "GET" | "POST" | "PATCH" | "DELETE";
  /** In Hono's words: `/v1/models/:id{.+}`. */
  readonly path: string;
  readonly access: RouteAccess;
  /** Null: a part of a page, which no client calls. */
  readonly operation: Operation | null;
  respond(context: Context<RequestEnvironment>, deps: ServerDeps, next: Next): ReturnType<MiddlewareHandler>;
}

/** A request on its way through a handler. */
export interface Call<Body = unknown> {
  readonly context: Context<RequestEnvironment>;
  readonly deps: ServerDeps;
  /**
   * Reads the body, whatever its content type says, and checks it by the route's schema.
   * @throws ToastError `body_too_large`, `invalid_json`, `invalid_request` or `unsupported_parameter` with the `param`
   *   at fault.
   */
  body(): Promise<Body>;
}

interface Declaration<Request extends z.ZodType, Result extends z.ZodType> extends Operation {
  /** Default: a key is needed, and counts against its limits. */
  readonly access?: RouteAccess;
  readonly request?: Request;
  readonly response?: Result;
  /** @returns the response's body, or a whole response. */
  handle(call: Call<z.output<Request>>): z.input<Result> | Response | Promise<z.input<Result> | Response>;
}

function routesOf(method: Route["method"]) {
  return <Request extends z.ZodType = z.ZodUnknown, Result extends z.ZodType = z.ZodNever>(
    path: string,
    { access = "user", handle, ...operation }: Declaration<Request, Result>,
  ): Route => ({
    method,
    path,
    access,
    operation,
    async respond(context, deps) {
      const schema = operation.request ?? z.unknown();
      const body = async () =>
        parseBody(schema, await readJsonBody(context, deps.limits.maxBodyBytes, deps.bodies)) as z.output<Request>;
      const result = await handle({ context, deps, body });
      return result instanceof Response ? result : context.json(result, operation.status ?? 200);
    },
  });
}

export const get = routesOf("GET");
export const post = routesOf("POST");
export const patch = routesOf("PATCH");
export const remove = routesOf("DELETE");

/** A part of a page: open to all, as nothing of it is a secret. */
export function pagePart(path: string, handler: MiddlewareHandler<RequestEnvironment>): Route {
  const respond: Route["respond"] = (context, _, next) => handler(context, next);
  return { method: "GET", path, access: "open", operation: null, respond };
}
