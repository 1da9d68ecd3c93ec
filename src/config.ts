import { homedir } from "node:os";
import { delimiter, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { z } from "zod";
import { ToastError } from "./errors.js";

/** Everything that `serve` can be told, resolved: flags win over the environment, the environment over the defaults. */
export interface ServeConfig {
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  /** Converted model folders, absolute. Empty: those inside `modelsDir`. */
  readonly models: readonly string[];
  readonly modelsDir: string;
  readonly maxBodyBytes: number;
  readonly keepAliveMs: number;
  readonly drainMs: number;
  /** Threads of one forward; null: the engine's choice. */
  readonly threads: number | null;
  /** Of each model; null: the engine's choice. */
  readonly maxRunning: number | null;
  readonly maxWaiting: number | null;
  /** Key/value cache of all models together; null: the engine's choice. */
  readonly cacheBytes: number | null;
  /** Of `cacheBytes`, the share kept for later requests, 0…1. */
  readonly prefixShare: number;
  /** Where battles are kept, absolute; made when the first one is. */
  readonly dataDir: string;
  /** A Postgres server for them; null: embedded, in `dataDir`. */
  readonly databaseUrl: string | null;
  /** A file of contestants beside the served models, absolute. */
  readonly contestants: string | null;
  /** Characters a second that a blind battle shows at most. */
  readonly battlePace: number;
  /** Of one client. */
  readonly battlesPerMinute: number;
}

/** One setting as flag and as environment variable. The command line's help is made from this list. */
export interface Setting {
  readonly flag: string;
  readonly variable: string;
  readonly placeholder: string;
  readonly description: string;
  /** In the words of the help; the value is in `parseServeConfig`. */
  readonly fallback: string;
  readonly repeatable?: true;
}

export const settings = {
  host: {
    flag: "host",
    variable: "HOST",
    placeholder: "address",
    description: "address to listen on; 0.0.0.0 for every network",
    fallback: "127.0.0.1",
  },
  port: {
    flag: "port",
    variable: "PORT",
    placeholder: "number",
    description: "port to listen on; 0 for any free one",
    fallback: "8000",
  },
  model: {
    flag: "model",
    variable: "MODELS",
    placeholder: "folder",
    description: `a converted model folder; give it again for more (in the variable, separated by '${delimiter}')`,
    fallback: "every folder of --models-dir",
    repeatable: true,
  },
  modelsDir: {
    flag: "models-dir",
    variable: "MODELS_DIR",
    placeholder: "folder",
    description: "where to look for models when none is named",
    fallback: "the models/ of this package",
  },
  threads: {
    flag: "threads",
    variable: "THREADS",
    placeholder: "number",
    description: "threads of one forward",
    fallback: "the engine's choice",
  },
  maxRunning: {
    flag: "max-running",
    variable: "MAX_RUNNING",
    placeholder: "number",
    description: "requests that a model computes at the same time",
    fallback: "16",
  },
  maxWaiting: {
    flag: "max-waiting",
    variable: "MAX_WAITING",
    placeholder: "number",
    description: "requests that may wait for a model; more are told to come back (429)",
    fallback: "256",
  },
  cacheMegabytes: {
    flag: "cache-mb",
    variable: "CACHE_MB",
    placeholder: "number",
    description: "memory for the key/value caches of all models, in megabytes",
    fallback: "a quarter of the machine's",
  },
  prefixCachePercent: {
    flag: "prefix-cache-percent",
    variable: "PREFIX_CACHE_PERCENT",
    placeholder: "number",
    description: "share of it that may be kept for later requests that begin the same; 0 keeps nothing",
    fallback: "50",
  },
  maxBodyBytes: {
    flag: "max-body-bytes",
    variable: "MAX_BODY_BYTES",
    placeholder: "number",
    description: "largest request body taken",
    fallback: "4194304",
  },
  keepAliveSeconds: {
    flag: "keep-alive-seconds",
    variable: "KEEP_ALIVE_SECONDS",
    placeholder: "number",
    description: "a waiting stream gets a comment this often",
    fallback: "10",
  },
  drainSeconds: {
    flag: "drain-seconds",
    variable: "DRAIN_SECONDS",
    placeholder: "number",
    description: "how long a shutdown waits for running answers",
    fallback: "10",
  },
  dataDir: {
    flag: "data-dir",
    variable: "DATA_DIR",
    placeholder: "folder",
    description: "where the arena keeps its battles",
    fallback: "~/.local/share/toast-serve",
  },
  databaseUrl: {
    flag: "database-url",
    variable: "DATABASE_URL",
    placeholder: "url",
    description: "a Postgres server that keeps the arena's battles instead",
    fallback: "an embedded one in --data-dir",
  },
  contestants: {
    flag: "contestants",
    variable: "CONTESTANTS",
    placeholder: "file",
    description: "JSON file of models to compare with, at any OpenAI-compatible URL (see docs/arena.md)",
    fallback: "the served models only",
  },
  battlePace: {
    flag: "battle-pace",
    variable: "BATTLE_PACE",
    placeholder: "number",
    description: "characters a second that a blind battle shows at most",
    fallback: "200",
  },
  battlesPerMinute: {
    flag: "battles-per-minute",
    variable: "BATTLES_PER_MINUTE",
    placeholder: "number",
    description: "battles that one client may start in a minute, and half of the votes it may cast",
    fallback: "30",
  },
} as const satisfies Readonly<Record<string, Setting>>;

export type SettingName = keyof typeof settings;
/** What the command line gave; the names of `settings`. */
export type ServeFlags = { readonly [Name in SettingName]?: string | readonly string[] | undefined };

/**
 * The one place where flags and environment are read.
 * @throws ToastError `invalid_option` with a sentence that names the flag or the variable at fault.
 */
export function parseServeConfig(flags: ServeFlags, environment: NodeJS.ProcessEnv): ServeConfig {
  const one = <Value>(name: SettingName, schema: z.ZodType<Value, string>, fallback: Value): Value => {
    const given = givenValue(name, flags, environment);
    return given === null ? fallback : check(given, schema);
  };
  const models = flags.model ?? environment[settings.model.variable]?.split(delimiter) ?? [];
  return {
    host: one("host", z.string().min(1), "127.0.0.1"),
    port: one("port", integer(0, 65_535), 8000),
    models: [models]
      .flat()
      .filter((folder) => folder !== "")
      .map((folder) => resolve(folder)),
    modelsDir: resolve(one("modelsDir", z.string().min(1), packagedModels())),
    maxBodyBytes: one("maxBodyBytes", integer(1, 2 ** 30), 4 * 2 ** 20),
    keepAliveMs: 1000 * one("keepAliveSeconds", seconds(0.1, 3600), 10),
    drainMs: 1000 * one("drainSeconds", seconds(0, 3600), 10),
    threads: one<number | null>("threads", integer(1, 1024), null),
    maxRunning: one<number | null>("maxRunning", integer(1, 1024), null),
    maxWaiting: one<number | null>("maxWaiting", integer(0, 1_000_000), null),
    cacheBytes: one<number | null>("cacheMegabytes", megabytes, null),
    prefixShare: one("prefixCachePercent", integer(0, 100), 50) / 100,
    dataDir: resolve(one("dataDir", z.string().min(1), userDataDir(environment))),
    databaseUrl: one<string | null>("databaseUrl", postgresUrl, null),
    contestants: one<string | null>("contestants", path, null),
    battlePace: one("battlePace", integer(1, 100_000), 200),
    battlesPerMinute: one("battlesPerMinute", integer(1, 100_000), 30),
  };
}

interface Given {
  readonly value: string;
  /** As the person wrote it: `--port`, or `PORT`. */
  readonly source: string;
}

function givenValue(name: SettingName, flags: ServeFlags, environment: NodeJS.ProcessEnv): Given | null {
  const { flag, variable } = settings[name];
  const fromFlag = [flags[name] ?? []].flat().at(-1);
  if (fromFlag !== undefined) {
    return { value: fromFlag, source: `--${flag}` };
  }
  const fromEnvironment = environment[variable];
  // `PORT= npm start` unsets a variable in the words of a shell.
  return fromEnvironment === undefined || fromEnvironment === "" ? null : { value: fromEnvironment, source: variable };
}

function check<Value>({ value, source }: Given, schema: z.ZodType<Value, string>): Value {
  const parsed = schema.safeParse(value);
  if (parsed.success) {
    return parsed.data;
  }
  const reason = parsed.error.issues[0]?.message ?? "is not valid";
  throw new ToastError("invalid_option", `${source} ${reason}; got '${value}'.`, { param: source });
}

function integer(min: number, max: number): z.ZodType<number, string> {
  return bounded(/^\d{1,15}$/, min, max, `must be an integer from ${min} to ${max}`);
}

const megabytes = integer(1, 2 ** 24).transform((value) => value * 1e6);

const path = z
  .string()
  .min(1)
  .transform((file) => resolve(file));

const postgresUrl = z
  .string()
  .regex(/^postgres(ql)?:\/\//, "must be a URL such as postgres://user:password@host:5432/database");

function seconds(min: number, max: number): z.ZodType<number, string> {
  return bounded(/^\d{1,9}(\.\d{1,9})?$/, min, max, `must be a number of seconds from ${min} to ${max}`);
}

function bounded(pattern: RegExp, min: number, max: number, message: string): z.ZodType<number, string> {
  return z.string().regex(pattern, message).transform(Number).pipe(z.number().min(min, message).max(max, message));
}

/** @see https://specifications.freedesktop.org/basedir-spec */
function userDataDir(environment: NodeJS.ProcessEnv): string {
  const { XDG_DATA_HOME: shared } = environment;
  return join(shared === undefined || shared === "" ? join(homedir(), ".local", "share") : shared, "toast-serve");
}

/** Beside `src/` and `dist/` alike. */
function packagedModels(): string {
  return fileURLToPath(new URL("../models", import.meta.url));
}
