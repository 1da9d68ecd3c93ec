import { existsSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { basename, join } from "node:path";
import { AdapterLibrary } from "./adapters/adapter-library.js";
import { Arena } from "./arena/arena.js";
import type { OwnServer } from "./arena/contestants/contestant.js";
import { Roster, readRoster } from "./arena/contestants/roster.js";
import { tryStore } from "./arena/store/open-store.js";
import { ArenaThread, openThreadStore } from "./arena/thread/arena-thread.js";
import { convertInThread } from "./convert/convert-in-thread.js";
import type { EnginePhase } from "./engine/engine.js";
import { EngineRegistry } from "./engine/engine-registry.js";
import type { EngineLimits } from "./engine/loop/admission.js";
import type { ServedModel } from "./engine/served-model.js";
import { defaultLimits } from "./engine/thread/engine-client.js";
import { type EngineLoss, SupervisedEngine } from "./engine/thread/supervised-engine.js";
import { ToastError } from "./errors.js";
import { manifestFileName, readBackboneManifest } from "./model/model-folder.js";
import { steeringChoice } from "./openai/steering-field.js";
import { arenaLimits } from "./server/arena/arena-settings.js";
import { ownServer } from "./server/arena/own-server.js";
import { BodyRoom } from "./server/body-room.js";
import { createEdge, openKeys } from "./server/edge/create-edge.js";
import { createLog, type Log } from "./server/edge/request-log.js";
import type { SharedLimits } from "./server/edge/shared-rate-limiter.js";
import { openTracing } from "./server/edge/tracing.js";
import { RunningRequests } from "./server/generate/running-requests.js";
import { defaultConnectionLimits, type HttpServer, listen } from "./server/http-server.js";
import { createServerApp } from "./server/server-app.js";
import type { ServerDeps } from "./server/server-deps.js";
import type { ServeConfig } from "./settings/serve-config.js";
import { VectorLibrary } from "./vectors/vector-library.js";

/** A server whose port is open. Its models may still be loading: GET /health says how far they are. */
export interface RunningApp {
  readonly url: string;
  readonly engines: readonly SupervisedEngine[];
  /**
   * Resolves to the served models once no engine and no adapter loads any more. Engines that could not are told of by
   * `failures`.
   * @throws ToastError of the first engine when none could load.
   */
  ready(): Promise<readonly ServedModel[]>;
  /** What became of models that are not served, in a sentence each. */
  readonly failures: readonly string[];
  /** Lets running answers end within the configured time, then closes port and engines. */
  stop(): Promise<void>;
}

export interface AppHooks {
  /** Default: warnings and errors to standard error. */
  readonly log?: Log;
  /** Where OpenTelemetry's variables and contestants' API keys are looked for; default: nowhere. */
  readonly environment?: NodeJS.ProcessEnv;
  /** Of this package, for traces. */
  readonly version?: string;
  readonly onPhase?: (folder: string, phase: EnginePhase) => void;
  /** Compiled entries of the engines' and the converter's threads, for a process that runs from source. */
  readonly workerUrl?: URL;
  readonly converterUrl?: URL;
}

/**
 * Puts the whole server together: engines, registry, routes, port.
 * @throws ToastError `file_missing` when there is no model or no keys file, `invalid_option` when the port cannot be
 *   had or two folders claim one model id.
 */
export async function startApp(config: ServeConfig, hooks: AppHooks = {}): Promise<RunningApp> {
  const folders = await modelFolders(config);
  await refuseDoubleIds(folders);
  if (config.servedNames.length > 0 && folders.length > 1) {
    const message = `--served-model-name names the only model, and there are ${folders.length}: serve one of them (--model), or convert each with the --model-id that it shall have.`;
    throw new ToastError("invalid_option", message, { param: "--served-model-name" });
  }
  const running = new RunningRequests({ timeoutMs: config.requestTimeoutMs });
  const engines: SupervisedEngine[] = [];
  const log = hooks.log ?? createLog("warn", "pretty", (line) => process.stderr.write(`${line}\n`));
  const tracing = await openTracing(hooks.environment ?? {}, hooks.version ?? "unknown");
  const keys = await openKeys(config, log);
  const shared = await sharedLimits(config.databaseUrl, log);
  const { edge, observe } = createEdge(config, {
    keys,
    engines: () => engines,
    log,
    tracing,
    processMetrics: true,
    ...(shared === null ? {} : { limiter: shared.limiterOf("generations", config) }),
  });
  const library = new AdapterLibrary({
    hosts: engines,
    directory: config.adaptersDir,
    convert: (job, signal) => convertInThread(job, { workerUrl: hooks.converterUrl, signal }),
    log,
  });
  const vectors = new VectorLibrary({
    hosts: engines,
    directory: config.vectorsDir ?? join(config.dataDir, "vectors"),
    log,
  });
  let preparing: string | null = config.adaptersDir === null ? "loading control vectors" : "loading adapters";
  const registry = new EngineRegistry(engines, { observe, preparing: () => preparing, names: config.servedNames });
  const logError: ServerDeps["logError"] = (requestId, error) =>
    log.error({ requestId, err: error }, "A request failed.");
  const { arena, closeArena } = await openArena(config, ownServer(registry, logError), hooks.environment ?? {});
  const routes = createServerApp({
    registry,
    running,
    adapters: { library, maxBytes: config.maxAdapterBytes },
    vectors,
    limits: {
      maxBodyBytes: config.maxBodyBytes,
      keepAliveMs: config.keepAliveMs,
      maxRequestTokens: config.maxRequestTokens,
    },
    bodies: new BodyRoom(),
    edge,
    arena: {
      arena,
      pace: { charactersPerSecond: config.battlePace, tickMs: 50 },
      limits: arenaLimits(config.battlesPerMinute, shared?.limiterOf),
    },
    startedAt: Math.floor(Date.now() / 1000),
    logError,
  });
  // A model is served whatever becomes of the arena.
  tryStore(config, () => arena.tryStore()).catch((error: Error) =>
    log.warn({ err: error }, `The arena is not available: ${error.message}`),
  );
  // The port first: a port that is taken should not cost the loading of a model.
  const server: HttpServer = await listen((request, bindings) => routes.fetch(request, bindings), {
    host: config.host,
    port: config.port,
    running,
    limits: connectionLimitsOf(config),
  });
  const cacheMb = (config.cacheBytes / 1e6).toFixed(0);
  const models = folders.length === 1 ? "" : `, in equal parts of ${folders.length} models`;
  log.info(`Caches of keys and values take up to ${cacheMb} MB of memory${models} (--cache-mb).`);
  for (const folder of folders) {
    engines.push(
      new SupervisedEngine({
        folder,
        threads: config.threads ?? undefined,
        limits: limitsOf(config, folders.length),
        workerUrl: hooks.workerUrl,
        onPhase: (phase) => hooks.onPhase?.(folder, phase),
        onLeftOut: (adapter, error) =>
          log.error({ err: error }, `The adapter ${adapter} of ${basename(folder)} is not served: ${error.message}`),
        onLoss(loss) {
          logLoss(log, loss);
          if (loss.kind === "stopped") edge.metrics.engineStopped(loss.model.id);
        },
      }),
    );
  }
  const prepared = Promise.allSettled(engines.map((engine) => engine.ready())).then(async (outcomes) => {
    // Uploaded adapters, and vectors, are there as soon as the server says that it is ready.
    await library.start();
    await vectors.start();
    preparing = null;
    const firstFailure = outcomes.find((outcome) => outcome.status === "rejected");
    if (firstFailure !== undefined && outcomes.every(({ status }) => status === "rejected")) throw firstFailure.reason;
    return registry.models;
  });
  // Whoever does not ask for `ready()` still learns of a failure from the registry's phase.
  prepared.catch(() => {});
  return {
    url: server.url,
    engines,
    ready: () => prepared,
    get failures() {
      return registry.failures;
    },
    async stop() {
      await server.shutdown(config.drainMs);
      await library.stop();
      await vectors.stop();
      await registry.close();
      await tracing?.close();
      await closeArena();
      await shared?.close();
    },
  };
}

/** Limits of callers that hold for every server of one database. The driver is not loaded without one. */
async function sharedLimits(databaseUrl: string | null, log: Log): Promise<SharedLimits | null> {
  if (databaseUrl === null) return null;
  const { shareLimits } = await import("./server/edge/shared-rate-limiter.js");
  return shareLimits(databaseUrl, log);
}

/**
 * The store is opened by the first battle.
 * @throws ToastError `file_missing`, `invalid_config` when the file of contestants is not right.
 */
async function openArena(config: ServeConfig, own: OwnServer, environment: NodeJS.ProcessEnv) {
  const entries = config.contestants === null ? [] : await readRoster(config.contestants, environment, steeringChoice);
  // Boards have a thread of their own: a vote waits for none.
  const boards = new ArenaThread(config);
  const arena = new Arena(
    new Roster(entries, own, steeringChoice),
    () => openThreadStore(config),
    (filter) => boards.call("board", filter),
  );
  return { arena, closeArena: () => Promise.all([arena.close(), boards.close()]) };
}

function logLoss(log: Log, loss: EngineLoss): void {
  const engine = `The engine of ${loss.model.id}`;
  switch (loss.kind) {
    case "stopped":
      log.error({ err: loss.error }, `${engine} stopped. It is started again in ${loss.delayMs / 1000} s.`);
      break;
    case "restarted":
      log.warn(`${engine} serves again, ${(loss.tookMs / 1000).toFixed(1)} s after it stopped.`);
      break;
    case "missing":
      log.error({ err: loss.error }, `${engine} was started again without ${loss.name}.`);
      break;
    case "givenUp":
      log.fatal({ err: loss.error }, `${engine} could not be started again. Start the server anew.`);
  }
}

function connectionLimitsOf({ maxHeaderBytes, requestTimeoutMs, stallTimeoutMs }: ServeConfig) {
  const requestMs = Math.min(defaultConnectionLimits.requestMs, requestTimeoutMs ?? Number.POSITIVE_INFINITY);
  return { maxHeaderBytes, requestMs, stallMs: stallTimeoutMs };
}

/** Each model gets an equal part of the memory. */
function limitsOf(config: ServeConfig, models: number): EngineLimits {
  const cacheBytes = Math.floor(config.cacheBytes / models);
  return {
    ...defaultLimits,
    maxRunning: config.maxRunning,
    maxWaiting: config.maxWaiting,
    cacheBytes,
    prefixBytes: Math.floor(cacheBytes * config.prefixShare),
  };
}

/**
 * The model folders that a configuration means, never none.
 * @throws ToastError `file_missing`
 */
export async function modelFolders({
  models,
  modelsDir,
}: Pick<ServeConfig, "models" | "modelsDir">): Promise<readonly string[]> {
  const isModel = (folder: string) => existsSync(join(folder, manifestFileName));
  const missing = models.find((folder) => !isModel(folder));
  if (missing !== undefined) {
    const message = `${missing} is no converted model: it has no ${manifestFileName}. Make one with 'toast-serve convert'.`;
    throw new ToastError("file_missing", message);
  }
  if (models.length > 0) {
    return models;
  }
  const entries = await readdir(modelsDir, { withFileTypes: true }).catch(() => []);
  const found = entries
    .map((entry) => join(modelsDir, entry.name))
    .filter(isModel)
    .toSorted((a, b) => (a < b ? -1 : 1));
  if (found.length === 0) {
    const message = `There is no model in ${modelsDir}. Make one with 'toast-serve convert <model> --out <folder>', then name it with --model.`;
    throw new ToastError("file_missing", message);
  }
  return found;
}

/** Before anything is loaded. A manifest that cannot be read is its engine's to complain about. */
async function refuseDoubleIds(folders: readonly string[]): Promise<void> {
  const seen = new Map<string, string>();
  for (const folder of folders) {
    const id = await readBackboneManifest(folder).then(
      (manifest) => manifest.id,
      () => null,
    );
    if (id === null) continue;
    const other = seen.get(id);
    if (other !== undefined) {
      const message = `${other} and ${folder} both have the model id '${id}'. Serve one of them only, or convert one with another --model-id.`;
      throw new ToastError("invalid_option", message);
    }
    seen.set(id, folder);
  }
}
