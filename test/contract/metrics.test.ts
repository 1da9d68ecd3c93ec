import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { EngineClient } from "../../src/engine/thread/engine-client.js";
import { Metrics } from "../../src/server/edge/metrics.js";
import { parsePrometheusText } from "../server/edge/prometheus-text.js";
import { ScriptedEngine } from "../server/scripted-engine.js";
import { openTestModel } from "./open-test-model.js";
import { answerOf, startTestServer, type TestServer } from "./start-test-server.js";

let engine: EngineClient;
let server: TestServer;
let closeModel: () => Promise<void>;

beforeAll(async () => {
  ({ engine, close: closeModel } = await openTestModel());
  server = await startTestServer([engine]);
});
afterAll(async () => {
  await server.shutdown(0);
  await closeModel();
});

async function scrape(from: TestServer = server) {
  const answer = await from.exchange("/metrics");
  expect(answer.status).toBe(200);
  expect(answer.headers["content-type"]).toBe("text/plain; version=0.0.4; charset=utf-8");
  const families = parsePrometheusText(answer.text);
  const sampleOf = (name: string, labels: Record<string, string> = {}) => {
    const family =
      families.get(`toast_serve_${name}`) ?? families.get(`toast_serve_${name.replace(/_(sum|count)$/, "")}`);
    const wanted = Object.entries(labels);
    return family?.samples.find(
      (sample) => sample.name === `toast_serve_${name}` && wanted.every(([key, value]) => sample.labels[key] === value),
    )?.value;
  };
  return { families, sampleOf };
}

const question = {
  model: "tiny:alpaca",
  messages: [{ role: "user", content: "Tell me a story." }],
  temperature: 0,
  max_tokens: 12,
  ignore_eos: true,
};

