import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { ServerReport } from "../../../src/cli/bench/report.js";
import type { EngineClient } from "../../../src/engine/thread/engine-client.js";
import { openTestModel } from "../../contract/open-test-model.js";
import { startTestServer, type TestServer } from "../../contract/start-test-server.js";
import { ScriptedEngine } from "../../server/scripted-engine.js";
import { runCommand } from "../../support/run-command.js";

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

const others: Server[] = [];
afterEach(() => {
  for (const other of others.splice(0)) other.close();
});

/** A server that says the same to every request. */
async function otherServer(status: number, body: string, seen: (headers: object, body: string) => void = () => {}) {
  const other = createServer((request, response) => {
    let received = "";
    request.on("data", (chunk: Buffer) => {
      received += chunk.toString();
    });
    request.on("end", () => {
      seen(request.headers, received);
      response.writeHead(status).end(body);
    });
  });
  others.push(other);
  await new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve));
  return `http://127.0.0.1:${(other.address() as AddressInfo).port}`;
}

function bench(url: string, ...words: string[]) {
  return runCommand(["bench", "--url", url, "--model-id", "tiny:alpaca", "--rounds", "1", ...words]);
}

const answer = [
  'data: {"choices":[{"delta":{"role":"assistant","content":""}}]}',
  'data: {"choices":[{"delta":{"content":"Hello"}}]}',
  'data: {"choices":[{"delta":{"content":" there"}}]}',
  "data: [DONE]",
  "",
].join("\n\n");

describe("bench --url", () => {
  it("puts a real server under load and reports what its clients see", async () => {
    const words = ["--streams", "1,2", "--requests", "2", "--tokens", "8", "--ignore-eos", "--json"];
    const { code, out } = await bench(server.url, ...words);
    expect(code).toBe(0);
    const report = JSON.parse(out) as ServerReport;
    expect(report).toMatchObject({
      kind: "server",
      machine: { node: process.version },
      server: { baseUrl: `${server.url}/v1`, model: "tiny:alpaca" },
      settings: { rounds: 1, requests: 2, tokens: 8, temperature: 0, seed: 1, ignoreEos: true },
      speeds: [
        { streams: 1, answers: 2, errors: 0, errorReasons: [] },
        { streams: 2, answers: 2, errors: 0, errorReasons: [] },
      ],
      ratios: [{ name: "tokens/s: more streams / 1", at: 2 }],
    });
    for (const { tokensPerSecond, firstTokenMs, tokenGapMs } of report.speeds) {
      expect(tokensPerSecond).toBeGreaterThan(0);
      expect(firstTokenMs.p50).toBeGreaterThan(0);
      expect(firstTokenMs.p95).toBeGreaterThanOrEqual(firstTokenMs.p50);
      expect(tokenGapMs.p50).toBeGreaterThanOrEqual(0);
    }
    await expect.poll(() => engine.inspect()).toMatchObject({ running: 0, violations: [] });
  });

  it("prints a table for people", async () => {
    const { code, out } = await bench(server.url, "--streams", "1", "--requests", "1", "--tokens", "4");
    expect(code).toBe(0);
    expect(out).toContain(`tiny:alpaca at ${server.url}/v1`);
    expect(out).toMatch(/up to 4 tokens +streams +tokens\/s/);
  });

  it("asks as OpenAI's clients do, with the key, and counts texts where the server counts no tokens", async () => {
    const seen: { headers: object; body: unknown }[] = [];
    const url = await otherServer(200, answer, (headers, body) => seen.push({ headers, body: JSON.parse(body) }));
    const words = ["--api-key", "secret", "--streams", "1", "--requests", "1", "--tokens", "5", "--temperature", "0.5"];
    const { code, out } = await bench(url, ...words, "--json");
    expect(code).toBe(0);
    expect(seen).toMatchObject([
      {
        headers: { authorization: "Bearer secret" },
        body: {
          model: "tiny:alpaca",
          stream: true,
          stream_options: { include_usage: true },
          max_tokens: 5,
          temperature: 0.5,
          messages: [{ role: "user" }],
        },
      },
    ]);
    expect(seen[0]?.body).not.toHaveProperty("ignore_eos");
    expect((JSON.parse(out) as ServerReport).speeds).toMatchObject([{ answers: 1, errors: 0 }]);
  });

  it("counts failures beside answers, and says what they were", async () => {
    let count = 0;
    const other = createServer((request, response) => {
      request.resume();
      count += 1;
      if (count % 2 === 0) response.writeHead(200).end(answer);
      else response.writeHead(429).end('{"error":{"message":"Too many."}}');
    });
    others.push(other);
    await new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve));
    const url = `http://127.0.0.1:${(other.address() as AddressInfo).port}`;
    const { code, out } = await bench(url, "--streams", "1", "--requests", "4", "--json");
    expect(code).toBe(0);
    expect((JSON.parse(out) as ServerReport).speeds).toMatchObject([
      { answers: 2, errors: 2, errorReasons: ["429 Too many."] },
    ]);
  });

  it.each([
    [
      "refuses in OpenAI's words",
      () => otherServer(401, '{"error":{"message":"No such key."}}'),
      "The first failed with: 401 No such key.",
    ],
    ["refuses in its own words", () => otherServer(503, "<html>"), "The first failed with: 503 Service Unavailable"],
    ["says nothing", () => otherServer(200, "data: [DONE]\n\n"), "The first failed with: the answer was empty"],
    [
      "breaks off with an error event",
      () => otherServer(200, 'data: {"choices":[{"delta":{"content":"a"}}]}\n\ndata: {"error":{"message":"Out."}}\n\n'),
      "The first failed with: Out.",
    ],
    ["is not there", () => Promise.resolve("http://127.0.0.1:9"), "answered none of 2 requests"],
  ])("exits with 1 and a sentence when the server %s", async (_, url, sentence) => {
    const { code, out, err } = await bench(await url(), "--streams", "1", "--requests", "2");
    expect({ code, out }).toEqual({ code: 1, out: "" });
    expect(err).toContain(sentence);
  });

  it("exits with 1 and our own server's sentence when the model is not served", async () => {
    const scripted = await startTestServer([new ScriptedEngine()]);
    const { code, err } = await bench(scripted.url, "--model-id", "other", "--streams", "1", "--requests", "1");
    await scripted.shutdown(0);
    expect(code).toBe(1);
    expect(err).toContain("The first failed with: 404 ");
  });
});
