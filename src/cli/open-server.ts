import { type RunningApp, startApp } from "../app.js";
import { ToastError } from "../errors.js";
import { createLog } from "../server/edge/request-log.js";
import { parseServeConfig } from "../settings/serve-config.js";
import { localFolder } from "./hub-models.js";
import { progressLine } from "./progress-line.js";
import { apiKeyOf, baseUrlOf, ServerClient } from "./server-client.js";
import type { Terminal } from "./terminal.js";

/** Which server a command talks to. */
export interface ServerFlags {
  readonly url?: string;
  readonly apiKey?: string;
  readonly threads?: string;
}

export interface OpenServer {
  readonly client: ServerClient;
  close(): Promise<void>;
}

/** Where this machine's server keeps what it makes: the same for one that a command starts. */
const places = ["XDG_DATA_HOME", "DATA_DIR", "VECTORS_DIR"] as const;

/**
 * The server of `--url`; without it one over a model folder, in this process.
 * @param folder a model folder or a hub's name; undefined: the models of this package.
 * @throws ToastError `invalid_option`, and what loading a model throws; the signal's reason.
 */
export async function openServer(
  folder: string | undefined,
  { url, apiKey, threads }: ServerFlags,
  terminal: Terminal,
  stop: AbortSignal,
): Promise<OpenServer> {
  if (url !== undefined) {
    if (folder !== undefined) throw new ToastError("invalid_option", "Give a model folder or --url, not both.");
    const client = new ServerClient(baseUrlOf(url), apiKeyOf(apiKey, terminal.environment));
    return { client, close: () => Promise.resolve() };
  }
  const model = folder === undefined ? undefined : await localFolder(folder, terminal, stop);
  const progress = progressLine(terminal, "Loading");
  let app: RunningApp | null = null;
  try {
    // The server itself, on a port of its own that only this machine sees: what works here works over there.
    const kept = Object.fromEntries(places.map((name) => [name, terminal.environment[name]]));
    const environment = { ...kept, HOST: "127.0.0.1", PORT: "0", DRAIN_SECONDS: "0" };
    app = await startApp(parseServeConfig({ model, threads }, environment), {
      onPhase: (_, phase) => {
        if (phase.kind === "loading") progress.update(phase.stage, phase.fraction);
      },
      // Told by the command.
      log: createLog("error", "json", () => {}),
    });
    await Promise.race([app.ready(), rejectedBy(stop)]);
    progress.end();
    const opened = app;
    return { client: new ServerClient(`${opened.url}/v1`, null), close: () => opened.stop() };
  } catch (error) {
    progress.end();
    await app?.stop();
    throw error;
  }
}

function rejectedBy(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason);
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}