describe("GET /metrics", () => {
  it("is valid before anything was asked, with every name of the list", async () => {
    const { families } = await scrape();
    for (const name of [
      "num_requests_running",
      "num_requests_waiting",
      "kv_cache_usage_perc",
      "prefix_cache_queries_total",
      "prefix_cache_hits_total",
      "prompt_tokens_total",
      "generation_tokens_total",
      "request_success_total",
      "time_to_first_token_seconds",
      "inter_token_latency_seconds",
      "e2e_request_latency_seconds",
      "request_queue_time_seconds",
      "num_preemptions_total",
      "draft_tokens_proposed_total",
      "draft_tokens_accepted_total",
      "forwards_total",
      "forward_rows_total",
      "adapters_loaded",
      "vectors_loaded",
      "http_requests_total",
    ]) {
      expect([...families.keys()]).toContain(`toast_serve_${name}`);
    }
  });

  it("counts what answers say they cost, streamed or not, in the name of what steered them", async () => {
    const whole = answerOf(await server.chat(question)).usage;
    await server.chat({ ...question, stream: true });
    await server.chat({ ...question, steering: { strength: 0 }, max_tokens: 5 });
    // Engines are asked once a second at most.
    const status = await engine.inspect();
    const scraped = async () => (await scrape()).sampleOf("forward_rows_total", { lane: "bottomUp" });
    await expect.poll(scraped, { timeout: 20_000, interval: 300 }).toBe(status.rows.bottomUp);
    const { sampleOf } = await scrape();
    const steered = { model_name: "tiny:alpaca" };
    const plain = { model_name: "tiny" };
    expect(sampleOf("prompt_tokens_total", steered)).toBe(2 * whole.prompt_tokens);
    expect(sampleOf("generation_tokens_total", steered)).toBe(24);
    expect(sampleOf("generation_tokens_total", plain)).toBe(5);
    expect(sampleOf("request_success_total", { ...steered, finished_reason: "length" })).toBe(2);
    expect(sampleOf("time_to_first_token_seconds_count", steered)).toBe(2);
    expect(sampleOf("e2e_request_latency_seconds_count", steered)).toBe(2);
    expect(sampleOf("request_queue_time_seconds_count", steered)).toBe(2);
    expect(sampleOf("inter_token_latency_seconds_count", steered)).toBeGreaterThan(2);
    expect(sampleOf("num_requests_running", plain)).toBe(0);
    expect(sampleOf("adapters_loaded", plain)).toBe(1);
    expect(sampleOf("forward_rows_total", { ...plain, lane: "steered" })).toBe(status.rows.steered);
    expect(
      (sampleOf("forwards_total", { kind: "prefill" }) ?? 0) + (sampleOf("forwards_total", { kind: "decode" }) ?? 0),
    ).toBe(status.forwards);
    expect(sampleOf("draft_tokens_proposed_total", plain)).toBe(status.drafts.proposed);
    expect(sampleOf("prefix_cache_hits_total", plain)).toBe(status.prefixTokens.hit);
    const route = { method: "POST", route: "/v1/chat/completions", status: "200" };
    expect(sampleOf("http_requests_total", route)).toBe(3);
  });

  it("counts an abandoned request as aborted, and what it generated", async () => {
    const client = new AbortController();
    const endless = { ...question, model: "tiny", max_tokens: 400, stream: true };
    const answer = server.chat(endless, {
      signal: client.signal,
      onText: (text) => text.includes('"content":"') && text.split("\n\n").length > 6 && client.abort(),
    });
    await expect(answer).rejects.toThrow();
    const aborted = async () =>
      (await scrape()).sampleOf("request_success_total", { model_name: "tiny", finished_reason: "abort" });
    await expect.poll(aborted).toBe(1);
    expect((await scrape()).sampleOf("generation_tokens_total", { model_name: "tiny" })).toBeGreaterThan(5);
  });

  it("escapes what stands in labels", async () => {
    await server.exchange("/v1/models/tiny");
    const route = { route: "/v1/models/:id{.+}", status: "200" };
    await expect.poll(async () => (await scrape()).sampleOf("http_requests_total", route)).toBe(1);
  });

  it("asks an engine once for several scrapes, and not at all while it loads", async () => {
    const asked = new ScriptedEngine();
    let inspections = 0;
    const inspect = asked.inspect.bind(asked);
    asked.inspect = () => {
      inspections++;
      return inspect();
    };
    const metrics = new Metrics(() => [asked], { processMetrics: false });
    asked.phase = { kind: "loading", stage: "reading weights", fraction: 0 };
    parsePrometheusText(await metrics.scrape());
    expect(inspections).toBe(0);
    asked.phase = new ScriptedEngine().phase;
    await metrics.scrape();
    await metrics.scrape();
    expect(inspections).toBe(1);
  });

  it("asks once, too, when scrapes come at the same moment, and goes on when the engine has failed", async () => {
    const broken = new ScriptedEngine();
    let inspections = 0;
    broken.inspect = () => {
      inspections++;
      return Promise.reject(new Error("The engine stopped."));
    };
    const metrics = new Metrics(() => [broken], { processMetrics: true });
    const texts = await Promise.all([metrics.scrape(), metrics.scrape(), metrics.scrape()]);
    expect(inspections).toBe(1);
    expect([...parsePrometheusText(texts[0] ?? "").keys()]).toContain("process_resident_memory_bytes");
  });
});

describe("the parser of these tests", () => {
  it.each([
    ["# HELP a_total x\n# TYPE a_total counter\na_total 1", "no end"],
    ["a 1\n", "no TYPE before it"],
    ["# TYPE a gauge\na 1\n", "TYPE before HELP"],
    ["# HELP a x\n# TYPE a counter\na 1\n", "does not end in _total"],
    ["# HELP a x\n# TYPE a gauge\nb 1\n", "not of a"],
    ["# HELP a x\n# TYPE a gauge\na 1\na 2\n", "comes twice"],
    ['# HELP a x\n# TYPE a gauge\na{b="1} 1\n', "no sample"],
    ["# HELP a x\n# TYPE a gauge\na one\n", "no value"],
    ['# HELP a x\n# TYPE a histogram\na_bucket{le="1"} 2\na_bucket{le="+Inf"} 1\na_sum 1\na_count 1\n', "do not rise"],
    ['# HELP a x\n# TYPE a histogram\na_bucket{le="1"} 1\na_sum 1\na_count 1\n', "does not end at +Inf"],
  ])("takes no %j", (text, why) => {
    expect(() => parsePrometheusText(text)).toThrow(why);
  });
});
