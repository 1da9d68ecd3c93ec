import type { MiddlewareHandler } from "hono";
import { cors } from "hono/cors";
import { ToastError } from "../../errors.js";
import type { RequestEnvironment } from "../request-environment.js";
import { type AccessPolicy, type AccessTable, addressGroup, hostAllowed, originAllowed } from "./access-policy.js";
import type { ApiKeys } from "./api-keys.js";
import type { Caller } from "./request-record.js";
import { currentRecord } from "./request-record.js";

type Handler = MiddlewareHandler<RequestEnvironment>;

/** What browsers may read of a response, beside its body. */
const exposeHeaders = [
  "x-request-id",
  "retry-after",
  ...["limit", "remaining", "reset"].flatMap((what) => [`x-ratelimit-${what}-requests`, `x-ratelimit-${what}-tokens`]),
];

/** Headers that proxies add: the address of the connection is then theirs, and says nothing of the caller. */
const proxyHeaders = ["forwarded", "x-forwarded-for", "x-real-ip", "via"];

/** Refuses requests whose `host` names another server: see {@link hostAllowed}. */
export function checkHost(policy: AccessPolicy, keys: ApiKeys): Handler {
  return async (context, next) => {
    const host = hostOf(context.req.raw);
    if (!hostAllowed(host, policy, keys.required)) {
      const message = `This server is not called '${host.slice(0, 100)}'. Start it with --allowed-host to let it be.`;
      throw new ToastError("host_not_allowed", message);
    }
    await next();
  };
}

/**
 * Lets pages of allowed origins call, whatever headers they send, and refuses what other pages ask for beyond reading:
 * a browser would send a simple POST even where it hides the answer.
 */
export function checkOrigin(policy: AccessPolicy, keys: ApiKeys): readonly Handler[] {
  const allowed = (origin: string, request: Request) => originAllowed(origin, hostOf(request), policy, keys.required);
  return [
    // Without `allowHeaders` the preflight's own list is reflected: OpenAI's browser clients send `x-stainless-*`
    // headers.
    cors({
      origin: (origin, context) => (origin !== "" && allowed(origin, context.req.raw) ? origin : null),
      exposeHeaders,
      maxAge: 600,
    }),
    async (context, next) => {
      const origin = context.req.header("origin");
      const reads = ["GET", "HEAD", "OPTIONS"].includes(context.req.method);
      if (origin !== undefined && !reads && !allowed(origin, context.req.raw)) {
        const message = `Pages of ${origin.slice(0, 100)} may not call this server. Start it with --cors-origin to let them.`;
        throw new ToastError("origin_not_allowed", message);
      }
      await next();
    },
  ];
}

/** Finds out who calls, and refuses whoever may not. */
export function checkKey(policy: AccessPolicy, keys: ApiKeys, accessOf: AccessTable): Handler {
  return async (context, next) => {
    const access = accessOf(context.req.method, context.req.path);
    const open = access === "open" || (access === "metrics" && policy.metricsAccess === "open");
    const caller = await callerOf(context.req.raw.headers, keys, context.env?.incoming?.socket.remoteAddress, open);
    const record = currentRecord();
    if (record !== null) record.caller = caller;
    context.set("caller", caller);
    if (access === "admin") requireAdmin(caller, policy, keys, context.req.raw.headers);
    await next();
  };
}

/** @throws ToastError `invalid_api_key` */
async function callerOf(headers: Headers, keys: ApiKeys, address: string | undefined, open: boolean): Promise<Caller> {
  const anonymous: Caller = { kind: "address", id: `address ${addressGroup(address ?? "unknown")}` };
  if (!keys.required || open) return anonymous;
  const key = keyIn(headers);
  if (key === null) {
    throw new ToastError(
      "invalid_api_key",
      "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer auth (i.e. Authorization: Bearer YOUR_KEY).",
    );
  }
  const found = (await keys.current()).find(key);
  if (found === null) {
    throw new ToastError("invalid_api_key", `Incorrect API key provided: ${masked(key)}.`);
  }
  return { kind: "key", id: `key ${found.name}`, name: found.name, role: found.role };
}

/**
 * Who may change what is served: admin keys. Where no key is needed, whoever is on this machine, but not whoever comes
 * through a proxy on it.
 * @throws ToastError `insufficient_permissions`
 */
function requireAdmin(caller: Caller, policy: AccessPolicy, keys: ApiKeys, headers: Headers): void {
  if (caller.kind === "key") {
    if (caller.role === "admin") return;
    throw new ToastError(
      "insufficient_permissions",
      "You have insufficient permissions for this operation: it needs an admin key.",
    );
  }
  const proxied = proxyHeaders.some((name) => headers.has(name));
  if (!keys.required && policy.localOnly && !proxied) return;
  throw new ToastError(
    "insufficient_permissions",
    "This operation is closed: the server can be reached by others and has no admin key. Start it with --admin-key, or make one with 'toast-serve keys create --admin'.",
  );
}

/**
 * OpenAI's way, and Azure's and Anthropic's, whose clients can be pointed here too. Never in the address, which ends up
 * in logs.
 */
function keyIn(headers: Headers): string | null {
  const bearer = /^Bearer +(\S+) *$/i.exec(headers.get("authorization") ?? "")?.[1];
  return bearer ?? headers.get("api-key") ?? headers.get("x-api-key");
}

/** Enough to tell which key it was, as OpenAI does; of a short one nothing. */
function masked(key: string): string {
  return key.length < 20 ? "*".repeat(8) : `${key.slice(0, 4)}${"*".repeat(8)}${key.slice(-4)}`;
}

function hostOf(request: Request): string {
  return request.headers.get("host") ?? new URL(request.url).host;
}
