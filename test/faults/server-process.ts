import { type ChildProcess, spawn } from "node:child_process";
import { fileURLToPath } from "node:url";

/** The built program. */
export const main = fileURLToPath(new URL("../../dist/main.js", import.meta.url));

export interface ServerOptions {
  readonly model: string;
  readonly dataDir: string;
  readonly databaseUrl?: string;
  /** Bytes that one file may have, as a full disk would allow; `liftLimit` takes it away. */
  readonly fileBytes?: number | undefined;
  /** Default: whoever runs the test. */
  readonly user?: { readonly uid: number; readonly gid: number } | undefined;
  /** Of its environment, beside PATH. */
  readonly environment?: Readonly<Record<string, string>>;
  readonly flags?: readonly string[];
}

export interface ServerProcess {
  readonly url: string;
  readonly pid: number;
  /** Everything it has said. */
  log(): string;
  /** As a crash, unless told otherwise. @returns once it is gone. */
  end(signal?: NodeJS.Signals): Promise<void>;
}

/** The built program as users run it, on a free port. @returns once its model is served. */
export async function startServer(options: ServerOptions): Promise<ServerProcess> {
  const { model, dataDir, databaseUrl, fileBytes, user } = options;
  const flags = [
    "--port",
    "0",
    "--threads",
    "1",
    "--log-level",
    "debug",
    "--log-format",
    "json",
    "--drain-seconds",
    "1",
  ];
  const arena = ["--battle-pace", "100000", "--battles-per-minute", "100000"];
  const words = [main, "serve", "--model", model, ...flags, ...arena, "--data-dir", dataDir, ...(options.flags ?? [])];
  const { PATH } = process.env;
  const env = { PATH, ...options.environment, ...(databaseUrl === undefined ? {} : { DATABASE_URL: databaseUrl }) };
  // The soft limit only, in blocks of 1,024 bytes: a process may raise that of its own user again.
  const limited = `ulimit -S -f ${Math.ceil((fileBytes ?? 0) / 1024)}; exec "$0" "$@"`;
  const [command, args] =
    fileBytes === undefined ? [process.execPath, words] : ["bash", ["-c", limited, process.execPath, ...words]];
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"], env, ...user });
  let said = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (bytes: Buffer) => {
      said += bytes.toString();
    });
  }
  const url = await served(child, () => said);
  const gone = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  return {
    url,
    pid: child.pid ?? 0,
    log: () => said,
    async end(signal = "SIGKILL") {
      child.kill(signal);
      await gone;
    },
  };
}

function served(child: ChildProcess, log: () => string): Promise<string> {
  return new Promise((resolve, reject) => {
    child.stdout?.on("data", () => {
      const url = /Serving on (\S+)/.exec(log())?.[1];
      if (url !== undefined) resolve(url);
    });
    child.once("error", reject);
    child.once("exit", (code, signal) => reject(new Error(`The server ended (${code ?? signal}):\n${log()}`)));
  });
}
