import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { type AddressInfo, createServer as createTcpServer } from "node:net";
import { delimiter, join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { packageFolder } from "../../src/package.js";

export const haproxyConfig = join(packageFolder, "deploy", "haproxy", "haproxy.cfg");

/** @returns the program; null where it is not installed. */
export function findHaproxy(): string | null {
  const { PATH: path } = process.env;
  const folders = [...(path ?? "").split(delimiter), "/usr/sbin", "/usr/local/sbin"];
  return folders.map((folder) => join(folder, "haproxy")).find((file) => existsSync(file)) ?? null;
}

/** A replica as far as a proxy can tell. */
export interface Replica {
  readonly address: string;
  /** `drain`: refuses as a server that is told to go. `die`: breaks off before it has answered. */
  mode: "serve" | "drain" | "die";
  /** Paths of what was sent to it, but for looks at its health. */
  readonly asked: string[];
  close(): Promise<void>;
}

/** Answers every request with its name. */
export async function startReplica(name: string): Promise<Replica> {
  const asked: string[] = [];
  const server: Server = createServer((request, response) => {
    const path = request.url ?? "";
    if (path === "/readyz") {
      response.writeHead(replica.mode === "serve" ? 200 : 503).end();
      return;
    }
    asked.push(path);
    if (replica.mode === "die") {
      request.socket.destroy();
      return;
    }
    request.resume().on("end", () => {
      response.writeHead(replica.mode === "serve" ? 200 : 503, { "retry-after": "1" }).end(name);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const replica: Replica = {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    mode: "serve",
    asked,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
  return replica;
}

export interface Haproxy {
  readonly url: string;
  stop(): Promise<void>;
}

/** The shipped configuration, before three replicas. @returns once it passes on what it is asked. */
export async function startHaproxy(program: string, replicas: readonly Replica[]): Promise<Haproxy> {
  const port = await freePort();
  const [one, two, three] = replicas.map(({ address }) => address);
  const child = spawn(program, ["-f", haproxyConfig, "-db"], {
    env: { TOAST_LISTEN: `127.0.0.1:${port}`, TOAST_1: one, TOAST_2: two, TOAST_3: three },
    stdio: ["ignore", "ignore", "pipe"],
  });
  let log = "";
  child.stderr?.on("data", (bytes: Buffer) => {
    log += bytes.toString();
  });
  const url = `http://127.0.0.1:${port}`;
  await answering(url, child, () => log);
  return {
    url,
    async stop() {
      const gone = new Promise((resolve) => child.once("exit", resolve));
      child.kill("SIGTERM");
      await gone;
    },
  };
}

async function answering(url: string, child: ChildProcess, log: () => string): Promise<void> {
  for (;;) {
    if (child.exitCode !== null) throw new Error(`HAProxy did not start:\n${log()}`);
    const isUp = await fetch(url).then(
      ({ status }) => status === 200,
      () => false,
    );
    if (isUp) return;
    await wait(50);
  }
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const probe = createTcpServer();
    probe.listen(0, "127.0.0.1", () => {
      const { port } = probe.address() as AddressInfo;
      probe.close(() => resolve(port));
    });
  });
}
