import { homedir } from "node:os";
import { delimiter, join } from "node:path";
import { defaultLimits } from "../engine/thread/engine-client.js";
import { pathOrHubName } from "../hub/hub-name.js";
import { packageFolder } from "../package.js";
import { fromFolder, group, list, none, setting, unset } from "./setting.js";
import {
  bytesOfMegabytes,
  hostName,
  integer,
  key,
  modelPlace,
  oneOf,
  origin,
  path,
  postgresUrl,
  seconds,
  servedName,
  shareOfPercent,
  text,
  timeout,
  yesOrNo,
} from "./values.js";

export const logLevels = ["trace", "debug", "info", "warn", "error", "silent"] as const;

const noLimit = unset("no limit");
const packagedModels = { value: () => join(packageFolder, "models"), words: "the models/ of this package" };
const quarter = { value: () => defaultLimits.cacheBytes, words: "a quarter of the machine's, or of the container's" };
/** @see https://specifications.freedesktop.org/basedir-spec */
const userDataDir = {
  value({ XDG_DATA_HOME: shared }: NodeJS.ProcessEnv) {
    return join(shared === undefined || shared === "" ? join(homedir(), ".local", "share") : shared, "toast-serve");
  },
  words: "~/.local/share/toast-serve",
};

const models = group("Models:", {
  /** Converted model folders, absolute, and names on a hub (`org/name`). Empty: the folders inside `modelsDir`. */
  models: list("model <model>", modelPlace, none("every folder of --models-dir"), {
    help: `a converted model folder, or org/name of a hub; again for more (in the variable, separated by '${delimiter}')`,
    separator: delimiter,
    path: pathOrHubName,
  }),
  servedNames: list("served-model-name <name>", servedName, none("its id"), {
    help: "another name that the only model answers to, org/name or gpt-3.5-turbo say; again for more (in the variable, separated by ',')",
    separator: ",",
  }),
  modelsDir: setting("models-dir <folder>", path, packagedModels, {
    help: "where to look for models when none is named",
    path: fromFolder,
  }),
  adaptersDir: setting("adapters-dir <folder>", path, unset("none"), {
    help: "adapters that come and go while the server runs: watched, and where POST /v1/adapters keeps them",
    path: fromFolder,
  }),
  maxAdapterBytes: setting("max-adapter-bytes <number>", integer(1, 2 ** 46), String(2 ** 32), {
    help: "largest adapter that POST /v1/adapters takes",
  }),
  vectorsDir: setting("vectors-dir <folder>", path, unset("vectors/ in --data-dir"), {
    help: "control vectors that come and go: watched, and where POST /v1/vectors keeps those that it made or got",
    path: fromFolder,
  }),
});

const engine = group("Engine:", {
  threads: setting("threads <number>", integer(1, 1024), unset("the engine's choice"), {
    help: "threads of one forward",
  }),
  /** Of each model, as is the next one. */
  maxRunning: setting("max-running <number>", integer(1, 1024), String(defaultLimits.maxRunning), {
    help: "requests that a model computes at the same time",
  }),
  maxWaiting: setting("max-waiting <number>", integer(0, 1_000_000), String(defaultLimits.maxWaiting), {
    help: "requests that may wait for a model; more are told to come back (429)",
  }),
  guesses: setting("guesses <number>", integer(0, 32), String(defaultLimits.guesses), {
    help: "tokens guessed ahead of a text that runs alone, by what stood in prompt and text before; 0 for none",
  }),
  maxRequestTokens: setting("max-request-tokens <number>", integer(1, 2 ** 31), String(2 ** 16), {
    help: "tokens that one request may ask for, all its answers together; one that fills the context always may",
  }),
  cacheBytes: setting("cache-mb <number>", bytesOfMegabytes, quarter, {
    help: "memory for the key/value caches of all models, in megabytes",
  }),
  prefixShare: setting("prefix-cache-percent <number>", shareOfPercent, "50", {
    help: "share of it that may be kept for later requests that begin the same; 0 keeps nothing",
  }),
});

