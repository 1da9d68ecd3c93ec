import { delimiter, resolve } from "node:path";
import { describe, expect, it } from "vitest";
import { defaultLimits } from "../../src/engine/thread/engine-client.js";
import { type ConfigFile, parseServeConfig, type ServeFlags } from "../../src/settings/serve-config.js";

describe("parseServeConfig", () => {
  it("has defaults that serve the package's own models to this machine only", () => {
    expect(parseServeConfig({}, { XDG_DATA_HOME: "/data" })).toEqual({
      host: "127.0.0.1",
      port: 8000,
      models: [],
      servedNames: [],
      modelsDir: resolve("models"),
      adaptersDir: null,
      vectorsDir: null,
      maxAdapterBytes: 4_294_967_296,
      maxBodyBytes: 4_194_304,
      keepAliveMs: 10_000,
      drainMs: 10_000,
      threads: null,
      maxRunning: defaultLimits.maxRunning,
      maxWaiting: defaultLimits.maxWaiting,
      guesses: 16,
      maxRequestTokens: 65_536,
      cacheBytes: defaultLimits.cacheBytes,
      prefixShare: 0.5,
      dataDir: "/data/toast-serve",
      databaseUrl: null,
      contestants: null,
      battlePace: 200,
      battlesPerMinute: 30,
      apiKeys: [],
      adminKeys: [],
      keysFile: null,
      corsOrigins: null,
      allowedHosts: [],
      metricsAccess: "open",
      requestsPerMinute: null,
      tokensPerMinute: null,
      maxConcurrent: null,
      requestTimeoutMs: 600_000,
      queueTimeoutMs: null,
      stallTimeoutMs: 60_000,
      maxHeaderBytes: 16_384,
      logLevel: "info",
      logFormat: "auto",
      logPrompts: false,
    });
  });

  it("reads the environment, and lets flags win over it", () => {
    const environment = { PORT: "9000", HOST: "0.0.0.0", THREADS: "2", MODELS: `a${delimiter}${delimiter}b` };
    expect(parseServeConfig({}, environment)).toMatchObject({
      port: 9000,
      host: "0.0.0.0",
      threads: 2,
      models: [resolve("a"), resolve("b")],
    });
    expect(parseServeConfig({ port: "1", model: ["c"] }, environment)).toMatchObject({
      port: 1,
      models: [resolve("c")],
    });
  });

  it("counts memory in megabytes and the share kept for later requests in percent", () => {
    const flags = { "cache-mb": "500", "prefix-cache-percent": "20", "max-running": "4" };
    expect(parseServeConfig(flags, { MAX_WAITING: "0" })).toMatchObject({
      cacheBytes: 500_000_000,
      prefixShare: 0.2,
      maxRunning: 4,
      maxWaiting: 0,
    });
  });

  it("takes an empty variable for one that is not set", () => {
    expect(parseServeConfig({}, { PORT: "", MODELS: "" })).toMatchObject({ port: 8000, models: [] });
  });

  it("lets the environment win over a config file, and flags over both; of a list the strongest has all", () => {
    const file: ConfigFile = {
      path: "/etc/toast/toast.json",
      values: {
        port: ["1"],
        threads: ["2"],
        model: ["m", "/n"],
        "cors-origin": ["https://a.example"],
        "log-prompts": ["true"],
      },
    };
    const environment = { PORT: "3", CORS_ORIGINS: "https://b.example, https://C.example" };
    expect(parseServeConfig({ threads: "4" }, environment, file)).toMatchObject({
      port: 3,
      threads: 4,
      // Paths of a file start at the file.
      models: ["/etc/toast/m", "/n"],
      corsOrigins: ["https://b.example", "https://c.example"],
      logPrompts: true,
    });
    expect(parseServeConfig({}, {}, file)).toMatchObject({ port: 1, threads: 2, corsOrigins: ["https://a.example"] });
  });

  it("takes 0 seconds for no time limit, and a switch for yes", () => {
    const flags = { "request-timeout-seconds": "0", "queue-timeout-seconds": "1.5", "log-prompts": true } as const;
    expect(parseServeConfig(flags, {})).toMatchObject({
      requestTimeoutMs: null,
      queueTimeoutMs: 1_500,
      logPrompts: true,
    });
    expect(parseServeConfig({}, { LOG_PROMPTS: "no" })).toMatchObject({ logPrompts: false });
  });

  it("never repeats a secret in an error", () => {
    const parse = () => parseServeConfig({}, { API_KEYS: "hunter2" });
    expect(parse).toThrow("API_KEYS must have 16 to 256 characters");
    expect(parse).not.toThrow(/hunter2/);
  });

  it.each<[string, ServeFlags, NodeJS.ProcessEnv]>([
    ["--log-level must be one of trace, debug, info, warn, error, silent; got 'loud'.", { "log-level": "loud" }, {}],
    [
      "--cors-origin must be an origin such as https://chat.example, without a path, or '*'; got 'https://a.example/x'.",
      { "cors-origin": ["https://a.example/x"] },
      {},
    ],
    ["--allowed-host must be a name or an address without a port, or '*'; got 'a:1'.", { "allowed-host": ["a:1"] }, {}],
    ["METRICS_ACCESS must be one of open, keyed; got 'closed'.", {}, { METRICS_ACCESS: "closed" }],
    ["--port must be an integer from 0 to 65535; got 'abc'.", { port: "abc" }, {}],
    ["--port must be an integer from 0 to 65535; got '65536'.", { port: "65536" }, {}],
    ["--port must be an integer from 0 to 65535; got '-1'.", { port: "-1" }, {}],
    ["--port must be an integer from 0 to 65535; got '80.5'.", { port: "80.5" }, {}],
    ["PORT must be an integer from 0 to 65535; got '1e3'.", {}, { PORT: "1e3" }],
    ["--threads must be an integer from 1 to 1024; got '0'.", { threads: "0" }, {}],
    ["--cache-mb must be an integer from 1 to 16777216; got '0'.", { "cache-mb": "0" }, {}],
    ["PREFIX_CACHE_PERCENT must be an integer from 0 to 100; got '101'.", {}, { PREFIX_CACHE_PERCENT: "101" }],
    ["MAX_BODY_BYTES must be an integer from 1 to 1073741824; got 'lots'.", {}, { MAX_BODY_BYTES: "lots" }],
    ["--drain-seconds must be a number of seconds from 0 to 3600; got '-2'.", { "drain-seconds": "-2" }, {}],
  ])("says: %s", (message, flags, environment) => {
    expect(() => parseServeConfig(flags, environment)).toThrow(
      expect.objectContaining({ code: "invalid_option", message }),
    );
  });
});
