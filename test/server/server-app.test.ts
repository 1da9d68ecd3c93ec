import { setTimeout as wait } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { EngineWatch } from "../../src/engine/engine-watch.js";
import type { ModelInfo } from "../../src/engine/model-info.js";
import { ToastError } from "../../src/errors.js";
import { buildApp, framesOf, question } from "./build-app.js";
import { ScriptedEngine, scriptedModel } from "./scripted-engine.js";

const idPattern = /^req_[0-9a-f]{32}$/;

describe("GET /health", () => {
  it("is 200 when a request would be taken", async () => {
    const response = await buildApp().app.request("/health");
    expect(response.status).toBe(200);
    expect(await response.json()).toEqual({
      status: "ready",
      running: 0,
      models: ["tiny", "tiny:alpaca", "tiny:poet"],
    });
  });

  it("is 503 with progress while one engine of several loads", async () => {
    const loading = new ScriptedEngine(scriptedModel, { kind: "loading", stage: "reading weights", fraction: 0.5 });
    const response = await buildApp({ engines: [new ScriptedEngine(), loading] }).app.request("/health");
    expect(response.status).toBe(503);
    expect(await response.json()).toEqual({ status: "loading", stage: "reading weights", fraction: 0.75 });
  });

  it("is 503 when an engine has failed, and while draining", async () => {
    const { app, engine, running } = buildApp();
    engine.phase = { kind: "failed", message: "The weights are corrupt." };
    const failed = await app.request("/health");
    expect([failed.status, await failed.json()]).toEqual([
      503,
      { status: "failed", message: "The weights are corrupt." },
    ]);
    running.stopAccepting();
    const draining = await app.request("/health");
    expect([draining.status, await draining.json()]).toEqual([503, { status: "draining", running: 0 }]);
  });
});

describe("work that one request asks for", () => {
  it("has a limit, said with what to do; one answer that fills the context is within any", async () => {
    const { chat } = buildApp({ maxRequestTokens: 50 });
    const refused = await chat({ ...question, n: 3, max_tokens: 26 });
    expect([refused.status, await refused.json()]).toEqual([
      400,
      {
        error: {
          code: "invalid_request",
          type: "invalid_request_error",
          param: "n",
          message:
            "3 answers of up to 26 tokens each are 78 tokens; one request may ask for 64. Ask for fewer answers, set a smaller 'max_tokens', or send several requests.",
        },
      },
    ]);
    expect((await chat({ ...question, n: 3, max_tokens: 21 })).status).toBe(200);
    expect((await chat(question)).status).toBe(200);
    const unsaid = await chat({ ...question, n: 2 });
    expect(await unsaid.json()).toMatchObject({
      error: { message: expect.stringContaining("64 tokens each ('max_tokens' says nothing less) are 128") },
    });
  });

  it("counts all prompts of a completion", async () => {
    const { app } = buildApp({ maxRequestTokens: 90 });
    const complete = (prompts: number) =>
      app.request("/v1/completions", {
        method: "POST",
        body: JSON.stringify({
          model: "tiny",
          prompt: Array.from({ length: prompts }, () => "a word"),
          max_tokens: 30,
        }),
      });
    expect((await complete(3)).status).toBe(200);
    const refused = await complete(4);
    expect([refused.status, await refused.json()]).toMatchObject([400, { error: { param: "prompt" } }]);
  });
});

describe("callers", () => {
  it("are told to the engine by their keys, so that turns go round between them", async () => {
    const keys = ["key-of-alice-0123456", "key-of-bob-012345678"];
    const { chat, engine } = buildApp({ edge: { keys: { userKeys: keys } } });
    for (const key of [...keys, keys[0]]) {
      await chat(question, { headers: { authorization: `Bearer ${key}` } });
    }
    const [alice, bob, again] = engine.requests.map(({ caller }) => caller);
    expect(alice).toBeTruthy();
    expect(again).toBe(alice);
    expect(bob).not.toBe(alice);
  });
});

