import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { chownSync, existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import pg from "pg";

/** Where packages put a server; the newest first. */
const systemFolders = ["/usr/lib/postgresql", "/usr/pgsql", "/opt/homebrew/opt", "/usr/local/opt"];

/** @returns the folder of `initdb` and `postgres`; null where no server is installed. */
export function findPostgres(): string | null {
  const { PATH: path } = process.env;
  const installed = systemFolders.flatMap((root) =>
    existsSync(root)
      ? readdirSync(root)
          .toSorted((one, other) => Number.parseFloat(other) - Number.parseFloat(one))
          .map((version) => join(root, version, "bin"))
      : [],
  );
  const candidates = [...installed, ...(path ?? "").split(delimiter)];
  return candidates.find((folder) => ["initdb", "postgres"].every((name) => existsSync(join(folder, name)))) ?? null;
}

export interface TestPostgres {
  readonly url: string;
  /** Until `resume`, with all that it has. */
  halt(): Promise<void>;
  resume(): Promise<void>;
  stop(): Promise<void>;
}

/** A server of its own on a free port, in a folder that goes with it. */
export async function startPostgres(bin: string): Promise<TestPostgres> {
  const folder = mkdtempSync(join(tmpdir(), "toast-postgres-"));
  // Postgres refuses to run as root.
  const user = process.getuid?.() === 0 ? unprivilegedUser() : null;
  if (user !== null) chownSync(folder, user.uid, user.gid);
  const data = join(folder, "data");
  const options = { ...user, cwd: folder, env: { ...process.env, LC_ALL: "C" } };
  execFileSync(join(bin, "initdb"), ["-D", data, "-U", "toast", "-A", "trust", "-E", "UTF8"], {
    ...options,
    stdio: "pipe",
  });
  const port = await freePort();
  const words = ["-D", data, "-p", String(port), "-k", folder, "-c", "listen_addresses=127.0.0.1"];
  const url = `postgres://toast@127.0.0.1:${port}/postgres`;
  const run = async () => {
    const server = spawn(join(bin, "postgres"), words, { ...options, stdio: ["ignore", "ignore", "pipe"] });
    let log = "";
    server.stderr?.on("data", (bytes: Buffer) => {
      log += bytes.toString();
    });
    await accepting(url, server, () => log);
    return server;
  };
  let server = await run();
  const halt = async () => {
    if (server.exitCode !== null) return;
    const exited = new Promise((resolve) => server.once("exit", resolve));
    // Fast shutdown: whoever is still connected is sent away.
    server.kill("SIGINT");
    await exited;
  };
  return {
    url,
    halt,
    async resume() {
      server = await run();
    },
    async stop() {
      await halt();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function unprivilegedUser(): { readonly uid: number; readonly gid: number } {
  const idOf = (flag: string) => Number(execFileSync("id", [flag, "nobody"]).toString());
  return { uid: idOf("-u"), gid: idOf("-g") };
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.on("error", reject);
    probe.listen(0, "127.0.0.1", () => {
      const address = probe.address();
      probe.close(() => resolve(typeof address === "object" && address !== null ? address.port : 0));
    });
  });
}

async function accepting(url: string, server: ChildProcess, log: () => string): Promise<void> {
  for (;;) {
    if (server.exitCode !== null) throw new Error(`Postgres did not start: ${log()}`);
    const client = new pg.Client(url);
    try {
      await client.connect();
      await client.end();
      return;
    } catch {
      await wait(50);
    }
  }
}
