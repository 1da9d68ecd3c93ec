import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const main = fileURLToPath(new URL("../../dist/main.js", import.meta.url));

export interface Program {
  readonly url: string;
  readonly port: number;
  /** Ends it as a crash does: no last word to anybody. */
  kill(): Promise<void>;
}

/** The built program as `npm start` runs it, with these flags. @returns once it serves. */
export async function startProgram(...flags: string[]): Promise<Program> {
  const words = ["serve", "--port", "0", "--log-level", "error", ...flags];
  const dataDir = await mkdtemp(join(tmpdir(), "toast-page-data-"));
  const env = { ...process.env, DATA_DIR: dataDir };
  const child = spawn(process.execPath, [main, ...words], { stdio: ["ignore", "pipe", "pipe"], env });
  const gone = new Promise((resolve) => child.once("exit", resolve));
  const url = await servedUrl(child);
  return {
    url,
    port: Number(new URL(url).port),
    async kill() {
      child.kill("SIGKILL");
      await gone;
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}

function servedUrl(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let told = "";
    const listen = (chunk: Buffer) => {
      told += chunk.toString();
      const url = /Serving on (\S+)/.exec(told)?.[1];
      if (url !== undefined) resolve(url);
    };
    child.stdout?.on("data", listen);
    child.stderr?.on("data", listen);
    child.once("exit", (code) => reject(new Error(`The program ended with ${code}:\n${told}`)));
  });
}
