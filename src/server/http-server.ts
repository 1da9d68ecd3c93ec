import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { getRequestListener, type HttpBindings } from "@hono/node-server";
import { ToastError } from "../errors.js";
import { toHttpError } from "../openai/error-envelope.js";
import { requestIdFor } from "./edge/request-id.js";
import type { RunningRequests } from "./generate/running-requests.js";
import { SharedTurns } from "./shared-turns.js";
import { within } from "./within.js";

export interface HttpServer {
  readonly port: number;
  /** `http://host:port`, with a host that a client can call. */
  readonly url: string;
  /**
   * Lets running answers end, cancels those that are not done at the deadline, closes. Until then the port stays open,
   * so that whoever asks is told to go elsewhere.
   * @returns once no connection is left.
   */
  shutdown(drainMs: number): Promise<void>;
}

/** What a slow or silent client may take of the server. */
export interface ConnectionLimits {
  /** All headers of a request together. */
  readonly maxHeaderBytes: number;
  /** Until the last byte of a request's headers, from the first of its connection. */
  readonly headersMs: number;
  /** Until the last byte of a request's body. */
  readonly requestMs: number;
  /** Without taking a byte of what is sent. */
  readonly stallMs: number;
}

export const defaultConnectionLimits: ConnectionLimits = {
  maxHeaderBytes: 16 * 1024,
  headersMs: 20_000,
  // A body may be as large as an adapter; waiting for one costs no more than its socket.
  requestMs: 300_000,
  stallMs: 60_000,
};

/** Requests that bring bodies and begin in one turn of the event loop: each takes it a fraction of a millisecond. */
const beginningInTurn = 8;

/** How long the last bytes of an answer may take to leave once everything is cancelled. */
const flushMs = 1_000;

/**
 * Opens the port.
 * @param fetch the routes, as createServerApp builds them.
 * @throws ToastError `invalid_option` when the address cannot be had.
 */
export async function listen(
  fetch: (request: Request, bindings: HttpBindings) => Response | Promise<Response>,
  options: {
    readonly host: string;
    readonly port: number;
    readonly running: RunningRequests;
    readonly limits?: Partial<ConnectionLimits>;
  },
): Promise<HttpServer> {
  const limits = { ...defaultConnectionLimits, ...options.limits };
  const answer = getRequestListener((request, bindings) => fetch(request, bindings as HttpBindings), {
    // Other code of the process keeps the platform's own Request and Response.
    overrideGlobalObjects: false,
    // Only requests that cannot be put into words (a bad host, a bad path) end here; routes answer their own errors.
    errorHandler: () => rawErrorResponse("The request's address is not valid."),
  });
  const beginnings = new SharedTurns({ takers: beginningInTurn });
  /** Connections with a request that is not answered to its end. */
  const busy = new Map<Socket, ServerResponse>();
  const settings = {
    maxHeaderSize: limits.maxHeaderBytes,
    headersTimeout: Math.min(limits.headersMs, limits.requestMs),
    requestTimeout: limits.requestMs,
    // node would refuse HTTP/1.1 without one with an empty body.
    requireHostHeader: false,
    connectionsCheckingInterval: Math.min(1_000, limits.headersMs),
  };
  const server = createServer(settings, (incoming: IncomingMessage, outgoing: ServerResponse) => {
    if (options.running.draining) {
      outgoing.setHeader("connection", "close");
    }
    const { socket } = incoming;
    if (incoming.headers.host === undefined && incoming.httpVersion !== "1.0") {
      socket.end(rawHttpError("HPE_MISSING_HOST"));
      return;
    }
    nameHost(incoming);
    busy.set(socket, outgoing);
    outgoing.once("close", () => busy.get(socket) === outgoing && busy.delete(socket));
    if (!bringsBody(incoming)) {
      void answer(incoming, outgoing);
      return;
    }
    // Hundreds may come at once: whoever asks how the server is, and brings nothing, does not wait for all of them.
    void beginnings.next().then(() => {
      if (!outgoing.destroyed) void answer(incoming, outgoing);
    });
  });
  // One connection is taken in a turn of the event loop, behind those that came before: hundreds are taken before their
  // requests begin, so that whoever comes after them is there soon.
  server.on("connection", () => beginnings.pass());
  // Neither a byte came nor one left for so long: fine while an answer is computed, not while one waits to be taken.
  server.setTimeout(limits.stallMs, (socket) => {
    if (busy.has(socket) && socket.writableLength === 0) {
      socket.setTimeout(limits.stallMs);
    } else {
      socket.destroy();
    }
  });
  // Longer than the minute that load balancers and client pools keep a connection: the end that closes first must be
  // theirs.
  server.keepAliveTimeout = 65_000;
  // What node cannot parse as HTTP never reaches a route; it is answered in the same words all the same.
  server.on("clientError", (error: NodeJS.ErrnoException, socket: Socket) => {
    if (error.code === "ECONNRESET" || !socket.writable) {
      socket.destroy();
      return;
    }
    // In the middle of an answer there is no room for another one.
    if (busy.get(socket)?.headersSent === true) {
      socket.destroy();
      return;
    }
    socket.end(rawHttpError(error.code));
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", (cause: NodeJS.ErrnoException) => reject(cannotListen(options, cause)));
    server.listen(options.port, options.host, resolve);
  });
  const { port } = server.address() as AddressInfo;
  return {
    port,
    url: `http://${callableHost(options.host)}:${port}`,
    async shutdown(drainMs) {
      const { running } = options;
      running.stopAccepting();
      const drained = running.idle();
      if ((await within(drained, drainMs)) === "late") {
        running.abortAll();
        await within(drained, flushMs);
      }
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      // Keep-alive connections become idle only when their last bytes are out; a reader that stalls loses them.
      const sweep = setInterval(() => server.closeIdleConnections(), 20);
      const force = setTimeout(() => server.closeAllConnections(), flushMs);
      await closed;
      clearInterval(sweep);
      clearTimeout(force);
    },
  };
}

