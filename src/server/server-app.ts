import { type Context, Hono } from "hono";
import { methodNotAllowed } from "hono/method-not-allowed";
import { ToastError } from "../errors.js";
import { toHttpError } from "../openai/error-envelope.js";
import { modelList, modelObject } from "../openai/served-model.js";
import { applyTemplate, detokenize, tokenize } from "../openai/text-endpoints.js";
import { addAdapterRoutes } from "./adapter-routes.js";
import { installApiDocs } from "./api-docs.js";
import { arenaRoutes } from "./arena-routes.js";
import { handleChatCompletions } from "./chat-completions.js";
import { handleCompletions } from "./completions.js";
import { installEdge } from "./edge.js";
import type { RequestEnvironment } from "./request-environment.js";
import { attachRequestId } from "./request-id.js";
import { handleResponses } from "./responses.js";
import type { ServerDeps } from "./server-deps.js";
import { handleTextQuestion, handleTokenizerInfo } from "./text-endpoints.js";
import { webPage } from "./web-page.js";

/** Builds the routes. Knows no port: `app.request(…)` serves in tests what a socket serves in earnest. */
export function createServerApp(deps: ServerDeps): Hono<RequestEnvironment> {
  const app = new Hono<RequestEnvironment>();

  app.use(attachRequestId);
  installEdge(app, deps.edge);
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

  // Alive as long as it answers: a restart would not load models sooner.
  app.get("/livez", (context) => context.json({ status: "alive" }));
  app.on("GET", ["/health", "/readyz"], (context) => health(context, deps));
  app.get("/v1/models", (context) => {
    requireLoaded(deps);
    return context.json(modelList(deps.registry.models, deps.startedAt));
  });
  // A model id may hold ':' and, percent-encoded or not, whatever else a client makes up.
  app.get("/v1/models/:id{.+}", (context) =>
    context.json(modelObject(deps.registry.resolve(context.req.param("id")).model, deps.startedAt)),
  );
  app.post("/v1/chat/completions", (context) => handleChatCompletions(context, deps));
  app.post("/v1/completions", (context) => handleCompletions(context, deps));
  app.post("/v1/responses", (context) => handleResponses(context, deps));
  app.post("/tokenize", (context) => handleTextQuestion(tokenize, context, deps));
  app.post("/detokenize", (context) => handleTextQuestion(detokenize, context, deps));
  app.post("/apply-template", (context) => handleTextQuestion(applyTemplate, context, deps));
  app.get("/tokenizer_info", (context) => handleTokenizerInfo(context, deps));
  installApiDocs(app);

  if (deps.arena !== undefined) app.route("/", arenaRoutes(deps, deps.arena));
  if (deps.adapters !== undefined) {
    const { library, maxBytes } = deps.adapters;
    const { running, limits } = deps;
    const { maxBodyBytes } = limits;
    addAdapterRoutes(app, { adapters: library, running, maxAdapterBytes: maxBytes, maxBodyBytes });
  }
  app.route("/", webPage());

  app.notFound((context) => {
    const message = `There is no route ${context.req.method} ${context.req.path}.`;
    return errorResponse(context, new ToastError("route_not_found", message));
  });
  app.onError((error, context) => {
    const response = errorResponse(context, error);
    // A client that has gone breaks the reading of its own body; that is no failure of the server.
    if (response.status === 500 && !context.req.raw.signal.aborted) {
      deps.logError(context.get("requestId"), error);
    }
    return response;
  });
  return app;
}

function errorResponse(context: Context, error: unknown): Response {
  const { status, retryAfter, envelope } = toHttpError(error);
  if (status === 401) {
    context.header("www-authenticate", "Bearer");
  }
  if (status === 408) {
    // OpenAI's clients try 408 again otherwise.
    context.header("x-should-retry", "false");
  }
  if (retryAfter !== null) {
    context.header("retry-after", String(retryAfter));
  }
  return context.json(envelope, status);
}

function requireLoaded({ registry }: ServerDeps): void {
  const phase = registry.phase;
  if (phase.kind === "loading") {
    throw new ToastError("server_loading", `The server is loading (${phase.stage}). Try again soon.`);
  }
}

/** 200 only when a generation sent now would be taken. */
function health(context: Context, { registry, running }: ServerDeps): Response {
  const phase = registry.phase;
  context.header("cache-control", "no-store");
  if (running.draining) {
    return context.json({ status: "draining", running: running.count }, 503);
  }
  switch (phase.kind) {
    case "loading":
      return context.json({ status: "loading", stage: phase.stage, fraction: phase.fraction }, 503);
    case "failed":
      return context.json({ status: "failed", message: phase.message }, 503);
    case "ready": {
      const models = registry.models.map(({ id }) => id);
      const { failures } = registry;
      return context.json({
        status: "ready",
        running: running.count,
        models,
        ...(failures.length === 0 ? {} : { failures }),
      });
    }
  }
}
