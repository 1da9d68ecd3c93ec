import { isIP, isIPv6 } from "node:net";

/** Who may ask for what. Pure; the middleware in access.ts asks it and answers. */
export interface AccessPolicy {
  /** Whether only this machine can reach the port. */
  readonly localOnly: boolean;
  /** Null: any with keys, else pages of this machine. */
  readonly corsOrigins: readonly string[] | null;
  readonly allowedHosts: readonly string[];
  readonly metricsAccess: "open" | "keyed";
}

/**
 * `open`: needs no key. `admin`: an operator's, what changes what is served, tells where its files lie, or hands out
 * what others asked.
 */
export type RouteAccess = "open" | "metrics" | "admin" | "user";

/** What the table of routes says of one. */
export interface GuardedRoute {
  readonly method: string;
  /** In Hono's words. */
  readonly path: string;
  readonly access: RouteAccess;
}

/** Finds out what a request needs. The path is as the router matches it: decoded once. */
export type AccessTable = (method: string, path: string) => RouteAccess;

/** What no route answers to needs a key all the same, and an operator's below an operator's route. */
export function accessTable(routes: readonly GuardedRoute[]): AccessTable {
  const patterns = routes.map((route) => ({ ...route, pattern: patternOf(route.path) }));
  const closed = routes.filter(({ access }) => access === "admin").map(({ path }) => path.split("/:")[0] ?? path);
  return (method, path) => {
    const here = patterns.filter(({ pattern }) => pattern.test(path));
    const named = here.find((route) => route.method === (method === "HEAD" ? "GET" : method));
    if (named !== undefined) return named.access;
    const isClosed =
      here.length > 0
        ? here.every(({ access }) => access === "admin")
        : closed.some((top) => path === top || path.startsWith(`${top}/`));
    return isClosed ? "admin" : "user";
  };
}

/** `:id`, `:id{.+}` and a `*` at the end. */
function patternOf(path: string): RegExp {
  const source = path.replace(/:\w+(?:\{(.+)\})?|\/\*$|\./g, (part, own?: string) => {
    if (part === "/*") return "(?:/.*)?";
    return part === "." ? "\\." : (own ?? "[^/]+");
  });
  return new RegExp(`^${source}$`, "s");
}

/** @param host an address or name to listen on. */
export function isLoopback(host: string): boolean {
  const name = host.toLowerCase().replace(/^\[|\]$/g, "");
  if (isIP(name) === 4) return name.startsWith("127.");
  return name === "localhost" || name.endsWith(".localhost") || name === "::1" || name.startsWith("::ffff:127.");
}

/**
 * Whether a request's `host` may be answered. A page whose own name was made to point here ("DNS rebinding") has this
 * server's origin in the eyes of its browser, and only the name in `host` gives it away. That matters where being on
 * this machine is all that it takes to be served; with keys, a page gains nothing by it.
 * @param keyed whether requests need a key.
 */
export function hostAllowed(host: string, policy: AccessPolicy, keyed: boolean): boolean {
  const { allowedHosts, localOnly } = policy;
  if (allowedHosts.length === 0 && (keyed || !localOnly)) return true;
  const name = hostName(host);
  return isLoopback(name) || allowedHosts.includes("*") || allowedHosts.includes(name);
}

/**
 * Whether a page of `origin` may call: named, of this very server, or of this machine where no key is needed.
 * @param host the request's own.
 */
export function originAllowed(origin: string, host: string, policy: AccessPolicy, keyed: boolean): boolean {
  const given = origin.toLowerCase();
  const allowed = policy.corsOrigins ?? (keyed ? ["*"] : []);
  if (allowed.includes("*") || allowed.includes(given)) return true;
  if (!URL.canParse(given)) return false;
  const page = new URL(given);
  if (page.host === "") return false;
  return page.host === host.toLowerCase() || (policy.corsOrigins === null && isLoopback(page.hostname));
}

/** `name:port` and `[address]:port` without the port, in lower case. */
function hostName(host: string): string {
  return host.toLowerCase().replace(/:\d*$/, "");
}

/** Callers without a key are told apart by address; of an IPv6 address its network, since a caller has all of one. */
export function addressGroup(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  if (mapped !== undefined) return mapped;
  if (!isIPv6(address)) return address;
  const [head = "", tail = ""] = address.split("%")[0]?.split("::") ?? [];
  const left = head.split(":").filter(Boolean);
  const right = tail.split(":").filter(Boolean);
  const groups = address.includes("::")
    ? [...left, ...Array(8 - left.length - right.length).fill("0"), ...right]
    : left;
  return `${groups.slice(0, 4).join(":")}::/64`;
}
