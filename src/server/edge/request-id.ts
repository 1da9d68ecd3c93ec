import { randomUUID } from "node:crypto";
import type { MiddlewareHandler } from "hono";

export interface RequestIdVariables {
  requestId: string;
}

/** What may stand in a header and a log line without being escaped. */
const sane = /^[\w.:=+/-]{1,128}$/;

/** Names each request in `x-request-id`, on errors and streams too; a client's own sane name is kept. */
export const attachRequestId: MiddlewareHandler<{ Variables: RequestIdVariables }> = async (context, next) => {
  const requestId = requestIdFor(context.req.header("x-request-id"));
  context.set("requestId", requestId);
  await next();
  // Behind the handlers, so that no kind of response can be without it.
  context.res.headers.set("x-request-id", requestId);
};

export function requestIdFor(sent: string | undefined): string {
  return sent !== undefined && sane.test(sent) ? sent : `req_${randomUUID().replaceAll("-", "")}`;
}
