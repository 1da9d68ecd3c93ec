import { homedir } from "node:os";
import { delimiter, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { z } from "zod";
import { ToastError } from "./errors.js";

/** Everything that `serve` can be told, resolved: flags win over the environment, that over the config file, that over the defaults. */
export interface ServeConfig {
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  /** Converted model folders, absolute. Empty: those inside `modelsDir`. */
  readonly models: readonly string[];
  readonly modelsDir: string;
  /** Where adapters lie that come and go while the server runs, absolute; null: nowhere. */
  readonly adaptersDir: string | null;
  readonly maxAdapterBytes: number;
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
  /** Keys in plain text, as they were given; beside those of `keysFile`. */
  readonly apiKeys: readonly string[];
  readonly adminKeys: readonly string[];
  /** Absolute; made by `toast-serve keys create`. */
  readonly keysFile: string | null;
  /** Origins whose pages may call this server; null: any with keys, else this machine's own. */
  readonly corsOrigins: readonly string[] | null;
  /** Names that a `host` header may have beside those of this machine. */
  readonly allowedHosts: readonly string[];
  readonly metricsAccess: MetricsAccess;
  /** Of each key, or of each address that has none; null: no limit. */
  readonly requestsPerMinute: number | null;
  readonly tokensPerMinute: number | null;
  readonly maxConcurrent: number | null;
  /** From a request's arrival to the last byte of its answer; null: no limit. */
  readonly requestTimeoutMs: number | null;
  /** In the engine's queue; null: no limit. */
  readonly queueTimeoutMs: number | null;
  /** A client that takes none of what is sent for so long is dropped. */
  readonly stallTimeoutMs: number;
  readonly maxHeaderBytes: number;
  readonly logLevel: LogLevel;
  readonly logFormat: LogFormat;
  readonly logPrompts: boolean;
}

export const logLevels = ["trace", "debug", "info", "warn", "error", "silent"] as const;
export type LogLevel = (typeof logLevels)[number];

/** `auto`: pretty where a person watches, else JSON. */
const logFormats = ["auto", "json", "pretty"] as const;
export type LogFormat = (typeof logFormats)[number];

const metricsAccesses = ["open", "keyed"] as const;
export type MetricsAccess = (typeof metricsAccesses)[number];

/**
 * One setting as flag, as environment variable and, under the flag's name, in a config file. The command line's help is made from
 * this list.
 */
export interface Setting {
  readonly flag: string;
  readonly variable: string;
  /** Null: a switch, which is there or not. */
  readonly placeholder: string | null;
  readonly description: string;
  /** In the words of the help; the value is in `parseServeConfig`. */
  readonly fallback: string;
  /** May be given several times; in the variable, with this between. */
  readonly repeatable?: string;
  /** Never printed. */
  readonly secret?: true;
  /** A config file's relative path starts at that file. */
  readonly path?: true;
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
    repeatable: delimiter,
    path: true,
  },
  modelsDir: {
    flag: "models-dir",
    variable: "MODELS_DIR",
    placeholder: "folder",
    description: "where to look for models when none is named",
    fallback: "the models/ of this package",
    path: true,
  },
  adaptersDir: {
    flag: "adapters-dir",
    variable: "ADAPTERS_DIR",
    placeholder: "folder",
    description: "adapters that come and go while the server runs: watched, and where POST /v1/adapters keeps them",
    fallback: "none",
    path: true,
  },
  maxAdapterBytes: {
    flag: "max-adapter-bytes",
    variable: "MAX_ADAPTER_BYTES",
    placeholder: "number",
    description: "largest adapter that POST /v1/adapters takes",
    fallback: "4294967296",
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
    path: true,
  },
  databaseUrl: {
    flag: "database-url",
    variable: "DATABASE_URL",
    placeholder: "url",
    description: "a Postgres server that keeps the arena's battles instead",
    fallback: "an embedded one in --data-dir",
    secret: true,
  },
  contestants: {
    flag: "contestants",
    variable: "CONTESTANTS",
    placeholder: "file",
    description: "JSON file of models to compare with, at any OpenAI-compatible URL (see docs/arena.md)",
    fallback: "the served models only",
    path: true,
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
    description: "battles that one client may start in a minute, and half as many as the votes it may cast",
    fallback: "30",
  },
  keysFile: {
    flag: "keys-file",
    variable: "KEYS_FILE",
    placeholder: "file",
    description: "API keys that may call this server: see 'toast-serve keys'; read again when it changes",
    fallback: "none: everybody may",
    path: true,
  },
  apiKey: {
    flag: "api-key",
    variable: "API_KEYS",
    placeholder: "key",
    description: "a key that may generate, 16 characters at least; again for more (in the variable, separated by ',')",
    fallback: "none",
    repeatable: ",",
    secret: true,
  },
  adminKey: {
    flag: "admin-key",
    variable: "ADMIN_KEYS",
    placeholder: "key",
    description: "a key that may also change what is served; again for more (in the variable, separated by ',')",
    fallback: "none",
    repeatable: ",",
    secret: true,
  },
  corsOrigin: {
    flag: "cors-origin",
    variable: "CORS_ORIGINS",
    placeholder: "origin",
    description: "whose pages may call this server, such as https://chat.example, or '*'; again for more",
    fallback: "'*' with keys, else pages of this machine",
    repeatable: ",",
  },
  allowedHost: {
    flag: "allowed-host",
    variable: "ALLOWED_HOSTS",
    placeholder: "name",
    description: "a name that clients may call this server by (their host header), or '*'; again for more",
    fallback: "this machine's own when only it can call and no key is needed, else any",
    repeatable: ",",
  },
  metricsAccess: {
    flag: "metrics-access",
    variable: "METRICS_ACCESS",
    placeholder: "kind",
    description: "GET /metrics for everybody (open) or with a key (keyed)",
    fallback: "open",
  },
  requestsPerMinute: {
    flag: "requests-per-minute",
    variable: "REQUESTS_PER_MINUTE",
    placeholder: "number",
    description: "of each key, or of each address without one",
    fallback: "no limit",
  },
  tokensPerMinute: {
    flag: "tokens-per-minute",
    variable: "TOKENS_PER_MINUTE",
    placeholder: "number",
    description: "of prompts and answers, of each key or address",
    fallback: "no limit",
  },
  maxConcurrent: {
    flag: "max-concurrent",
    variable: "MAX_CONCURRENT",
    placeholder: "number",
    description: "requests at the same time of each key or address",
    fallback: "no limit",
  },
  requestTimeoutSeconds: {
    flag: "request-timeout-seconds",
    variable: "REQUEST_TIMEOUT_SECONDS",
    placeholder: "number",
    description: "from a request's arrival to the last byte of its answer; 0 for no limit",
    fallback: "600",
  },
  queueTimeoutSeconds: {
    flag: "queue-timeout-seconds",
    variable: "QUEUE_TIMEOUT_SECONDS",
    placeholder: "number",
    description: "how long a request may wait for its turn; then it is told to come back (429); 0 for no limit",
    fallback: "0",
  },
  stallTimeoutSeconds: {
    flag: "stall-timeout-seconds",
    variable: "STALL_TIMEOUT_SECONDS",
    placeholder: "number",
    description: "a client that reads nothing of its answer for so long is dropped",
    fallback: "60",
  },
  maxHeaderBytes: {
    flag: "max-header-bytes",
    variable: "MAX_HEADER_BYTES",
    placeholder: "number",
    description: "largest request headers taken, all together",
    fallback: "16384",
  },
  logLevel: {
    flag: "log-level",
    variable: "LOG_LEVEL",
    placeholder: "level",
    description: logLevels.join(", "),
    fallback: "info",
  },
  logFormat: {
    flag: "log-format",
    variable: "LOG_FORMAT",
    placeholder: "format",
    description: "json, pretty, or auto: pretty in a terminal; on standard error",
    fallback: "auto",
  },
  logPrompts: {
    flag: "log-prompts",
    variable: "LOG_PROMPTS",
    placeholder: null,
    description: "write prompts and answers to the log, which otherwise has no word of them",
    fallback: "no",
  },
} as const satisfies Readonly<Record<string, Setting>>;

