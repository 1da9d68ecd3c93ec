import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

type Files = Readonly<Record<string, string | Uint8Array>>;

/** What the hub has. */
export interface StandInRepo {
  /** Branches and tags; the first is what `main` was made of. */
  readonly revisions: Map<string, string>;
  /** By commit. */
  readonly commits: Map<string, ReadonlyMap<string, Buffer>>;
  /** Only with this token; `gated`: and without it the terms are pointed to. */
  access: { readonly token: string; readonly gated: boolean } | null;
  /** A token that is known, and not let in. */
  outsider: string | null;
}

export interface SeenRequest {
  readonly host: "hub" | "cdn";
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingMessage["headers"];
}

/** What goes wrong with requests; it is asked before each answer, and may give the answer itself or change how it goes. */
export type Fault = (request: SeenRequest) => FaultAnswer | null;
export interface FaultAnswer {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  /** The connection breaks after so many bytes of the body. */
  readonly breakAfter?: number;
  /** The body ends after so many bytes, in good order. */
  readonly endAfter?: number;
  /** Sent instead of the file. */
  readonly bytes?: Buffer;
  /** Bytes a millisecond. */
  readonly slowly?: number;
  /** As a server that knows no parts does. */
  readonly ignoreRange?: boolean;
}

const pageSize = 3;

/**
 * A hub on two ports of 127.0.0.1: its API and addresses, and the host that large files come from. Written after what
 * huggingface.co answers, as far as downloading needs it.
 * @see https://huggingface.co/docs/hub/api
 */
export class HubStandIn {
  readonly repos = new Map<string, StandInRepo>();
  readonly seen: SeenRequest[] = [];
  fault: Fault = () => null;
  readonly #hub: Server;
  readonly #cdn: Server;
  /** Signatures that the second host takes; each is good for one download. */
  readonly #signatures = new Map<string, Buffer>();

  private constructor() {
    this.#hub = createServer((request, response) => this.#answer("hub", request, response));
    this.#cdn = createServer((request, response) => this.#answer("cdn", request, response));
  }