describe("an engine that stands", () => {
  it("makes the server not ready until it answers again", async () => {
    let now = 0;
    const { app, engine } = buildApp({ watch: new EngineWatch(() => now) });
    const status = await engine.inspect();
    let answer = () => {};
    engine.inspect = () =>
      new Promise((resolve) => {
        answer = () => resolve(status);
      });
    expect((await app.request("/readyz")).status).toBe(200);
    now = 31_000;
    const silent = await app.request("/readyz");
    expect([silent.status, await silent.json()]).toEqual([
      503,
      { status: "failed", message: "The engine of tiny has not answered for 31 seconds." },
    ]);
    expect((await app.request("/livez")).status).toBe(200);
    // Nobody waits for ever: what stands for so long needs a new process.
    now = 301_000;
    const lost = await app.request("/livez");
    expect([lost.status, await lost.json()]).toEqual([
      503,
      { status: "failed", failures: ["The engine of tiny has not answered for 301 seconds."] },
    ]);
    answer();
    await expect.poll(async () => (await app.request("/readyz")).status).toBe(200);
  });
});

describe("an engine that is being started again", () => {
  const message = "The engine of tiny stopped and is being started again.";
  const restarting = () => new ScriptedEngine(scriptedModel, { kind: "restarting", message, model: scriptedModel });

  it("makes the server not ready and leaves it alive; the others go on", async () => {
    const engine = restarting();
    engine.script = { rejection: new ToastError("engine_stopped", message) };
    const { app, chat } = buildApp({ engines: [engine, new ScriptedEngine({ ...scriptedModel, id: "rival" })] });
    const ready = await app.request("/readyz");
    expect([ready.status, await ready.json()]).toEqual([503, { status: "failed", message }]);
    expect((await app.request("/livez")).status).toBe(200);
    expect((await chat({ ...question, model: "rival" })).status).toBe(200);
    const refused = await chat(question);
    expect([refused.status, refused.headers.get("retry-after")]).toEqual([503, "2"]);
    expect(await refused.json()).toMatchObject({ error: { code: "engine_stopped", message, type: "server_error" } });
  });

  it("keeps its models in the list, alone as well", async () => {
    const { app } = buildApp({ engines: [restarting()] });
    const list = (await (await app.request("/v1/models")).json()) as { data: { id: string }[] };
    expect(list.data.map(({ id }) => id)).toEqual(["tiny", "tiny:alpaca", "tiny:poet"]);
    expect((await app.request("/health")).status).toBe(503);
  });
});

describe("GET /livez", () => {
  const failed = (model: ModelInfo | null) =>
    new ScriptedEngine(scriptedModel, { kind: "failed", message: "The engine stopped.", model });

  it("is 503 once an engine has ended that had served, with the others still there", async () => {
    const { app } = buildApp({
      engines: [failed(scriptedModel), new ScriptedEngine({ ...scriptedModel, id: "rival" })],
    });
    const lost = await app.request("/livez");
    expect([lost.status, await lost.json()]).toEqual([503, { status: "failed", failures: ["The engine stopped."] }]);
  });

  it("is 200 while engines load, and when one could not: another process could not either", async () => {
    const loading = new ScriptedEngine(scriptedModel, { kind: "loading", stage: "reading weights", fraction: 0.5 });
    for (const engines of [[loading], [failed(null), new ScriptedEngine()]]) {
      const alive = await buildApp({ engines }).app.request("/livez");
      expect([alive.status, await alive.json()]).toEqual([200, { status: "alive" }]);
    }
  });
});

describe("GET /v1/models", () => {
  it("lists the base and base:adapter, and finds each by id", async () => {
    const { app } = buildApp();
    const list = (await (await app.request("/v1/models")).json()) as { object: string; data: { id: string }[] };
    expect(list.object).toBe("list");
    expect(list.data.map(({ id }) => id)).toEqual(["tiny", "tiny:alpaca", "tiny:poet"]);
    for (const path of ["/v1/models/tiny:alpaca", "/v1/models/tiny%3Aalpaca"]) {
      const response = await app.request(path);
      expect(await response.json()).toMatchObject({
        id: "tiny:alpaca",
        object: "model",
        created: 1_700_000_000,
        owned_by: "toast-serve",
        parent: "tiny",
        steering: { adapter: "alpaca", stage: "tuned" },
      });
    }
  });

  it("answers 404 for an unknown id, whatever it looks like", async () => {
    const { app } = buildApp();
    for (const id of ["gpt-4", "tiny:", ":alpaca", "tiny:alpaca:x", "a/b/c", "%E0%A4%A", "tin"]) {
      const response = await app.request(`/v1/models/${id}`);
      expect(response.status).toBe(404);
      expect(await response.json()).toMatchObject({ error: { code: "model_not_found", param: "model" } });
    }
  });

  it("answers 503 while loading", async () => {
    const loading = new ScriptedEngine(scriptedModel, { kind: "loading", stage: "reading weights", fraction: 0.2 });
    const { app, chat } = buildApp({ engines: [loading] });
    for (const response of [
      await app.request("/v1/models"),
      await app.request("/v1/models/tiny"),
      await chat(question),
    ]) {
      expect(response.status).toBe(503);
      expect(response.headers.get("retry-after")).toBe("2");
      expect(await response.json()).toMatchObject({ error: { code: "server_loading" } });
    }
  });
});

