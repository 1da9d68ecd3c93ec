import { createServer, type IncomingHttpHeaders, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { openTracing, type Tracing } from "../../src/server/edge/tracing.js";
import { ScriptedEngine } from "../server/scripted-engine.js";
import { answerOf, startTestServer, type TestServer } from "./start-test-server.js";

interface OtlpValue {
  readonly stringValue?: string;
  readonly intValue?: number;
  readonly doubleValue?: number;
  readonly arrayValue?: { readonly values: readonly OtlpValue[] };
}

interface OtlpAttribute {
  readonly key: string;
  readonly value: OtlpValue;
}

interface OtlpSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly name: string;
  readonly kind: number;
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly attributes: readonly OtlpAttribute[];
  readonly status: { readonly code: number };
}

interface OtlpBody {
  readonly resourceSpans: {
    readonly resource: { readonly attributes: readonly OtlpAttribute[] };
    readonly scopeSpans: { readonly spans: readonly OtlpSpan[] }[];
  }[];
}

/** A collector: keeps what is posted to it. */
let collector: Server;
let endpoint: string;
const posts: { path: string; headers: IncomingHttpHeaders; body: OtlpBody }[] = [];

beforeAll(async () => {
  collector = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const body = JSON.parse(Buffer.concat(chunks).toString()) as OtlpBody;
      posts.push({ path: request.url ?? "", headers: request.headers, body });
      response.setHeader("content-type", "application/json").end("{}");
    });
  });
  await new Promise<void>((resolve) => collector.listen(0, "127.0.0.1", resolve));
  endpoint = `http://127.0.0.1:${(collector.address() as AddressInfo).port}`;
});
beforeEach(() => {
  posts.length = 0;
});
afterAll(() => collector.close());

/** Serves what `ask` asks for, then ends, as a shutdown would. @returns the spans that the collector got. */
async function traced(
  ask: (server: TestServer, engine: ScriptedEngine) => Promise<unknown>,
): Promise<readonly OtlpSpan[]> {
  const tracing = (await openTracing({ OTEL_EXPORTER_OTLP_ENDPOINT: endpoint }, "1.2.3")) as Tracing;
  const engine = new ScriptedEngine();
  const server = await startTestServer([engine], { edge: { tracing } });
  await ask(server, engine);
  await server.shutdown(1_000);
  const requests = () => server.lines.filter(({ route }) => route !== undefined).length;
  await expect.poll(requests).toBeGreaterThan(0);
  await tracing.close();
  return posts.flatMap(({ body }) =>
    body.resourceSpans.flatMap(({ scopeSpans }) => scopeSpans.flatMap(({ spans }) => spans)),
  );
}

function plain(value: OtlpValue): unknown {
  if (value.arrayValue !== undefined) return value.arrayValue.values.map(plain);
  return value.stringValue ?? value.intValue ?? value.doubleValue;
}

const attributesOf = (attributes: readonly OtlpAttribute[]) =>
  Object.fromEntries(attributes.map(({ key, value }) => [key, plain(value)]));

const question = {
  model: "tiny:alpaca",
  messages: [{ role: "user", content: "Who are you?" }],
  temperature: 0.5,
  seed: 7,
  max_tokens: 20,
};

