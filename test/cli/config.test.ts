import { delimiter, resolve } from "node:path";
import { describe, expect, it } from "vitest";
import { parseServeConfig, type ServeFlags } from "../../src/config.js";

describe("parseServeConfig", () => {
  it("has defaults that serve the package's own models to this machine only", () => {
    expect(parseServeConfig({}, {})).toEqual({
      host: "127.0.0.1",
      port: 8000,
      models: [],
      modelsDir: resolve("models"),
      adaptersDir: null,
      maxAdapterBytes: 4_294_967_296,
      maxBodyBytes: 4_194_304,
      keepAliveMs: 10_000,
      drainMs: 10_000,
      threads: null,
      maxRunning: null,
      maxWaiting: null,
      cacheBytes: null,
      prefixShare: 0.5,
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
    const flags = { cacheMegabytes: "500", prefixCachePercent: "20", maxRunning: "4" };
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

  it.each<[string, ServeFlags, NodeJS.ProcessEnv]>([
    ["--port must be an integer from 0 to 65535; got 'abc'.", { port: "abc" }, {}],
    ["--port must be an integer from 0 to 65535; got '65536'.", { port: "65536" }, {}],
    ["--port must be an integer from 0 to 65535; got '-1'.", { port: "-1" }, {}],
    ["--port must be an integer from 0 to 65535; got '80.5'.", { port: "80.5" }, {}],
    ["PORT must be an integer from 0 to 65535; got '1e3'.", {}, { PORT: "1e3" }],
    ["--threads must be an integer from 1 to 1024; got '0'.", { threads: "0" }, {}],
    ["--cache-mb must be an integer from 1 to 16777216; got '0'.", { cacheMegabytes: "0" }, {}],
    ["PREFIX_CACHE_PERCENT must be an integer from 0 to 100; got '101'.", {}, { PREFIX_CACHE_PERCENT: "101" }],
    ["MAX_BODY_BYTES must be an integer from 1 to 1073741824; got 'lots'.", {}, { MAX_BODY_BYTES: "lots" }],
    ["--drain-seconds must be a number of seconds from 0 to 3600; got '-2'.", { drainSeconds: "-2" }, {}],
  ])("says: %s", (message, flags, environment) => {
    expect(() => parseServeConfig(flags, environment)).toThrow(
      expect.objectContaining({ code: "invalid_option", message }),
    );
  });
});