export type SettingName = keyof typeof settings;
/** What the command line gave; the names of `settings`. */
export type ServeFlags = { readonly [Name in SettingName]?: string | readonly string[] | true | undefined };

/** A config file's settings as text, under the names of `settings`. */
export interface ConfigFile {
  readonly path: string;
  readonly values: { readonly [Name in SettingName]?: readonly string[] };
}

/** What was given for a setting, and where: `--port`, `PORT`, `'port' of toast.json`; null: nothing was, the default holds. */
export interface GivenSetting {
  readonly values: readonly string[];
  readonly source: string;
}

/**
 * The one place where flags, environment and file are weighed. Of a repeatable setting the strongest source has all.
 */
export function givenSetting(
  name: SettingName,
  flags: ServeFlags,
  environment: NodeJS.ProcessEnv,
  file: ConfigFile | null,
): GivenSetting | null {
  const { flag, variable, repeatable, path }: Setting = settings[name];
  const fromFlag = flags[name];
  if (fromFlag !== undefined) {
    return { values: fromFlag === true ? ["true"] : [fromFlag].flat(), source: `--${flag}` };
  }
  const text = environment[variable];
  // `PORT= npm start` unsets a variable in the words of a shell.
  if (text !== undefined && text !== "") {
    const values = repeatable === undefined ? [text] : text.split(repeatable).map((value) => value.trim());
    return { values: values.filter((value) => value !== ""), source: variable };
  }
  const fromFile = file?.values[name];
  if (file === null || fromFile === undefined) {
    return null;
  }
  return {
    values: path === true ? fromFile.map((value) => resolve(dirname(file.path), value)) : fromFile,
    source: `'${flag}' of ${file.path}`,
  };
}