/** Whether a body comes behind the headers. */
export function bringsBody({ headers }: Pick<IncomingMessage, "headers">): boolean {
  return headers["transfer-encoding"] !== undefined || Number(headers["content-length"] ?? 0) > 0;
}

/**
 * HTTP/1.0 asks for no `host`, probes of load balancers send none or an empty one: they mean the address that they have
 * called.
 */
function nameHost({ headers, rawHeaders, socket }: IncomingMessage): void {
  if ((headers.host ?? "") !== "") return;
  headers.host = addressOf(socket);
  const at = rawHeaders.findIndex((name, index) => index % 2 === 0 && name.toLowerCase() === "host");
  if (at === -1) rawHeaders.push("host", headers.host);
  else rawHeaders[at + 1] = headers.host;
}

function addressOf({ localAddress = "127.0.0.1", localPort = 0 }: Socket): string {
  // An IPv4 address that came over an IPv6 socket is written plainly.
  const address = localAddress.replace(/^::ffff:/, "");
  return `${address.includes(":") ? `[${address}]` : address}:${localPort}`;
}

function cannotListen({ host, port }: { host: string; port: number }, cause: NodeJS.ErrnoException): ToastError {
  const reasons: Readonly<Record<string, string>> = {
    EADDRINUSE: "another program listens there; choose another --port",
    EACCES: "this user may not open it; choose a --port above 1023",
    EADDRNOTAVAIL: "this machine has no such address; choose another --host",
    ENOTFOUND: "there is no such host; choose another --host",
  };
  const reason = reasons[cause.code ?? ""] ?? cause.message;
  return new ToastError("invalid_option", `Cannot listen on ${host}, port ${port}: ${reason}.`, { cause });
}

/** "Every address" is none that a client could call. */
function callableHost(host: string): string {
  if (host === "0.0.0.0" || host === "::" || host === "") {
    return "127.0.0.1";
  }
  return host.includes(":") ? `[${host}]` : host;
}

function rawEnvelope(message: string): string {
  return JSON.stringify(toHttpError(new ToastError("invalid_request", message)).envelope);
}

function rawErrorResponse(message: string): Response {
  return new Response(rawEnvelope(message), {
    status: 400,
    headers: { "content-type": "application/json", "x-request-id": requestIdFor(undefined) },
  });
}

/** @param code node's word for what was wrong */
function rawHttpError(code: string | undefined): string {
  const { status, message } = rawProblem(code);
  const body = rawEnvelope(message);
  return [
    `HTTP/1.1 ${status}`,
    "content-type: application/json",
    `content-length: ${Buffer.byteLength(body)}`,
    `x-request-id: ${requestIdFor(undefined)}`,
    "connection: close",
    "",
    body,
  ].join("\r\n");
}

function rawProblem(code: string | undefined): { readonly status: string; readonly message: string } {
  switch (code) {
    case "HPE_HEADER_OVERFLOW":
      return {
        status: "431 Request Header Fields Too Large",
        message: "The request's headers are larger than this server takes.",
      };
    case "ERR_HTTP_REQUEST_TIMEOUT":
      return { status: "408 Request Timeout", message: "The request took too long to arrive." };
    case "HPE_MISSING_HOST":
      return { status: "400 Bad Request", message: "The request has no host header, which HTTP/1.1 asks for." };
    default:
      return { status: "400 Bad Request", message: "The request is not valid HTTP." };
  }
}