describe("several model folders", () => {
  it("are found by their ids, each with its own engine", async () => {
    const other = new ScriptedEngine({ ...scriptedModel, id: "rival", adapters: [] });
    const { chat, engine } = buildApp({ engines: [new ScriptedEngine(), other] });
    const response = await chat({ ...question, model: "rival" });
    expect(await response.json()).toMatchObject({ model: "rival", steering: null });
    expect([engine.requests.length, other.requests.length]).toEqual([0, 1]);
  });

  it("go on when one of them has failed", async () => {
    const broken = new ScriptedEngine(scriptedModel, { kind: "failed", message: "The engine run failed." });
    const { chat } = buildApp({ engines: [broken, new ScriptedEngine({ ...scriptedModel, id: "rival" })] });
    expect((await chat({ ...question, model: "rival" })).status).toBe(200);
    const response = await chat(question);
    expect(response.status).toBe(500);
    expect(await response.json()).toMatchObject({ error: { code: "engine_failed" } });
  });

  it("are ready while one of them is, and say what became of the others", async () => {
    const rival = { ...scriptedModel, id: "rival" };
    const broken = new ScriptedEngine(scriptedModel, {
      kind: "failed",
      message: "The engine stopped.",
      model: scriptedModel,
    });
    const { app, chat } = buildApp({ engines: [broken, new ScriptedEngine(rival)] });
    const health = await app.request("/health");
    expect(health.status).toBe(200);
    expect(await health.json()).toMatchObject({ status: "ready", failures: ["The engine stopped."] });
    const list = (await (await app.request("/v1/models")).json()) as { data: { id: string }[] };
    expect(list.data.map(({ id }) => id)).toEqual(["rival", "rival:alpaca", "rival:poet"]);
    // What it served is its failure; what nobody ever served is the client's mistake.
    expect((await chat(question)).status).toBe(500);
    expect((await chat({ ...question, model: "gpt-4" })).status).toBe(404);
  });
});

describe("routes that are none", () => {
  it("answer 404 and 405 with JSON, the latter with what is allowed", async () => {
    const { app } = buildApp();
    const missing = await app.request("/v1/nothing");
    expect([missing.status, await missing.json()]).toMatchObject([404, { error: { code: "route_not_found" } }]);
    const wrong = await app.request("/v1/chat/completions");
    expect([wrong.status, wrong.headers.get("allow")]).toEqual([405, "POST"]);
    expect(await wrong.json()).toMatchObject({ error: { code: "method_not_allowed", type: "invalid_request_error" } });
    const put = await app.request("/v1/models/tiny", { method: "PUT" });
    expect([put.status, put.headers.get("allow")]).toEqual([405, "GET, HEAD"]);
    expect(put.headers.get("content-type")).toBe("application/json");
  });

  it("name their requests as every response does", async () => {
    const { app, chat } = buildApp();
    const responses = [
      await app.request("/health"),
      await app.request("/v1/nothing"),
      await app.request("/v1/chat/completions"),
      await app.request("/v1/models", { method: "OPTIONS" }),
      await chat("{"),
      await chat(question),
      await chat({ ...question, stream: true }),
    ];
    const ids = responses.map((response) => response.headers.get("x-request-id") ?? "");
    expect(ids.every((id) => idPattern.test(id))).toBe(true);
    expect(new Set(ids).size).toBe(ids.length);
  });

  it("keep a client's own request id when it is sane", async () => {
    const { app } = buildApp();
    const name = async (id: string) =>
      (await app.request("/health", { headers: { "x-request-id": id } })).headers.get("x-request-id");
    expect(await name("trace-1.2:3")).toBe("trace-1.2:3");
    expect(await name("x".repeat(500))).toMatch(idPattern);
    expect(await name('"><script>')).toMatch(idPattern);
  });
});

