import { mkdtemp, rm } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import OpenAI from "openai";
import { afterEach, describe, expect, it } from "vitest";
import { writeKeyFile } from "../../src/server/edge/key-file.js";
import { hashKey, newKey } from "../../src/server/edge/key-ring.js";
import { type Script, ScriptedEngine, scriptedModel } from "../server/scripted-engine.js";
import {
  answerOf,
  type Exchange,
  errorOf,
  framesOf,
  startTestServer,
  type TestServer,
  untilCommented,
} from "./start-test-server.js";

const question = { model: "tiny", messages: [{ role: "user", content: "Who are you?" }] };
const streamed = { ...question, stream: true };
const [userKey, otherKey, adminKey] = [newKey(), newKey(), newKey()];
const bearer = (key: string) => ({ headers: { authorization: `Bearer ${key}` } });

const servers: TestServer[] = [];
afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server.shutdown(0)));
});

async function start(options: Parameters<typeof startTestServer>[1] = {}, script: Script = {}) {
  const engine = new ScriptedEngine();
  engine.script = script;
  const server = await startTestServer([engine], options);
  servers.push(server);
  return { engine, server };
}

const keyed = { edge: { keys: { userKeys: [userKey, otherKey], adminKeys: [adminKey] } } };

describe("keys", () => {
  it("wire row 9: a missing or wrong one is 401 invalid_api_key with www-authenticate, whatever was asked", async () => {
    const { server, engine } = await start(keyed);
    const answers = [
      await server.chat(question),
      await server.chat(streamed, bearer("sk-wrong")),
      await server.chat(question, bearer(`${userKey}x`)),
      await server.chat(question, { headers: { authorization: userKey } }),
      await server.chat(question, { headers: { authorization: `Basic ${userKey}` } }),
      await server.exchange("/v1/models"),
      await server.exchange("/v1/no/such/route"),
      await server.exchange("/v1/adapters", { method: "POST" }),
      await server.exchange("/v1/models", { method: "DELETE" }),
    ];
    for (const answer of answers) {
      expect([answer.status, answer.headers["www-authenticate"], errorOf(answer).code]).toEqual([
        401,
        "Bearer",
        "invalid_api_key",
      ]);
      expect(answer.headers["x-should-retry"]).toBeUndefined();
    }
    expect(errorOf(answers[0] as Exchange).message).toMatch(/^You didn't provide an API key\. /);
    // Enough to recognise it, not enough to use it.
    const { message } = errorOf(answers[2] as Exchange);
    expect(message).toMatch(/^Incorrect API key provided: sk-t\*{8}...x\.$/);
    expect(engine.requests).toEqual([]);
  });

  it("is taken as a bearer token, and in the headers that Azure's and Anthropic's clients use", async () => {
    const { server } = await start(keyed);
    for (const headers of [
      { authorization: `Bearer ${userKey}` },
      { authorization: `bearer  ${otherKey}` },
      { "api-key": userKey },
      { "x-api-key": adminKey },
    ] as Record<string, string>[]) {
      expect((await server.chat(question, { headers })).status).toBe(200);
    }
    const client = (apiKey: string) => new OpenAI({ baseURL: `${server.url}/v1`, apiKey, maxRetries: 0 });
    const models = await client(userKey).models.list();
    expect(models.data.map(({ id }) => id)).toContain("tiny");
    await expect(client("sk-nobody").models.list()).rejects.toThrow(OpenAI.AuthenticationError);
  });

  it("is not needed to see whether the server lives, and for metrics only when that is set", async () => {
    const { server } = await start(keyed);
    // The page too: it is where a key is entered.
    for (const path of ["/health", "/livez", "/readyz", "/metrics", "/"]) {
      expect((await server.exchange(path)).status).toBe(200);
    }
    const closed = await start({ edge: { ...keyed.edge, metricsAccess: "keyed" } });
    expect((await closed.server.exchange("/metrics")).status).toBe(401);
    expect((await closed.server.exchange("/metrics", bearer(userKey))).status).toBe(200);
  });

  it("of a user never reaches what changes the served models", async () => {
    const { server } = await start(keyed);
    for (const [method, path, status] of [
      ["POST", "/v1/adapters", 400],
      ["DELETE", "/v1/adapters/poet", 404],
      ["POST", "/v1/%61dapters", 400],
    ] as const) {
      const refused = await server.exchange(path, { method, ...bearer(userKey) });
      expect([refused.status, errorOf(refused).code]).toEqual([403, "insufficient_permissions"]);
      // This server has no adapters folder, and one of these is no route; an admin gets as far as to learn that.
      expect((await server.exchange(path, { method, ...bearer(adminKey) })).status).toBe(status);
    }
  });

  it("of a file count as long as they stand there", async () => {
    const folder = await mkdtemp(join(tmpdir(), "toast-edge-"));
    try {
      const file = join(folder, "keys.json");
      const stored = { name: "alice", role: "user", sha256: hashKey(userKey), created: "2024" } as const;
      await writeKeyFile(file, [stored]);
      const { server } = await start({ edge: { keys: { file } } });
      expect((await server.chat(question, bearer(userKey))).status).toBe(200);
      await expect.poll(() => server.lines).toContainEqual(expect.objectContaining({ key: "alice", status: 200 }));
      await writeKeyFile(file, []);
      expect((await server.chat(question, bearer(userKey))).status).toBe(401);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});

describe("without keys", () => {
  const admin = { method: "POST" };

  it("what changes the served models is open on this machine, and not through a proxy on it", async () => {
    const { server } = await start();
    expect((await server.exchange("/v1/adapters", admin)).status).toBe(400);
    for (const name of ["x-forwarded-for", "forwarded", "via", "x-real-ip"]) {
      const refused = await server.exchange("/v1/adapters", { ...admin, headers: { [name]: "203.0.113.1" } });
      expect([refused.status, errorOf(refused).code]).toEqual([403, "insufficient_permissions"]);
    }
  });

  it("it is closed when others can reach the server, which says so loudly", async () => {
    const { server } = await start({ edge: { host: "0.0.0.0" } });
    expect((await server.exchange("/v1/adapters", admin)).status).toBe(403);
    expect((await server.chat(question)).status).toBe(200);
    expect(server.lines[0]).toMatchObject({ level: "warn", msg: expect.stringContaining("NO API KEY IS SET") });
  });

  it("a name that was made to point here is refused", async () => {
    const { server } = await start();
    const rebound = await server.chat(question, { headers: { host: `evil.example:${server.port}` } });
    expect([rebound.status, errorOf(rebound).code]).toEqual([403, "host_not_allowed"]);
    const named = await start({ edge: { allowedHosts: ["toast.example"] } });
    expect((await named.server.chat(question, { headers: { host: "toast.example" } })).status).toBe(200);
  });

  it("pages of other origins are refused before anything is computed", async () => {
    const { server, engine } = await start();
    // What a browser sends without asking first: a form's content type, and JSON in it.
    const simple = { headers: { origin: "https://evil.example", "content-type": "text/plain" } };
    const refused = await server.chat(question, simple);
    expect([refused.status, errorOf(refused).code]).toEqual([403, "origin_not_allowed"]);
    expect(refused.headers["access-control-allow-origin"]).toBeUndefined();
    expect(engine.requests).toEqual([]);
    const own = { headers: { origin: server.url } };
    expect((await server.chat(question, own)).headers["access-control-allow-origin"]).toBe(server.url);
  });
});

describe("wire rows", () => {
  const preflight = (origin: string) => ({
    method: "OPTIONS",
    headers: {
      origin,
      "access-control-request-method": "POST",
      "access-control-request-headers": "authorization,content-type,x-stainless-lang,x-stainless-os",
    },
  });

  it("wire row 21: a preflight needs no key and reflects the headers asked for, for allowed origins only", async () => {
    const any = await start(keyed);
    const reflected = await any.server.exchange("/v1/chat/completions", preflight("https://any.example"));
    expect(reflected.status).toBe(204);
    expect(reflected.headers).toMatchObject({
      "access-control-allow-origin": "https://any.example",
      "access-control-allow-headers": "authorization,content-type,x-stainless-lang,x-stainless-os",
      "access-control-allow-methods": expect.stringContaining("POST"),
      "access-control-max-age": "600",
    });
    expect(reflected.headers.vary).toContain("Origin");
    const listed = await start({ edge: { ...keyed.edge, corsOrigins: ["https://chat.example"] } });
    const allowed = await listed.server.exchange("/v1/models", preflight("https://chat.example"));
    expect(allowed.headers["access-control-allow-origin"]).toBe("https://chat.example");
    const other = await listed.server.exchange("/v1/models", preflight("https://other.example"));
    expect(other.headers["access-control-allow-origin"]).toBeUndefined();
    // An error is readable by the page that caused it, and so are the headers that it needs.
    const unkeyed = await listed.server.chat(question, { headers: { origin: "https://chat.example" } });
    expect([unkeyed.status, unkeyed.headers["access-control-allow-origin"]]).toEqual([401, "https://chat.example"]);
    expect(unkeyed.headers["access-control-expose-headers"]).toContain("retry-after");
  });

  it("wire row 10: an unknown model is 404 model_not_found behind the edge, and never another model", async () => {
    const { server, engine } = await start(keyed);
    const answer = await server.chat({ ...question, model: "tin" }, bearer(userKey));
    expect([answer.status, errorOf(answer).code, errorOf(answer).param]).toEqual([404, "model_not_found", "model"]);
    expect(engine.requests).toEqual([]);
  });

  it("wire row 7: limits and deadlines before the first token are real statuses, for streams too", async () => {
    const limited = await start({ edge: { requestsPerMinute: 1 } });
    await limited.server.chat(streamed);
    expect((await limited.server.chat(streamed)).status).toBe(429);
    const late = await start({ requestTimeoutMs: 30 }, { delayMs: Number.POSITIVE_INFINITY });
    const timedOut = await late.server.chat(streamed);
    expect([timedOut.status, timedOut.headers["content-type"]]).toEqual([408, "application/json"]);
    expect([errorOf(timedOut).code, timedOut.headers["x-should-retry"]]).toEqual(["request_timeout", "false"]);
    expect((await late.server.chat(question)).status).toBe(408);
    await expect.poll(() => late.engine.running).toBe(0);
  });

  it("wire row 6: a deadline in mid-stream is a data line of JSON", async () => {
    const { server, engine } = await start(
      { requestTimeoutMs: 150 },
      { texts: Array(1_000).fill("word "), delayMs: 20 },
    );
    const frames = framesOf(await server.chat(streamed));
    expect(frames.length).toBeGreaterThan(3);
    expect(JSON.parse(frames.at(-2)?.slice("data: ".length) ?? "")).toEqual({
      error: {
        message: "The answer was not complete after 0.15 seconds, the limit of this server. Ask for fewer tokens.",
        type: "invalid_request_error",
        param: null,
        code: "request_timeout",
      },
    });
    await expect.poll(() => engine.running).toBe(0);
  });

  it("wire row 5: [DONE] is last after a deadline in mid-stream", async () => {
    const { server } = await start({ requestTimeoutMs: 100 }, { texts: Array(1_000).fill("word "), delayMs: 20 });
    expect(framesOf(await server.chat(streamed)).at(-1)).toBe("data: [DONE]");
  });

  it("wire row 8: every error of the edge has all four keys", async () => {
    for (const answer of await everyRefusal()) {
      const { error, ...rest } = JSON.parse(answer.text) as { error: object };
      expect(rest).toEqual({});
      expect(Object.keys(error)).toEqual(["message", "type", "param", "code"]);
      expect(errorOf(answer).message).toMatch(/^.+[.]$/s);
      expect(answer.headers["content-type"]).toBe("application/json");
    }
  });

  it("wire row 9: what may be tried again says when; what would fail again is no status that clients retry", async () => {
    const answers = await everyRefusal();
    expect(answers.map(({ status }) => status)).toEqual([
      401, 403, 403, 403, 404, 405, 408, 413, 429, 429, 429, 503, 503,
    ]);
    for (const { status, headers } of answers) {
      const again = status === 429 || status === 503;
      expect(headers["retry-after"] !== undefined).toBe(again);
      if (status === 408) expect(headers["x-should-retry"]).toBe("false");
    }
  });

  it("wire row 22: a stream behind a key and limits gets comments while it waits for its turn", async () => {
    const options = { keepAliveMs: 20, edge: { ...keyed.edge, requestsPerMinute: 100 } };
    const { promise, onText } = untilCommented();
    const { server } = await start(options, { texts: ["late"], until: promise });
    const answer = await server.chat(streamed, { ...bearer(userKey), onText });
    const frames = framesOf(answer);
    expect(answer.status).toBe(200);
    expect(frames.filter((frame) => frame.startsWith(":")).length).toBeGreaterThanOrEqual(2);
    expect(frames.every((frame) => /^(: keep-alive|data: \S.*)$/.test(frame))).toBe(true);
  });

  it("wire row 23: a client that leaves ends the work and its place in the limits, streamed or not", async () => {
    const { server, engine } = await start({ edge: { maxConcurrent: 1 } }, { delayMs: Number.POSITIVE_INFINITY });
    for (const stream of [true, false]) {
      const client = new AbortController();
      const answer = server.chat({ ...question, stream }, { signal: client.signal });
      const gone = expect(answer).rejects.toThrow();
      await expect.poll(() => engine.running, { interval: 5 }).toBe(1);
      expect((await server.chat(question)).status).toBe(429);
      client.abort();
      await gone;
      await expect.poll(() => [engine.running, server.running.count]).toEqual([0, 0]);
    }
    expect(engine.cancelled).toBe(2);
    // As nginx has it: the client closed its request.
    await expect
      .poll(() => server.lines.filter(({ status }) => status === 499))
      .toEqual([
        expect.objectContaining({ finished: ["cancelled"] }),
        expect.objectContaining({ finished: ["cancelled"] }),
      ]);
  });

  it("wire row 26: every answer of the edge has an x-request-id of its own, or the client's", async () => {
    const ids = (await everyRefusal()).map(({ headers }) => headers["x-request-id"]);
    expect(ids.every((id) => typeof id === "string" && /^req_[0-9a-f]{32}$/.test(id))).toBe(true);
    expect(new Set(ids).size).toBe(ids.length);
    const { server } = await start(keyed);
    const headers = { "x-request-id": "mine-7" };
    expect((await server.chat(question, { headers })).headers["x-request-id"]).toBe("mine-7");
    expect((await server.exchange("/metrics", { headers })).headers["x-request-id"]).toBe("mine-7");
  });

  /** One of each, in the order of their statuses. */
  async function everyRefusal(): Promise<Exchange[]> {
    const locked = await start(keyed);
    const open = await start({ maxBodyBytes: 1_000 });
    const late = await start({ requestTimeoutMs: 20 }, { delayMs: Number.POSITIVE_INFINITY });
    const waiting = await start(
      { edge: { queueTimeoutMs: 20 } },
      { delayMs: Number.POSITIVE_INFINITY, startsNever: true },
    );
    const limited = await start({ edge: { requestsPerMinute: 1 } });
    await limited.server.chat(question);
    const narrow = await start({ edge: { maxConcurrent: 1 } }, { delayMs: Number.POSITIVE_INFINITY });
    const client = new AbortController();
    const first = narrow.server.chat(question, { signal: client.signal }).catch(() => {});
    await expect.poll(() => narrow.engine.running, { interval: 5 }).toBe(1);
    const loading = new ScriptedEngine(scriptedModel, { kind: "loading", stage: "reading weights", fraction: 0.5 });
    const early = await startTestServer([loading]);
    const leaving = await start({}, { delayMs: 200 });
    servers.push(early);
    leaving.server.running.stopAccepting();
    const answers = [
      await locked.server.chat(question),
      await locked.server.exchange("/v1/adapters", { method: "POST", ...bearer(userKey) }),
      await open.server.chat(question, { headers: { host: "evil.example" } }),
      await open.server.chat(question, { headers: { origin: "https://evil.example" } }),
      await open.server.exchange("/v1/nothing"),
      await open.server.exchange("/metrics", { method: "POST" }),
      await late.server.chat(question),
      await open.server.chat({ ...question, user: "x".repeat(2_000) }),
      await waiting.server.chat(question),
      await limited.server.chat(question),
      await narrow.server.chat(question),
      await early.chat(question),
      await leaving.server.chat(question),
    ];
    client.abort();
    await first;
    return answers;
  }
});

describe("limits", () => {
  it("tell each key what is left in OpenAI's headers, and when to come back", async () => {
    const edge = { ...keyed.edge, requestsPerMinute: 2, tokensPerMinute: 20 };
    const { server } = await start({ edge });
    const first = await server.chat(question, bearer(userKey));
    expect(first.headers).toMatchObject({
      "x-ratelimit-limit-requests": "2",
      "x-ratelimit-remaining-requests": "1",
      "x-ratelimit-reset-requests": "30s",
      "x-ratelimit-limit-tokens": "20",
      "x-ratelimit-remaining-tokens": "20",
    });
    // They come back so slowly that no slow machine sees it.
    expect(answerOf(first).usage.total_tokens).toBe(6);
    const second = await server.chat(streamed, bearer(userKey));
    expect(Number(second.headers["x-ratelimit-remaining-tokens"])).toBeLessThan(20);
    const third = await server.chat(question, bearer(userKey));
    expect([third.status, errorOf(third).code, errorOf(third).type]).toEqual([
      429,
      "rate_limit_exceeded",
      "rate_limit_error",
    ]);
    expect(Number(third.headers["retry-after"])).toBeGreaterThan(20);
    expect(third.headers["x-ratelimit-remaining-requests"]).toBe("0");
    // Another key has its own; reading is not counted.
    expect((await server.chat(question, bearer(otherKey))).status).toBe(200);
    expect((await server.exchange("/v1/models", bearer(userKey))).status).toBe(200);
  });

  it("count callers without a key by address", async () => {
    const { server } = await start({ edge: { requestsPerMinute: 1 } });
    expect((await server.chat(question)).status).toBe(200);
    const refused = await server.chat(question);
    expect(refused.status).toBe(429);
    // A forged address makes no new caller.
    expect((await server.chat(question, { headers: { "x-forwarded-for": "203.0.113.5" } })).status).toBe(429);
  });

  it("of tokens let nobody in who has used up his own", async () => {
    const { server } = await start({ edge: { tokensPerMinute: 4 } });
    expect((await server.chat(question)).status).toBe(200);
    const refused = await server.chat(question);
    expect(errorOf(refused).message).toMatch(/^Rate limit reached for tokens per min: Limit 4\. /);
  });

  it("of the queue send a request away whose turn does not come, and count nothing else", async () => {
    const { server, engine } = await start({ edge: { queueTimeoutMs: 50 } }, { delayMs: 1_000, startsNever: true });
    const refused = await server.chat(question);
    expect([refused.status, errorOf(refused).code, refused.headers["retry-after"]]).toEqual([
      429,
      "server_overloaded",
      "1",
    ]);
    await expect.poll(() => engine.running).toBe(0);
    // One that has begun may take longer than the queue's limit.
    engine.script = { texts: ["slow"], delayMs: 200 };
    expect((await server.chat(question)).status).toBe(200);
  });
});

describe("OpenAI's client", () => {
  const patient = (server: TestServer) => new OpenAI({ baseURL: `${server.url}/v1`, apiKey: "none", maxRetries: 2 });

  it("tries again when a limit is reached, and gets its answer", async () => {
    const { server, engine } = await start({ edge: { maxConcurrent: 1 } });
    const refused = () => server.lines.some(({ status }) => status === 429);
    engine.script = { until: expect.poll(refused).toBe(true) };
    const ask = () =>
      patient(server).chat.completions.create({ model: "tiny", messages: [{ role: "user", content: "Hi" }] });
    await Promise.all([ask(), ask()]);
    expect(engine.requests).toHaveLength(2);
  });

  it("does not try again what took too long", async () => {
    const { server, engine } = await start({ requestTimeoutMs: 30 }, { delayMs: Number.POSITIVE_INFINITY });
    const asked = patient(server).chat.completions.create({
      model: "tiny",
      messages: [{ role: "user", content: "Hi" }],
    });
    await expect(asked).rejects.toMatchObject({ status: 408, code: "request_timeout" });
    expect(engine.requests).toHaveLength(1);
  });
});

describe("connections", () => {
  it("with headers over the limit get 431 and words", async () => {
    const { server } = await start({ connections: { maxHeaderBytes: 2_048 } });
    const answer = await server.exchange("/health", { headers: { "x-long": "x".repeat(4_000) } });
    expect([answer.status, errorOf(answer).message]).toEqual([
      431,
      "The request's headers are larger than this server takes.",
    ]);
  });

  it("that never end their request are closed with 408: slow headers and slow bodies alike", async () => {
    const { server } = await start({ connections: { headersMs: 100, requestMs: 200 } });
    const head = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n";
    expect(await talk(server.port, head)).toMatch(/^HTTP\/1\.1 408 [\s\S]*took too long to arrive/);
    expect(await talk(server.port, `${head}content-length: 100\r\n\r\n{`)).toMatch(/^HTTP\/1\.1 408 /);
    await expect.poll(() => server.running.count).toBe(0);
  });

  it("whose client reads nothing are dropped, and the work with them", async () => {
    const texts = Array<string>(100_000).fill("a word that fills buffers ");
    const { server, engine } = await start({ connections: { stallMs: 200 } }, { texts });
    const body = JSON.stringify(streamed);
    const socket = connect(server.port, "127.0.0.1");
    socket.on("error", () => {});
    socket.pause();
    socket.write(
      `POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
    );
    await expect.poll(() => engine.running, { interval: 5 }).toBe(1);
    await expect.poll(() => [engine.running, server.running.count], { timeout: 10_000 }).toEqual([0, 0]);
    socket.destroy();
  });

  it("that wait longer for an answer than a stalled reader may are kept", async () => {
    const { server } = await start({ connections: { stallMs: 50 } }, { texts: ["late"], delayMs: 400 });
    expect((await server.chat(question)).status).toBe(200);
  });
});

describe("the log", () => {
  it("has one line for each request: who, what, how much, how long, and no word of the prompt", async () => {
    const { server } = await start(keyed);
    const asked = { ...question, model: "tiny:alpaca", steering: { strength: 2 } };
    const answer = await server.chat(asked, { headers: { authorization: `Bearer ${userKey}`, "x-request-id": "r-1" } });
    await expect.poll(() => server.lines.filter(({ route }) => route !== undefined)).toHaveLength(1);
    const line = server.lines.find(({ route }) => route !== undefined);
    expect(line).toMatchObject({
      level: "info",
      time: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
      msg: "POST /v1/chat/completions 200",
      requestId: "r-1",
      route: "/v1/chat/completions",
      status: 200,
      key: "given user key 1",
      model: "tiny:alpaca",
      adapter: "alpaca",
      strength: 2,
      promptTokens: answerOf(answer).usage.prompt_tokens,
      completionTokens: answerOf(answer).usage.completion_tokens,
      queueMs: 5,
      finished: ["stop"],
    });
    const { durationMs, ttftMs } = line as { durationMs: number; ttftMs: number };
    expect(durationMs).toBeGreaterThanOrEqual(ttftMs);
    expect(JSON.stringify(server.lines)).not.toMatch(/Who are you|I am|sk-toast/);
  });

  it("has prompts and answers when it was asked to", async () => {
    const { server } = await start({ edge: { logPrompts: true } });
    await server.chat(streamed);
    await expect
      .poll(() => server.lines)
      .toContainEqual(expect.objectContaining({ prompts: [question.messages], texts: ["I am plain"] }));
  });

  it("has the stack of a failure of the server's own, and the code of a refusal", async () => {
    const { server } = await start({}, { failure: { at: 0, error: new Error("The engine fell over.") } });
    await server.chat(question, { headers: { "x-request-id": "r-2" } });
    await server.chat("{");
    await expect.poll(() => server.lines.map(({ error }) => error)).toContain("invalid_json");
    const failure = server.lines.find(({ err }) => err !== undefined);
    expect(failure).toMatchObject({ level: "error", requestId: "r-2", err: { message: "The engine fell over." } });
    expect(failure).toMatchObject({ err: { stack: expect.stringContaining("edge.test.ts:") } });
    expect(server.lines).toContainEqual(
      expect.objectContaining({ level: "error", status: 500, error: "internal_error" }),
    );
  });

  it("names a route by its pattern, and keeps probes to those who debug", async () => {
    const { server } = await start();
    await server.exchange("/v1/models/tiny?secret=1");
    await server.exchange("/secret/path");
    await server.exchange("/livez");
    await expect
      .poll(() => server.lines.map(({ level, msg }) => `${String(level)} ${String(msg)}`))
      .toEqual(["info GET /v1/models/:id{.+} 200", "info GET unmatched 404", "debug GET /livez 200"]);
    expect(JSON.stringify(server.lines)).not.toContain("secret");
  });
});

/** Sends text over a bare socket; resolves with all that came back once the server closes it. */
function talk(port: number, text: string): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    let answer = "";
    socket.setEncoding("utf8");
    socket.on("data", (chunk: string) => {
      answer += chunk;
    });
    socket.on("error", () => {});
    socket.on("close", () => resolve(answer));
    socket.write(text);
  });
}