  static async open(): Promise<HubStandIn> {
    const standIn = new HubStandIn();
    for (const server of [standIn.#hub, standIn.#cdn]) {
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    }
    return standIn;
  }

  async close(): Promise<void> {
    for (const server of [this.#hub, this.#cdn]) {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    }
  }

  get endpoint(): string {
    return `http://127.0.0.1:${(this.#hub.address() as AddressInfo).port}`;
  }

  get cdn(): string {
    return `http://127.0.0.1:${(this.#cdn.address() as AddressInfo).port}`;
  }

  /** Adds a commit to `main`, and makes the repository with the first. @returns the commit */
  commit(name: string, files: Files): string {
    const repo = this.repos.get(name) ?? { revisions: new Map(), commits: new Map(), access: null, outsider: null };
    this.repos.set(name, repo);
    const contents = new Map(Object.entries(files).map(([path, content]) => [path, Buffer.from(content)]));
    const commit = createHash("sha1")
      .update(`${name} ${repo.commits.size} ${[...contents.keys()]}`)
      .digest("hex");
    repo.commits.set(commit, contents);
    repo.revisions.set("main", commit);
    return commit;
  }

  /** Requests for the bytes of files, of `path` alone if it is given. */
  downloads(path = ""): readonly SeenRequest[] {
    return this.seen.filter(
      (request) =>
        request.method === "GET" && /\/(resolve|resolve-cache|xet)\//.test(request.path) && request.path.includes(path),
    );
  }

  #answer(host: "hub" | "cdn", request: IncomingMessage, response: ServerResponse): void {
    const url = new URL(request.url ?? "/", `http://${request.headers.host}`);
    const path = decodeURIComponent(url.pathname);
    const seen: SeenRequest = { host, method: request.method ?? "GET", path, headers: request.headers };
    this.seen.push(seen);
    const fault = this.fault(seen) ?? {};
    if (fault.status !== undefined) {
      response.writeHead(fault.status, fault.headers).end(fault.body);
      return;
    }
    if (host === "cdn") {
      const signature = url.searchParams.get("signature") ?? "";
      const content = this.#signatures.get(signature);
      this.#signatures.delete(signature);
      if (content === undefined) response.writeHead(403).end("<Error>expired</Error>");
      else sendFile(request, response, content, `"cdn-${sha256(content).slice(0, 16)}"`, fault);
      return;
    }
    const [, name = "", rest = ""] =
      /^\/(?:api\/models\/|api\/resolve-cache\/models\/|)([^/]+\/[^/]+)(\/.*)?$/.exec(path) ?? [];
    const repo = this.repos.get(name);
    const refusal = refusalOf(repo, request.headers.authorization);
    if (repo === undefined || refusal !== null) {
      const { status, headers } = refusal ?? { status: 401, headers: { "x-error-code": "RepoNotFound" } };
      response.writeHead(status, { ...headers, "content-type": "application/json" }).end('{"error": "no"}');
      return;
    }
    const [, kind, revision = "", file = ""] =
      /^\/(revision|tree|resolve)\/(refs\/pr\/\d+|[^/]+)(?:\/(.*))?$/.exec(rest) ??
      /^\/()([0-9a-f]{40})\/(.*)$/.exec(rest) ??
      [];
    const commit = repo.revisions.get(revision) ?? (repo.commits.has(revision) ? revision : undefined);
    const files = repo.commits.get(commit ?? "");
    if (commit === undefined || files === undefined) {
      response.writeHead(404, { "x-error-code": "RevisionNotFound" }).end();
    } else if (kind === "revision") {
      sendJson(response, {
        _id: "1",
        id: name,
        sha: commit,
        private: false,
        downloads: 0,
        likes: 0,
        gated: false,
        lastModified: "2024-05-01T00:00:00.000Z",
        siblings: [...files.keys()].map((rfilename) => ({ rfilename })),
      });
    } else if (kind === "tree") {
      this.#sendTree(url, response, files);
    } else {
      this.#resolve({ name, commit, file, isDirect: kind === "" }, request, response, files, fault);
    }
  }

  /** Pages of three entries, so that everything is on several. */
  #sendTree(url: URL, response: ServerResponse, files: ReadonlyMap<string, Buffer>): void {
    const folders = new Set(
      [...files.keys()].filter((path) => path.includes("/")).map((path) => path.slice(0, path.lastIndexOf("/"))),
    );
    const entries = [
      ...[...folders].map((path) => ({ type: "directory", oid: "0".repeat(40), size: 0, path })),
      ...[...files].map(([path, content]) => ({
        type: "file",
        path,
        size: content.length,
        ...(isLarge(path)
          ? {
              oid: gitSha1(Buffer.from(`pointer ${path}`)),
              lfs: { oid: sha256(content), size: content.length, pointerSize: 130 },
            }
          : { oid: gitSha1(content) }),
      })),
    ];
    const from = Number(url.searchParams.get("cursor") ?? 0);
    const next = new URL(url);
    next.searchParams.set("cursor", String(from + pageSize));
    const link = from + pageSize < entries.length ? { link: `<${next.href}>; rel="next"` } : {};
    sendJson(response, entries.slice(from, from + pageSize), link);
  }

  #resolve(
    { name, commit, file, isDirect }: { name: string; commit: string; file: string; isDirect: boolean },
    request: IncomingMessage,
    response: ServerResponse,
    files: ReadonlyMap<string, Buffer>,
    fault: FaultAnswer,
  ): void {
    const content = files.get(file);
    if (content === undefined) {
      response.writeHead(404, { "x-error-code": "EntryNotFound", "x-repo-commit": commit }).end();
      return;
    }
    const etag = isLarge(file) ? sha256(content) : gitSha1(content);
    const head = { "x-repo-commit": commit, "x-linked-size": String(content.length), "x-linked-etag": `"${etag}"` };
    if (isDirect) {
      for (const [key, value] of Object.entries(head)) response.setHeader(key, value);
      sendFile(request, response, content, `"${etag}"`, fault);
    } else if (isLarge(file)) {
      const signature = createHash("sha1").update(`${Math.random()}`).digest("hex");
      this.#signatures.set(signature, fault.bytes ?? content);
      response
        .writeHead(302, { ...head, location: `${this.cdn}/xet/${encodeURIComponent(file)}?signature=${signature}` })
        .end();
    } else {
      // Small files have moved within the hub.
      response.writeHead(307, { ...head, location: `/api/resolve-cache/models/${name}/${commit}/${file}` }).end();
    }
  }
}