describe("CORS", () => {
  it("reflects whatever headers a browser client asks for", async () => {
    const headers = {
      origin: "http://localhost:3000",
      "access-control-request-method": "POST",
      "access-control-request-headers": "authorization,content-type,x-stainless-lang",
    };
    const response = await buildApp().app.request("/v1/chat/completions", { method: "OPTIONS", headers });
    expect(response.status).toBe(204);
    expect(response.headers.get("access-control-allow-headers")).toBe("authorization,content-type,x-stainless-lang");
    expect(response.headers.get("access-control-allow-methods")).toContain("POST");
  });
});

describe("POST /v1/chat/completions", () => {
  it("answers in one piece", async () => {
    const response = await buildApp().chat(question);
    expect(response.status).toBe(200);
    expect(await response.json()).toMatchObject({
      object: "chat.completion",
      model: "tiny:alpaca",
      choices: [{ message: { role: "assistant", content: "I am alpaca" }, finish_reason: "stop" }],
      usage: { prompt_tokens: 3, completion_tokens: 3, total_tokens: 6, prompt_tokens_details: { cached_tokens: 0 } },
      steering: { adapter: "alpaca", strength: 1, layers: [0, 3] },
    });
  });

  it("streams, with headers that no proxy buffers", async () => {
    const response = await buildApp().chat({ ...question, stream: true });
    expect(Object.fromEntries(response.headers)).toMatchObject({
      "content-type": "text/event-stream; charset=utf-8",
      "cache-control": "no-cache",
      "x-accel-buffering": "no",
    });
    const frames = await framesOf(response);
    const texts = frames.slice(0, -1).map((frame) => JSON.parse(frame.slice(6)).choices[0].delta.content);
    expect(texts).toEqual(["", "I", " am", " alpaca", undefined]);
    expect(frames.at(-1)).toBe("data: [DONE]");
  });

  it("hands the engine what was asked for", async () => {
    const { chat, engine } = buildApp();
    await chat({ ...question, steering: { strength: 0.5, layers: [1, 2] }, max_tokens: 2, seed: 5, temperature: 0 });
    expect(engine.requests[0]).toMatchObject({
      steering: { kind: "steered", adapter: "alpaca", strength: 0.5, layers: [1, 2], vectors: [] },
      maxTokens: 2,
      sampling: { seed: 5, temperature: 0 },
    });
  });

  it("reads JSON whatever the content type says", async () => {
    const headers = { "content-type": "application/x-www-form-urlencoded" };
    expect((await buildApp().chat(question, { headers })).status).toBe(200);
  });

  it.each([
    ["empty", ""],
    ["blank", "  \n"],
    ["cut short", '{"model": "tiny"'],
    ["not JSON", "model=tiny"],
    ["not UTF-8", Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x7d])],
  ])("answers 400 to a body that is %s", async (_, body) => {
    const response = await buildApp().app.request("/v1/chat/completions", { method: "POST", body });
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({ error: { code: "invalid_json", type: "invalid_request_error" } });
  });

  it("answers 413 to a body over the limit, announced or not", async () => {
    const { chat, app } = buildApp({ maxBodyBytes: 100 });
    const long = JSON.stringify({ ...question, user: "x".repeat(100) });
    const announced = await chat(long, { headers: { "content-length": String(long.length) } });
    const stream = new Blob([long]).stream();
    const init = { method: "POST", body: stream, duplex: "half" } as RequestInit;
    const counted = await app.request("/v1/chat/completions", init);
    for (const response of [announced, counted]) {
      expect(response.status).toBe(413);
      expect(await response.json()).toMatchObject({ error: { code: "body_too_large" } });
    }
  });

  it("gives a real status to what the engine refuses, streamed or not", async () => {
    for (const stream of [false, true]) {
      const { chat, engine, logged, running } = buildApp();
      engine.script = { rejection: new ToastError("server_overloaded", "The queue is full.") };
      const busy = await chat({ ...question, stream });
      expect([busy.status, busy.headers.get("retry-after")]).toEqual([429, "1"]);
      const words = "word ".repeat(65).trim();
      engine.script = {};
      const long = await chat({ ...question, stream, messages: [{ role: "user", content: words }] });
      expect([long.status, await long.json()]).toMatchObject([
        400,
        { error: { code: "context_length_exceeded", param: "messages" } },
      ]);
      expect([logged.length, running.count]).toEqual([0, 0]);
    }
  });

  it("gives a real status to a failure before the first token of a stream", async () => {
    const { chat, engine, running, logged } = buildApp();
    engine.script = { failure: { at: 0, error: new ToastError("engine_failed", "The engine run failed.") } };
    const response = await chat({ ...question, stream: true });
    expect([response.status, await response.json()]).toMatchObject([500, { error: { code: "engine_failed" } }]);
    expect([logged.length, running.count]).toEqual([1, 0]);
  });

  it("tells of a failure half-way in the stream, then ends it properly", async () => {
    const { chat, engine, logged, running } = buildApp();
    engine.script = { failure: { at: 2, error: new TypeError("cannot read secrets") } };
    const frames = await framesOf(await chat({ ...question, stream: true }));
    expect(JSON.parse(frames.at(-2)?.slice(6) ?? "")).toMatchObject({ error: { code: "internal_error" } });
    expect(frames.at(-1)).toBe("data: [DONE]");
    expect(frames.join()).not.toContain("secrets");
    expect([logged.length, running.count]).toEqual([1, 0]);
  });

  it("sends comments while a stream waits, before the first token and between tokens", async () => {
    const { chat, engine } = buildApp({ keepAliveMs: 20 });
    engine.script = { texts: ["a", "b"], delayMs: 150 };
    const frames = await framesOf(await chat({ ...question, stream: true }));
    const firstText = frames.findIndex((frame) => frame.includes('"content":"a"'));
    expect(frames.slice(0, firstText).filter((frame) => frame === ": keep-alive").length).toBeGreaterThan(0);
    expect(frames.slice(firstText).filter((frame) => frame === ": keep-alive").length).toBeGreaterThan(0);
    expect(frames.filter((frame) => !/^(data: \S|: )/.test(frame))).toEqual([]);
  });

  it("cancels the engine when the client of an unstreamed answer goes away", async () => {
    const { chat, engine, running, logged } = buildApp();
    engine.script = { delayMs: Number.POSITIVE_INFINITY };
    const client = new AbortController();
    const response = chat(question, { signal: client.signal });
    await expect.poll(() => engine.running, { interval: 5 }).toBe(1);
    client.abort();
    await response;
    expect([engine.cancelled, engine.running, running.count, logged.length]).toEqual([1, 0, 0, 0]);
  });

  it("cancels the engine when the reader of a stream goes away", async () => {
    const { chat, engine, running } = buildApp();
    engine.script = { texts: Array.from({ length: 1000 }, () => "word "), delayMs: 5 };
    const response = await chat({ ...question, stream: true });
    const reader = response.body?.getReader();
    await reader?.read();
    await reader?.cancel();
    expect(running.count).toBe(0);
    expect(engine.cancelled).toBe(1);
    await expect.poll(() => engine.running, { interval: 5 }).toBe(0);
  });

  it("makes no frame ahead of a reader that does not read", async () => {
    const { chat, engine } = buildApp();
    engine.script = { texts: Array.from({ length: 1000 }, () => "word ") };
    const response = await chat({ ...question, stream: true });
    await wait(20);
    expect(engine.eventsRead).toBeLessThanOrEqual(2);
    await response.body?.cancel();
  });

  it("is refused while draining, and told so", async () => {
    const { chat, running } = buildApp();
    running.stopAccepting();
    const response = await chat(question);
    expect([response.status, await response.json()]).toMatchObject([503, { error: { code: "server_draining" } }]);
  });

  it("ends with an error when the server's patience ends, streamed or not", async () => {
    const { chat, engine, running } = buildApp();
    engine.script = { delayMs: 30, texts: ["a", "b", "c", "d"] };
    const whole = chat(question);
    const stream = await chat({ ...question, stream: true });
    running.abortAll();
    const response = await whole;
    expect([response.status, await response.json()]).toMatchObject([503, { error: { code: "server_draining" } }]);
    const frames = await framesOf(stream);
    expect(frames.at(-2)).toContain("server_draining");
    expect(frames.at(-1)).toBe("data: [DONE]");
    await running.idle();
  });
});