/**
 * The one parse of all settings.
 * @throws ToastError `invalid_option` with a sentence that names the flag, the variable or the file's key at fault.
 */
export function parseServeConfig(
  flags: ServeFlags,
  environment: NodeJS.ProcessEnv,
  file: ConfigFile | null = null,
): ServeConfig {
  const all = <Value>(name: SettingName, schema: z.ZodType<Value, string>): readonly Value[] | null => {
    const given = givenSetting(name, flags, environment, file);
    return given === null ? null : given.values.map((value) => check(name, value, given.source, schema));
  };
  const one = <Value>(name: SettingName, schema: z.ZodType<Value, string>, fallback: Value): Value =>
    all(name, schema)?.at(-1) ?? fallback;
  const timeout = (name: SettingName, fallbackSeconds: number): number | null =>
    1000 * one(name, seconds(0, 86_400), fallbackSeconds) || null;
  return {
    host: one("host", text, "127.0.0.1"),
    port: one("port", integer(0, 65_535), 8000),
    models: all("model", text)?.map((folder) => resolve(folder)) ?? [],
    modelsDir: resolve(one("modelsDir", text, packagedModels())),
    adaptersDir: one<string | null>(
      "adaptersDir",
      text.transform((folder) => resolve(folder)),
      null,
    ),
    maxAdapterBytes: one("maxAdapterBytes", integer(1, 2 ** 46), 2 ** 32),
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
    apiKeys: all("apiKey", key) ?? [],
    adminKeys: all("adminKey", key) ?? [],
    keysFile: one<string | null>(
      "keysFile",
      text.transform((file) => resolve(file)),
      null,
    ),
    corsOrigins: all("corsOrigin", origin),
    allowedHosts: all("allowedHost", hostName) ?? [],
    metricsAccess: one("metricsAccess", oneOf(metricsAccesses), "open"),
    requestsPerMinute: one<number | null>("requestsPerMinute", integer(1, 1_000_000), null),
    tokensPerMinute: one<number | null>("tokensPerMinute", integer(1, 1_000_000_000), null),
    maxConcurrent: one<number | null>("maxConcurrent", integer(1, 1_000_000), null),
    requestTimeoutMs: timeout("requestTimeoutSeconds", 600),
    queueTimeoutMs: timeout("queueTimeoutSeconds", 0),
    stallTimeoutMs: 1000 * one("stallTimeoutSeconds", seconds(0.1, 3600), 60),
    maxHeaderBytes: one("maxHeaderBytes", integer(1024, 2 ** 20), 16 * 1024),
    logLevel: one("logLevel", oneOf(logLevels), "info"),
    logFormat: one("logFormat", oneOf(logFormats), "auto"),
    logPrompts: one("logPrompts", yesOrNo, false),
  };
}

function check<Value>(name: SettingName, value: string, source: string, schema: z.ZodType<Value, string>): Value {
  const parsed = schema.safeParse(value);
  if (parsed.success) {
    return parsed.data;
  }
  const reason = parsed.error.issues[0]?.message ?? "is not valid";
  const got = (settings[name] as Setting).secret === true ? "" : `; got '${value}'`;
  throw new ToastError("invalid_option", `${source} ${reason}${got}.`, { param: source });
}

const text = z.string().min(1, "must not be empty");

/** Long enough that nobody guesses it; anything shorter is somebody's password. */
const key = z
  .string()
  .regex(
    /^[\x21-\x7e]{16,256}$/,
    "must have 16 to 256 characters and no space: 'toast-serve keys create' makes a good one",
  );

const origin = z
  .string()
  .regex(
    /^(\*|null|[a-z][a-z\d+.-]*:\/\/[^\s/]+)$/i,
    "must be an origin such as https://chat.example, without a path, or '*'",
  )
  .transform((value) => value.toLowerCase());

const hostName = z
  .string()
  .regex(/^(\*|[^\s/:]+|\[[\da-f:.]+\])$/i, "must be a name or an address without a port, or '*'")
  .transform((value) => value.toLowerCase());

function oneOf<const Word extends string>(words: readonly Word[]): z.ZodType<Word, string> {
  return z
    .string()
    .refine(
      (value): value is Word => (words as readonly string[]).includes(value),
      `must be one of ${words.join(", ")}`,
    );
}

const yesOrNo = oneOf(["true", "false", "1", "0", "yes", "no"]).transform((word) =>
  ["true", "1", "yes"].includes(word),
);

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