describe("traces", () => {
  it("tell of a request in GenAI's words, with a span for each phase inside it", async () => {
    let usage = { prompt_tokens: 0, completion_tokens: 0 };
    const spans = await traced(async (server) => {
      usage = answerOf(await server.chat(question, { headers: { "x-request-id": "r-1" } })).usage;
    });
    expect(posts[0]?.path).toBe("/v1/traces");
    const resource = attributesOf(posts[0]?.body.resourceSpans[0]?.resource.attributes ?? []);
    expect(resource).toMatchObject({ "service.name": "toast-serve", "service.version": "1.2.3" });
    const request = spans.find(({ name }) => name === "chat tiny:alpaca") as OtlpSpan;
    // SPAN_KIND_SERVER
    expect(request.kind).toBe(2);
    expect(request.parentSpanId).toBeUndefined();
    expect(attributesOf(request.attributes)).toMatchObject({
      "http.request.method": "POST",
      "http.route": "/v1/chat/completions",
      "http.response.status_code": 200,
      "toast_serve.request_id": "r-1",
      "gen_ai.operation.name": "chat",
      "gen_ai.provider.name": "toast_serve",
      "gen_ai.request.model": "tiny:alpaca",
      "gen_ai.request.temperature": 0.5,
      "gen_ai.request.seed": 7,
      "gen_ai.request.max_tokens": 20,
      "gen_ai.usage.input_tokens": usage.prompt_tokens,
      "gen_ai.usage.output_tokens": usage.completion_tokens,
      "gen_ai.response.finish_reasons": ["stop"],
      "toast_serve.steering.adapter": "alpaca",
      "toast_serve.steering.strength": 1,
    });
    const phases = ["queue", "prefill", "decode"].map((name) => spans.find((span) => span.name === name) as OtlpSpan);
    const [queue, prefill, decode] = phases as [OtlpSpan, OtlpSpan, OtlpSpan];
    for (const phase of phases) {
      expect([phase.parentSpanId, phase.traceId]).toEqual([request.spanId, request.traceId]);
      expect(BigInt(phase.startTimeUnixNano)).toBeGreaterThanOrEqual(BigInt(request.startTimeUnixNano));
      expect(BigInt(phase.endTimeUnixNano)).toBeLessThanOrEqual(BigInt(request.endTimeUnixNano) + 5_000_000n);
    }
    expect(queue.endTimeUnixNano).toBe(prefill.startTimeUnixNano);
    expect(BigInt(decode.startTimeUnixNano)).toBeLessThanOrEqual(BigInt(decode.endTimeUnixNano));
    // No word of prompt or answer.
    expect(JSON.stringify(posts)).not.toMatch(/Who are you|I am/);
  });

  it("go on from the caller's, and are not kept where the caller keeps none", async () => {
    const traceId = "4bf92f3577b34da6a3ce929d0e0e4736";
    const from = (flags: string) => ({ headers: { traceparent: `00-${traceId}-00f067aa0ba902b7-${flags}` } });
    const kept = await traced((server) => server.chat({ ...question, stream: true }, from("01")));
    const request = kept.find(({ kind }) => kind === 2);
    expect([request?.traceId, request?.parentSpanId]).toEqual([traceId, "00f067aa0ba902b7"]);
    expect(new Set(kept.map((span) => span.traceId))).toEqual(new Set([traceId]));
    posts.length = 0;
    expect(await traced((server) => server.chat(question, from("00")))).toEqual([]);
  });

  it("name failures, count refused requests, leave out probes, and are found by the log", async () => {
    let lines: TestServer["lines"] = [];
    const spans = await traced(async (server, engine) => {
      ({ lines } = server);
      await server.exchange("/livez");
      await server.exchange("/v1/models");
      await server.chat({ ...question, model: "gpt" });
      engine.script = { failure: { at: 0, error: new Error("The engine fell over.") } };
      await server.chat(question);
    });
    const requests = spans.filter(({ kind }) => kind === 2);
    expect(requests.map(({ name }) => name).toSorted()).toEqual([
      "GET /v1/models",
      "POST /v1/chat/completions",
      "chat tiny:alpaca",
    ]);
    const [refused, failed] = ["POST /v1/chat/completions", "chat tiny:alpaca"].map((name) =>
      requests.find((span) => span.name === name),
    );
    // A client's mistake is no failure of the server's span.
    expect([refused?.status.code, failed?.status.code]).toEqual([0, 2]);
    expect(attributesOf(refused?.attributes ?? [])).toMatchObject({ "error.type": "model_not_found" });
    expect(lines.map(({ traceId }) => traceId)).toContain(failed?.traceId);
  });
});

describe("openTracing", () => {
  it("is off unless an endpoint is set, and when it is told to be", async () => {
    expect(await openTracing({}, "1")).toBeNull();
    expect(await openTracing({ OTEL_EXPORTER_OTLP_ENDPOINT: "" }, "1")).toBeNull();
    expect(await openTracing({ OTEL_EXPORTER_OTLP_ENDPOINT: endpoint, OTEL_SDK_DISABLED: "true" }, "1")).toBeNull();
  });

  it("does not hold up a shutdown when the collector is away", async () => {
    const away = { OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: "http://127.0.0.1:9/v1/traces" };
    const tracing = (await openTracing(away, "1")) as Tracing;
    const engine = new ScriptedEngine();
    const server = await startTestServer([engine], { edge: { tracing } });
    expect((await server.chat(question)).status).toBe(200);
    await server.shutdown(0);
    await expect(tracing.close()).resolves.toBeUndefined();
  });
});
