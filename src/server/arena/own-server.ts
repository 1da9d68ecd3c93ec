import { Hono } from "hono";
import type { OwnServer } from "../../arena/contestants/contestant.js";
import type { EngineRegistry } from "../../engine/engine-registry.js";
import { ToastError } from "../../errors.js";
import { BodyRoom } from "../body-room.js";
import { currentRecord } from "../edge/request-record.js";
import { handleChatCompletions } from "../generate/chat-completions.js";
import { RunningRequests } from "../generate/running-requests.js";
import type { RequestEnvironment } from "../request-environment.js";
import type { ServerDeps } from "../server-deps.js";

/**
 * Chat completions of this process without socket and edge: how comparisons ask the server's own models.
 *
 * No key, host, origin or rate is checked here, and no request is recorded, because that has been done: whoever started
 * the comparison came through the edge with a request of its own. Its record is the current one (it follows the calls),
 * so the generations are logged and measured with it, and their tokens count against its caller. To come through the
 * edge again would need a key of somebody's, count one battle as three requests, and let a limit of one running request
 * end every battle. Nothing but the arena holds this door, and nothing but chat completions is behind it.
 */
export function ownServer(registry: EngineRegistry, logError: ServerDeps["logError"]): OwnServer {
  const app = new Hono<RequestEnvironment>();
  const deps = {
    registry,
    // The comparison's own request is what a shutdown waits for and a timeout ends; its signal ends these.
    running: new RunningRequests(),
    // The size of what is asked was checked with the comparison's body.
    limits: {
      maxBodyBytes: Number.POSITIVE_INFINITY,
      keepAliveMs: 10_000,
      maxRequestTokens: Number.POSITIVE_INFINITY,
    },
    bodies: new BodyRoom(),
    // A ToastError reaches whoever asks; of others its stream tells nothing.
    logError: (_: string, error: unknown) => {
      if (!(error instanceof ToastError)) logError(currentRecord()?.id ?? "", error);
    },
  };
  app.post("/v1/chat/completions", (context) => handleChatCompletions(context, deps));
  app.onError((error) => {
    throw error;
  });
  return { models: () => registry.models, fetch: (request) => Promise.resolve(app.fetch(request)) };
}
