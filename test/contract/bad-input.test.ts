import { connect } from "node:net";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { EngineClient } from "../../src/engine/thread/engine-client.js";
import { openTestModel } from "./open-test-model.js";
import { answerOf, errorOf, startTestServer, type TestServer } from "./start-test-server.js";

let engine: EngineClient;
let server: TestServer;
let closeModel: () => Promise<void>;

beforeAll(async () => {
  ({ engine, close: closeModel } = await openTestModel());
  server = await startTestServer([engine], { maxBodyBytes: 20_000 });
});
afterAll(async () => {
  await server.shutdown(0);
  await closeModel();
});

const good = { model: "tiny:alpaca", messages: [{ role: "user", content: "Hi" }], temperature: 0, max_tokens: 4 };

describe("after bad input, the next request is served:", () => {
  afterEach(async () => {
    const answer = await server.chat(good);
    expect(answer.status).toBe(200);
    expect(answerOf(answer).usage.completion_tokens).toBeGreaterThan(0);
    await expect.poll(() => engine.inspect()).toMatchObject({ waiting: 0, running: 0, lanesInUse: 0, violations: [] });
    expect(server.running.count).toBe(0);
    // A client's mistake is no failure of the server's.
    expect(server.logged).toEqual([]);
  });

  it.each([
    ["wrong JSON", '{"model": "tiny",', 400, "invalid_json", null],
    ["no JSON at all", "model=tiny", 400, "invalid_json", null],
    ["nothing", "", 400, "invalid_json", null],
    ["bytes that are no text", Buffer.from([0x7b, 0xff, 0xfe]), 400, "invalid_json", null],
    ["an array", "[]", 400, "invalid_request", null],
    ["an unknown model", { ...good, model: "gpt-4" }, 404, "model_not_found", "model"],
    ["a model of another type", { ...good, model: 4 }, 400, "invalid_request", "model"],
    ["empty messages", { ...good, messages: [] }, 400, "invalid_request", "messages"],
    ["negative max_tokens", { ...good, max_tokens: -2 }, 400, "invalid_request", "max_tokens"],
    [
      "max_tokens beyond all numbers",
      JSON.stringify(good).replace("4}", "1e999}"),
      400,
      "invalid_request",
      "max_tokens",
    ],
    ["a temperature too high", { ...good, temperature: 2.5 }, 400, "invalid_request", "temperature"],
    [
      "a prompt longer than the context",
      { ...good, messages: [{ role: "user", content: "word ".repeat(2000) }] },
      400,
      "context_length_exceeded",
      "messages",
    ],
    ["a body over the limit", { ...good, user: "x".repeat(20_000) }, 413, "body_too_large", null],
    ["nesting without end", `{"messages": ${"[".repeat(19_000)}`, 400, "invalid_json", null],
    [
      "deep nesting",
      `{"model":"tiny","messages":${"[".repeat(9_000)}${"]".repeat(9_000)}}`,
      400,
      "invalid_request",
      "messages[0]",
    ],
  ])("%s", async (_, body, status, code, param) => {
    const answer = await server.chat(body);
    expect([answer.status, errorOf(answer).code, errorOf(answer).param]).toEqual([status, code, param]);
    expect(answer.headers["content-type"]).toBe("application/json");
  });

  it("a body over the limit that announces no length", async () => {
    const answer = await server.chat(Buffer.alloc(30_000, "x"), { headers: { "transfer-encoding": "chunked" } });
    expect([answer.status, errorOf(answer).code]).toEqual([413, "body_too_large"]);
  });

  it("a body much over the limit, still being sent when it is refused", async () => {
    const head = `POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: ${2 ** 30}\r\n\r\n`;
    expect(await talk(server.port, head + "x".repeat(1_000))).toMatch(/^HTTP\/1\.1 413 /);
  });

  it("a body that is refused before it is read: it is passed over, and the connection goes on", async () => {
    const bytes = 8_000_000;
    const head = `POST /nowhere HTTP/1.1\r\nhost: localhost\r\ncontent-length: ${bytes}\r\n\r\n`;
    const next = "GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n";
    const answers = await talk(server.port, head + "x".repeat(bytes) + next, '"alive"');
    expect(answers).toMatch(/^HTTP\/1\.1 404 .*HTTP\/1\.1 200 /s);
  });

  it("a body that is refused before it is read, of which no more comes: the connection ends with the answer", async () => {
    const head = "POST /nowhere HTTP/1.1\r\nhost: localhost\r\ncontent-length: 8000000\r\n\r\n";
    expect(await talk(server.port, head + "x".repeat(1_000), "nothing")).toMatch(
      /^HTTP\/1\.1 404 .*connection: close.*"route_not_found"/is,
    );
  });

  it("something that is not HTTP", async () => {
    const answer = await talk(server.port, "EHLO mail.example\r\n\r\n");
    expect(answer).toMatch(/^HTTP\/1\.1 400 /);
    expect(answer).toContain('"type":"invalid_request_error"');
    expect(answer).toMatch(/x-request-id: req_/);
  });

  it("a client that hangs up in mid-stream", async () => {
    const client = new AbortController();
    const answer = server.chat(
      { ...good, max_tokens: 300, stream: true },
      { signal: client.signal, onText: (text) => text.includes('"content":"') && client.abort() },
    );
    await expect(answer).rejects.toThrow();
  });

  it("a client that hangs up before the answer of an unstreamed request", async () => {
    const client = new AbortController();
    const answer = server.chat({ ...good, max_tokens: 300 }, { signal: client.signal });
    const gone = expect(answer).rejects.toThrow();
    await expect.poll(async () => (await engine.inspect()).running, { interval: 1 }).toBe(1);
    client.abort();
    await gone;
  });

  it("a client that hangs up in the middle of its own request", async () => {
    const socket = connect(server.port, "127.0.0.1");
    socket.write("POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{");
    await expect.poll(() => server.running.count).toBe(1);
    socket.destroy();
    await expect.poll(() => server.running.count).toBe(0);
  });
});

/** Sends text over a bare socket; resolves with all that comes back until the first answer's end (or `last`) or the socket's. */
function talk(port: number, text: string, last = "}}"): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1");
    let answer = "";
    socket.setEncoding("utf8");
    socket.on("data", (chunk: string) => {
      answer += chunk;
      if (answer.includes(last)) {
        socket.destroy();
      }
    });
    socket.on("error", reject);
    socket.on("close", () => resolve(answer));
    socket.write(text);
  });
}
