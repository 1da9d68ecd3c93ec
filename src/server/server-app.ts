import { type Context, Hono, type MiddlewareHandler } from "hono";
import { methodNotAllowed } from "hono/method-not-allowed";
import { messageError } from "../anthropic/error-object.js";
import { ToastError } from "../errors.js";
import { ollamaError } from "../ollama/error-object.js";
import { toHttpError } from "../openai/error-envelope.js";
import type { BodyRoom } from "./body-room.js";
import { accessTable } from "./edge/access-policy.js";
import { installEdge } from "./edge/edge.js";
import { attachRequestId } from "./edge/request-id.js";
import { bringsBody } from "./http-server.js";
import type { RequestEnvironment } from "./request-environment.js";
import { routes } from "./routes.js";
import type { ServerDeps } from "./server-deps.js";

/** Puts the routes behind the edge. Knows no port: `app.request(…)` serves in tests what a socket serves in earnest. */
export function createServerApp(deps: ServerDeps): Hono<RequestEnvironment> {
  const app = new Hono<RequestEnvironment>();

  app.use(onlyErrors);
  app.use(readRest(deps.bodies));
  app.use(attachRequestId);
  app.use(nameForAnthropic);
  installEdge(app, deps.edge, accessTable(routes));
  app.use(
    methodNotAllowed({
      app,
      onMethodNotAllowed: (context, methods) => {
        context.header("allow", methods.join(", "));
        const message = `${context.req.method} is not allowed on ${context.req.path}; use ${methods.join(" or ")}.`;
        return errorResponse(context, new ToastError("method_not_allowed", message));
      },
    }),
  );
  for (const { method, path, respond } of routes) {
    app.on(method, path, (context, next) => respond(context, deps, next));
  }

  app.notFound((context) => {
    const message = `There is no route ${context.req.method} ${context.req.path}.`;
    return errorResponse(context, new ToastError("route_not_found", message));
  });
  app.onError((error, context) => {
    const response = errorResponse(context, error);
    // A client that has gone breaks the reading of its own body; that is no failure of the server.
    const failed =
      response.status === 500 ||
      response.status === 507 ||
      (error instanceof ToastError && error.code === "store_failed");
    if (failed && !context.req.raw.signal.aborted) {
      deps.logError(context.get("requestId"), error);
    }
    return response;
  });
  return app;
}

/** Hono hands on to nobody what is thrown and no Error. */
async function onlyErrors(_context: Context, next: () => Promise<void>): Promise<void> {
  try {
    await next();
  } catch (error) {
    if (error instanceof Error) throw error;
    throw new Error(`Something was thrown that is no error (${typeof error}).`, { cause: error });
  }
}

/**
 * Whoever is answered while he still sends, refused by his key say, reads the answer once he has sent the rest: that is
 * read, in turns, and passed over. Left to node's server, it would come as fast as the network brings it.
 */
function readRest(bodies: BodyRoom): MiddlewareHandler<RequestEnvironment> {
  return async (context, next) => {
    await next();
    const incoming = context.env?.incoming;
    if (incoming === undefined || incoming.readableEnded || incoming.destroyed || !bringsBody(incoming)) return;
    // As a web stream, forms are read to their end where they are refused, too.
    if (incoming.listenerCount("data") > 0) return;
    if ((await bodies.skipRest(incoming)) === "unfinished") context.res.headers.set("connection", "close");
  };
}

/** Routes in Anthropic's form, and what lies below them: its clients go there. */
const anthropicPaths = routes.flatMap(({ path, operation }) => (operation?.errors === "anthropic" ? [path] : []));

function isAnthropic({ req: { path } }: Context): boolean {
  return anthropicPaths.some((known) => path === known || path.startsWith(`${known}/`));
}

/** All of Ollama's routes, and those that it has and this server lacks. */
function isOllama({ req: { path } }: Context): boolean {
  return path.startsWith("/api/");
}

/** Anthropic's clients look for a request's name under another header. */
async function nameForAnthropic(context: Context<RequestEnvironment>, next: () => Promise<void>): Promise<void> {
  await next();
  if (isAnthropic(context)) context.res.headers.set("request-id", context.get("requestId"));
}

function errorResponse(context: Context<RequestEnvironment>, error: unknown): Response {
  const known = toHttpError(error);
  const { status, retryAfter, envelope } = known;
  if (status === 401) {
    context.header("www-authenticate", "Bearer");
  }
  if (status === 408) {
    // OpenAI's clients try 408 again otherwise.
    context.header("x-should-retry", "false");
  }
  if (status === 415) {
    // RFC 9110, 12.5.3: what is taken instead.
    context.header("accept-encoding", "identity");
  }
  if (retryAfter !== null) {
    context.header("retry-after", String(retryAfter));
  }
  if (isOllama(context)) return context.json(ollamaError(known), status);
  return context.json(isAnthropic(context) ? messageError(known, context.get("requestId")) : envelope, status);
}
