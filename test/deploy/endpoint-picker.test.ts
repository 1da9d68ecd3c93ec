import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { routes } from "../../src/server/routes.js";
import { buildApp } from "../server/build-app.js";
import { parsePrometheusText } from "../server/edge/prometheus-text.js";
import { deployed } from "./deployed-files.js";

interface PickerConfig {
  readonly plugins: readonly { readonly type: string; readonly parameters?: Record<string, unknown> }[];
  readonly schedulingProfiles: readonly { readonly plugins: readonly { readonly pluginRef: string }[] }[];
  readonly dataLayer: {
    readonly sources: readonly {
      readonly pluginRef: string;
      readonly extractors: readonly { readonly pluginRef: string }[];
    }[];
  };
}

const config = parse(deployed("gateway/endpoint-picker.yaml")) as PickerConfig;
const parametersOf = (type: string) => config.plugins.find((plugin) => plugin.type === type)?.parameters ?? {};
const { defaultEngine, engineConfigs } = parametersOf("core-metrics-extractor") as {
  defaultEngine: string;
  engineConfigs: readonly Record<string, string>[];
};
const specs = engineConfigs[0] ?? {};

/**
 * What the extractor of llm-d's router makes of a scrape: one series of each metric, numbers out of values and labels,
 * names out of lists with commas.
 */
function extracted(scrape: string) {
  const families = parsePrometheusText(scrape);
  const seriesOf = (spec: string) => {
    const family = families.get(specs[spec] ?? "");
    expect(family?.type).toBe("gauge");
    expect(family?.samples).toHaveLength(1);
    return family?.samples[0] ?? { value: Number.NaN, labels: {} as Readonly<Record<string, string>> };
  };
  const names = (list: string | undefined) => (list ?? "missing").split(",").filter((name) => name !== "");
  const { labels: lora, value: at } = seriesOf("loraSpec");
  const { running_lora_adapters: active, waiting_lora_adapters: waiting, max_lora: most } = lora;
  const { block_size: blockSize, num_gpu_blocks: blocks } = seriesOf("cacheInfoSpec").labels;
  return {
    waiting: seriesOf("queuedRequestsSpec").value,
    running: seriesOf("runningRequestsSpec").value,
    cacheUsage: seriesOf("kvUsageSpec").value,
    activeModels: names(active),
    waitingModels: names(waiting),
    maxActiveModels: Number.parseInt(most ?? "", 10),
    at,
    blockSize: Number.parseInt(blockSize ?? "", 10),
    blocks: Number.parseInt(blocks ?? "", 10),
  };
}

describe("the endpoint picker's configuration", () => {
  it("refers to plugins that it has, and to the path of the metrics", () => {
    const types = config.plugins.map(({ type }) => type);
    const refs = [
      ...config.schedulingProfiles.flatMap(({ plugins }) => plugins),
      ...config.dataLayer.sources.flatMap((source) => [source, ...source.extractors]),
    ].map(({ pluginRef }) => pluginRef);
    expect(new Set(refs)).toEqual(new Set(types));
    const { path: metricsPath } = parametersOf("metrics-data-source");
    expect(routes.map(({ path }) => path)).toContain(metricsPath);
    const { name } = specs;
    expect(name).toBe(defaultEngine);
  });

  it("finds what the model server protocol asks for in a scrape", async () => {
    const { app } = buildApp();
    const { at, ...rest } = extracted(await (await app.request("/metrics")).text());
    expect(rest).toEqual({
      waiting: 0,
      running: 0,
      cacheUsage: 0,
      activeModels: ["tiny:alpaca", "tiny:poet", "tiny/happy", "tiny/formal"],
      waitingModels: [],
      maxActiveModels: 4,
      blockSize: 128,
      blocks: 10,
    });
    expect(Math.abs(at - Date.now() / 1000)).toBeLessThan(60);
  });

  it("is told what steers the requests that wait, as long as they wait", async () => {
    const { app, chat, engine } = buildApp();
    const waiting = async () => extracted(await (await app.request("/metrics")).text()).waitingModels;
    engine.script = { startsNever: true, delayMs: Number.POSITIVE_INFINITY };
    const left = new AbortController();
    const answers = [
      { model: "tiny:poet", steering: { vectors: [{ name: "happy" }] } },
      { model: "tiny:poet" },
      { model: "tiny" },
    ].map((steered) =>
      Promise.resolve(
        chat({ messages: [{ role: "user", content: "Hello" }], ...steered }, { signal: left.signal }),
      ).catch(() => null),
    );
    await expect.poll(waiting).toEqual(["tiny:poet", "tiny/happy"]);
    left.abort();
    await Promise.all(answers);
    await expect.poll(waiting).toEqual([]);
  });
});