function refusalOf(repo: StandInRepo | undefined, authorization: string | undefined) {
  if (authorization === "Bearer hf_expired") {
    return { status: 401, headers: { "x-error-message": "Invalid credentials in Authorization header" } };
  }
  const access = repo?.access ?? null;
  if (repo === undefined || access === null || authorization === `Bearer ${access.token}`) return null;
  const isKnown = repo.outsider !== null && authorization === `Bearer ${repo.outsider}`;
  if (access.gated) return { status: isKnown ? 403 : 401, headers: { "x-error-code": "GatedRepo" } };
  return { status: isKnown ? 404 : 401, headers: { "x-error-code": "RepoNotFound" } };
}

function sendJson(response: ServerResponse, value: unknown, headers: Readonly<Record<string, string>> = {}): void {
  response.writeHead(200, { "content-type": "application/json", ...headers }).end(JSON.stringify(value));
}

function sendFile(
  request: IncomingMessage,
  response: ServerResponse,
  content: Buffer,
  etag: string,
  fault: FaultAnswer,
): void {
  const [, start] = /^bytes=(\d+)-$/.exec(request.headers.range ?? "") ?? [];
  const ifRange = request.headers["if-range"];
  const isPart = start !== undefined && fault.ignoreRange !== true && (ifRange === undefined || ifRange === etag);
  const from = isPart ? Number(start) : 0;
  if (from >= content.length && isPart) {
    response.writeHead(416, { "content-range": `bytes */${content.length}` }).end();
    return;
  }
  const body = (fault.bytes ?? content).subarray(from);
  const { breakAfter, endAfter, slowly } = fault;
  response.writeHead(isPart ? 206 : 200, {
    etag,
    "accept-ranges": "bytes",
    ...(endAfter === undefined ? { "content-length": String(body.length) } : {}),
    ...(isPart ? { "content-range": `bytes ${from}-${content.length - 1}/${content.length}` } : {}),
  });
  if (request.method === "HEAD") response.end();
  else if (breakAfter !== undefined)
    response.write(body.subarray(0, breakAfter), () => setTimeout(() => response.destroy(), 20));
  else if (endAfter !== undefined) response.end(body.subarray(0, endAfter));
  else if (slowly !== undefined) trickle(response, body, slowly);
  else response.end(body);
}

function trickle(response: ServerResponse, body: Buffer, bytes: number): void {
  let at = 0;
  const timer = setInterval(() => {
    response.write(body.subarray(at, at + 5 * bytes));
    at += 5 * bytes;
    if (at >= body.length) response.end();
    if (at >= body.length || response.destroyed) clearInterval(timer);
  }, 5);
}

function isLarge(path: string): boolean {
  return /\.(safetensors|gguf|bin)$/.test(path);
}

export function sha256(content: Uint8Array): string {
  return createHash("sha256").update(content).digest("hex");
}

/** As `git hash-object` has it. */
export function gitSha1(content: Uint8Array): string {
  return createHash("sha1").update(`blob ${content.length}\0`).update(content).digest("hex");
}