const connections = group("Connections:", {
  host: setting("host <address>", text, "127.0.0.1", {
    help: "address to listen on; 0.0.0.0 for every network",
  }),
  port: setting("port <number>", integer(0, 65_535), "8000", { help: "port to listen on; 0 for any free one" }),
  keepAliveMs: setting("keep-alive-seconds <number>", seconds(0.1, 3600), "10", {
    help: "a waiting stream gets a comment this often",
  }),
  drainMs: setting("drain-seconds <number>", seconds(0, 3600), "10", {
    help: "how long a shutdown waits for running answers",
  }),
  requestTimeoutMs: setting("request-timeout-seconds <number>", timeout, "600", {
    help: "from a request's arrival to the last byte of its answer; 0 for no limit",
  }),
  queueTimeoutMs: setting("queue-timeout-seconds <number>", timeout, "0", {
    help: "how long a request may wait for its turn; then it is told to come back (429); 0 for no limit",
  }),
  stallTimeoutMs: setting("stall-timeout-seconds <number>", seconds(0.1, 3600), "60", {
    help: "a client that reads nothing of its answer for so long is dropped",
  }),
  maxHeaderBytes: setting("max-header-bytes <number>", integer(1024, 2 ** 20), String(2 ** 14), {
    help: "largest request headers taken, all together",
  }),
  maxBodyBytes: setting("max-body-bytes <number>", integer(1, 2 ** 30), String(2 ** 22), {
    help: "largest request body taken",
  }),
});

const access = group("Who may call, and how much:", {
  keysFile: setting("keys-file <file>", path, unset("none: everybody may"), {
    help: "API keys that may call this server: see 'toast-serve keys'; read again when it changes",
    path: fromFolder,
  }),
  /** In plain text, as they were given; beside those of `keysFile`. */
  apiKeys: list("api-key <key>", key, none("none"), {
    help: "a key that may generate, 16 characters at least; again for more (in the variable, separated by ',')",
    separator: ",",
    secret: true,
  }),
  adminKeys: list("admin-key <key>", key, none("none"), {
    help: "a key that may also change what is served; again for more (in the variable, separated by ',')",
    separator: ",",
    secret: true,
  }),
  corsOrigins: list("cors-origin <origin>", origin, unset("'*' with keys, else pages of this machine"), {
    help: "whose pages may call this server, such as https://chat.example, or '*'; again for more",
    separator: ",",
  }),
  allowedHosts: list(
    "allowed-host <name>",
    hostName,
    none("this machine's own when only it can call and no key is needed, else any"),
    {
      help: "a name that clients may call this server by (their host header), or '*'; again for more",
      separator: ",",
    },
  ),
  metricsAccess: setting("metrics-access <kind>", oneOf(["open", "keyed"]), "open", {
    help: "GET /metrics for everybody (open) or with a key (keyed)",
  }),
  requestsPerMinute: setting("requests-per-minute <number>", integer(1, 1_000_000), noLimit, {
    help: "of each key, or of each address without one",
  }),
  tokensPerMinute: setting("tokens-per-minute <number>", integer(1, 1_000_000_000), noLimit, {
    help: "of prompts and answers, of each key or address",
  }),
  maxConcurrent: setting("max-concurrent <number>", integer(1, 1_000_000), noLimit, {
    help: "requests at the same time of each key or address",
  }),
});

const arena = group("Arena:", {
  dataDir: setting("data-dir <folder>", path, userDataDir, {
    help: "where the arena keeps its battles, and the server its control vectors",
    path: fromFolder,
  }),
  databaseUrl: setting("database-url <url>", postgresUrl, unset("an embedded one in --data-dir"), {
    help: "a Postgres server that keeps the arena's battles instead, and counts requests and tokens a minute for all servers that name it",
    secret: true,
  }),
  contestants: setting("contestants <file>", path, unset("the served models only"), {
    help: "JSON file of models to compare with, at any OpenAI-compatible URL (see docs/arena.md)",
    path: fromFolder,
  }),
  battlePace: setting("battle-pace <number>", integer(1, 100_000), "200", {
    help: "characters a second that a blind battle shows at most",
  }),
  battlesPerMinute: setting("battles-per-minute <number>", integer(1, 100_000), "30", {
    help: "battles that one client may start in a minute, and half as many as the votes it may cast",
  }),
});

const log = group("Log:", {
  logLevel: setting("log-level <level>", oneOf(logLevels), "info", { help: logLevels.join(", ") }),
  logFormat: setting("log-format <format>", oneOf(["auto", "json", "pretty"]), "auto", {
    help: "json, pretty, or auto: pretty in a terminal; on standard error",
  }),
  logPrompts: setting("log-prompts", yesOrNo, "no", {
    help: "write prompts and answers to the log, which otherwise has no word of them",
  }),
});

/** Everything that `serve` can be told. A new setting is one entry here. */
export const settings = { ...models, ...engine, ...connections, ...access, ...arena, ...log };
