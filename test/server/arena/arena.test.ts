import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { Arena } from "../../../src/arena/arena.js";
import { toWire } from "../../../src/arena/battle-record.js";
import { boardOf } from "../../../src/arena/boards.js";
import type { RosterEntry } from "../../../src/arena/contestants/roster.js";
import { Roster } from "../../../src/arena/contestants/roster.js";
import type { BattleStore } from "../../../src/arena/store/battle-store.js";
import { openStore } from "../../../src/arena/store/open-store.js";
import { EngineRegistry } from "../../../src/engine/engine-registry.js";
import { ToastError } from "../../../src/errors.js";
import { steeringChoice } from "../../../src/openai/steering-field.js";
import { arenaLimits } from "../../../src/server/arena/arena-settings.js";
import { ownServer } from "../../../src/server/arena/own-server.js";
import { RunningRequests } from "../../../src/server/generate/running-requests.js";
import { createServerApp } from "../../../src/server/server-app.js";
import { type RemoteServer, say, startRemoteServer } from "../../arena/contestants/remote-server.js";
import { record, side } from "../../arena/store/battle.js";
import { checkTraffic } from "../../contract/own-document.js";
import { type TestEdgeOptions, testEdge } from "../edge/test-edge.js";
import { idleParts } from "../idle-parts.js";
import { ScriptedEngine } from "../scripted-engine.js";

/** One real store for all; each test looks at battles of its own category. */
let scratch: string;
let store: BattleStore;
let remote: RemoteServer;
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), "toast-arena-"));
  store = await openStore({ dataDir: scratch, databaseUrl: null });
  remote = await startRemoteServer((_, response) => say(response, ["I am the remote one."]));
});
afterAll(async () => {
  await store.close();
  await remote.close();
  await rm(scratch, { recursive: true, force: true });
});

let engine: ScriptedEngine;
/** A store that takes nothing and has nothing. */
const idle: BattleStore = {
  tryWrite: () => Promise.resolve(),
  addBattle: () => Promise.resolve(),
  addTurn: () => Promise.resolve(),
  addVote: () => Promise.resolve(),
  importRecords: () => Promise.resolve({ imported: 0, known: 0 }),
  find: () => Promise.resolve(null),
  matches: () => Promise.resolve([]),
  categories: () => Promise.resolve([]),
  page: () => Promise.resolve([]),
  close: () => Promise.resolve(),
};
let app: ReturnType<typeof createServerApp>;
let logged: unknown[];
let running: RunningRequests;
let opened: number;
const build = (
  options: { battlesPerMinute?: number; openStore?: () => Promise<BattleStore>; edge?: TestEdgeOptions } = {},
) => {
  engine = new ScriptedEngine();
  running = new RunningRequests();
  logged = [];
  opened = 0;
  const registry = new EngineRegistry([engine]);
  const { edge } = testEdge([engine], options.edge);
  const far: RosterEntry = {
    kind: "remote",
    id: "far",
    label: "Far",
    url: remote.url,
    model: "secret-model",
    apiKey: "sk-secret",
    template: null,
    system: null,
    arena: false,
  };
  const arena = new Arena(
    new Roster(
      [far, { kind: "override", id: "tiny:poet", label: "tiny:poet", arena: false }],
      ownServer(registry, (_, error) => logged.push(error)),
      steeringChoice,
    ),
    options.openStore ??
      (() => {
        opened++;
        return Promise.resolve(store);
      }),
    async (filter) => boardOf(await (options.openStore?.() ?? store), filter),
  );
  app = createServerApp({
    ...idleParts(registry),
    registry,
    running,
    limits: { maxBodyBytes: 10_000, keepAliveMs: 10_000, maxRequestTokens: 65_536 },
    startedAt: 1_700_000_000,
    logError: (_, error) => logged.push(error),
    edge,
    arena: {
      arena,
      pace: { charactersPerSecond: 100_000, tickMs: 1 },
      limits: arenaLimits(options.battlesPerMinute ?? 1000),
    },
  });
};
beforeEach(() => build());
afterEach(async () => {
  await running.idle();
});

type Frame = {
  readonly kind: string;
  readonly side?: string;
  readonly text?: string;
  readonly id?: string;
  readonly ballot?: string;
  readonly error?: { code: string; message: string };
};
/** What is read of an answer is held against the server's own description. */
const request = async (
  path: string,
  init: { method?: string; body?: string; headers?: Record<string, string> } = {},
) => {
  const response = await app.request(path, init);
  const text = response.text.bind(response);
  const read = async () => {
    const whole = await text();
    checkTraffic({
      method: init.method ?? "GET",
      path,
      requestBody: path.endsWith("/import") ? null : (init.body ?? null),
      status: response.status,
      contentType: response.headers.get("content-type") ?? "",
      text: whole,
    });
    return whole;
  };
  return Object.assign(response, { text: read, json: async () => JSON.parse(await read()) as unknown });
};
const post = (path: string, body: unknown) =>
  request(path, { method: "POST", body: typeof body === "string" ? body : JSON.stringify(body) });
const framesOf = async (response: Response) => {
  const frames = (await response.text()).split("\n\n").filter((frame) => frame !== "");
  expect(frames.at(-1)).toBe("data: [DONE]");
  return frames.slice(0, -1).map((frame) => JSON.parse(frame.slice("data: ".length)) as Frame);
};
const fight = async (body: object = {}) => {
  const response = await post("/v1/arena/battles", { prompt: "Who are you?", ...body });
  expect(response.status).toBe(200);
  const frames = await framesOf(response);
  const text = (wanted: string) =>
    frames.flatMap((frame) => (frame.kind === "text" && frame.side === wanted ? [frame.text] : [])).join("");
  return { frames, last: frames.at(-1) as Frame, left: text("left"), right: text("right"), response };
};
const vote = (id: string | undefined, body: object) => post(`/v1/arena/battles/${id}/vote`, body);

describe("GET /v1/contestants", () => {
  it("names everybody, and neither address nor key of those elsewhere", async () => {
    const response = await request("/v1/contestants");
    const text = await response.text();
    expect(
      (JSON.parse(text) as { data: { id: string; arena: boolean }[] }).data.map(({ id, arena }) => [id, arena]),
    ).toEqual([
      ["tiny", true],
      ["tiny:alpaca", true],
      ["tiny:poet", false],
      ["far", false],
    ]);
    expect(text).not.toMatch(/sk-secret|127\.0\.0\.1/);
  });
});

describe("a battle", () => {
  it("shows two answers without a name, then takes one vote and tells who they were", async () => {
    const { frames, last, left, right, response } = await fight({ category: "one" });
    expect(frames[0]).toEqual({ kind: "battle", id: last.id });
    expect([left, right].toSorted()).toEqual(["I am alpaca", "I am plain"]);
    expect(last).toEqual({
      kind: "complete",
      id: expect.stringMatching(/^b_[0-9a-f]{32}$/),
      ballot: expect.stringMatching(/^[\w-]{43}$/),
    });
    const [one, two] = engine.requests;
    expect(one?.sampling).toEqual(two?.sampling);
    const headers = JSON.stringify([...response.headers]);
    const allowed = frames.map(({ kind, side: at, text, id, ballot, ...rest }) => rest);
    expect(allowed.every((rest) => Object.keys(rest).length === 0)).toBe(true);
    expect(headers).not.toMatch(/tiny|alpaca/);

    const voted = await vote(last.id, { ballot: last.ballot, winner: "left" });
    expect(voted.status).toBe(200);
    expect(await voted.json()).toMatchObject({
      id: last.id,
      source: "arena",
      category: "one",
      seed: one?.sampling.seed,
      parameters: { temperature: 0.7, top_p: 1, max_tokens: 512 },
      left: { text: left, contestant: left === "I am plain" ? "tiny" : "tiny:alpaca" },
      right: { text: right },
      vote: { winner: "left", judge: "human" },
    });
    const again = await vote(last.id, { ballot: last.ballot, winner: "right" });
    expect([again.status, await again.json()]).toMatchObject([409, { error: { code: "already_voted" } }]);
    const board = (await (await request("/v1/arena/leaderboard?category=one")).json()) as {
      battles: number;
      contestants: { contestant: string }[];
    };
    expect(board.battles).toBe(1);
    expect(board.contestants[0]?.contestant).toBe(left === "I am plain" ? "tiny" : "tiny:alpaca");
  });

  it("takes further turns before its vote: each goes on with its own conversation; it is recorded and rated once", async () => {
    const { last, left } = await fight({ category: "turns" });
    const turns = `/v1/arena/battles/${last.id}/turns`;
    for (const prompt of ["And then?", "Why?"]) {
      const frames = await framesOf(await post(turns, { ballot: last.ballot, prompt }));
      expect(frames[0]).toEqual({ kind: "battle", id: last.id });
      expect(frames.at(-1)).toEqual({ kind: "complete", id: last.id, ballot: last.ballot });
      expect(JSON.stringify(frames)).not.toMatch(/tiny/);
      const said = frames.flatMap((frame) => (frame.kind === "text" && frame.side === "left" ? [frame.text] : []));
      // The sides stay as they were drawn.
      expect(said.join("")).toBe(left);
    }
    const asked = engine.requests.slice(-2).map(({ prompt, sampling }) => {
      const messages = prompt.kind === "chat" ? prompt.messages.map(({ role, content }) => `${role}: ${content}`) : [];
      return { messages, seed: sampling.seed };
    });
    const conversation = (text: string) =>
      ["Who are you?", "And then?", "Why?"].flatMap((prompt) => [`user: ${prompt}`, `assistant: ${text}`]).slice(0, -1);
    expect(asked.map(({ messages }) => messages).toSorted()).toEqual([
      conversation("I am alpaca"),
      conversation("I am plain"),
    ]);
    expect(asked[0]?.seed).toBe(asked[1]?.seed);
    const voted = (await (await vote(last.id, { ballot: last.ballot, winner: "right" })).json()) as {
      turns: { prompt: string; left: { text: string } }[];
    };
    expect(voted.turns.map(({ prompt, left: said }) => [prompt, said.text])).toEqual([
      ["And then?", left],
      ["Why?", left],
    ]);
    const late = await post(turns, { ballot: last.ballot, prompt: "More" });
    expect([late.status, await late.json()]).toMatchObject([409, { error: { code: "already_voted" } }]);
    const exported = await (await request("/v1/arena/battles?category=turns")).text();
    const lines = exported.trim().split("\n");
    expect(lines).toHaveLength(1);
    expect(JSON.parse(lines[0] ?? "")).toEqual(voted);
    const board = (await (await request("/v1/arena/leaderboard?category=turns")).json()) as {
      battles: number;
      contestants: { mean_characters: number }[];
    };
    expect(board.battles).toBe(1);
    expect(board.contestants[0]?.mean_characters).toBeGreaterThan(3 * "I am plai".length);
  });

  it("whose further turn fails keeps what there was, to be voted on; a turn needs the ballot", async () => {
    const { last } = await fight({ category: "turn fails" });
    const turns = `/v1/arena/battles/${last.id}/turns`;
    for (const [path, body, status, code] of [
      [turns, { ballot: "A".repeat(43), prompt: "More" }, 403, "ballot_invalid"],
      ["/v1/arena/battles/b_0/turns", { ballot: last.ballot, prompt: "More" }, 404, "battle_not_found"],
      [turns, { ballot: last.ballot, prompt: " " }, 400, "invalid_request"],
    ] as const) {
      const response = await post(path, body);
      expect([response.status, await response.json()]).toMatchObject([status, { error: { code } }]);
    }
    engine.script = { rejection: new ToastError("engine_failed", "The engine of tiny:alpaca stopped.") };
    const failed = await framesOf(await post(turns, { ballot: last.ballot, prompt: "More" }));
    expect(failed.at(-1)).toMatchObject({ kind: "void", error: { message: expect.not.stringContaining("tiny") } });
    engine.script = {};
    expect((await vote(last.id, { ballot: last.ballot, winner: "tie" })).status).toBe(200);
    expect((await store.find(last.id ?? ""))?.record.turns).toEqual([]);
  });

  it("takes at most twenty turns", async () => {
    const { last } = await fight({ category: "many turns" });
    const turns = `/v1/arena/battles/${last.id}/turns`;
    for (let turn = 2; turn <= 20; turn++) {
      // Its words stay within the context: what is long is the list of turns.
      engine.script = { texts: [""].concat(turn % 2 === 0 ? ["x"] : ["y"]) };
      expect((await framesOf(await post(turns, { ballot: last.ballot, prompt: "?" }))).at(-1)?.kind).toBe("complete");
    }
    engine.script = {};
    const response = await post(turns, { ballot: last.ballot, prompt: "?" });
    expect([response.status, await response.json()]).toMatchObject([
      400,
      { error: { message: expect.stringContaining("20 turns") } },
    ]);
  });

  it("may be between stacks that are spelled, and counts each spelling of one as the same", async () => {
    const words = ["tiny:alpaca@0.50+happy@0.8", "tiny"];
    const { last, left, right } = await fight({ contestants: words, category: "stacks" });
    expect([left, right].toSorted()).toEqual(["I am alpaca 0.8 happy", "I am plain"]);
    const voted = (await (await vote(last.id, { ballot: last.ballot, winner: "left" })).json()) as {
      left: { contestant: string };
      right: { contestant: string };
    };
    expect([voted.left.contestant, voted.right.contestant].toSorted()).toEqual(["tiny", "tiny:alpaca@0.5+happy@0.8"]);
    for (const [word, status, sentence] of [
      ["tiny+sad@1", 400, "tiny has no control vector 'sad'. It has: happy, formal."],
      ["tiny:alpaca@9", 400, "the adapter's strength"],
      ["nobody@1", 404, "There is no contestant 'nobody@1'"],
      ["tiny@1 2", 400, "letters, digits"],
    ] as const) {
      const response = await post("/v1/arena/battles", { prompt: "Who?", contestants: [word, "tiny"] });
      expect([response.status, await response.json()]).toMatchObject([
        status,
        { error: { message: expect.stringContaining(sentence) } },
      ]);
    }
  });

  it("puts contestants on random sides", async () => {
    const lefts = new Set<string>();
    for (let round = 0; round < 40 && lefts.size < 2; round++) lefts.add((await fight({ category: "sides" })).left);
    expect(lefts.size).toBe(2);
  });

  it("cannot be voted on with another battle's ballot, a made up one, or before it was shown", async () => {
    const [one, two] = [await fight({ category: "forged" }), await fight({ category: "forged" })];
    for (const [id, ballot, status, code] of [
      [one.last.id, two.last.ballot, 403, "ballot_invalid"],
      [one.last.id, "", 403, "ballot_invalid"],
      [one.last.id, "A".repeat(43), 403, "ballot_invalid"],
      ["b_0", one.last.ballot, 404, "battle_not_found"],
      ["%00", one.last.ballot, 404, "battle_not_found"],
    ] as const) {
      const response = await vote(id, { ballot, winner: "left" });
      expect([response.status, await response.json()]).toMatchObject([status, { error: { code } }]);
    }
    const imported = await post(
      "/v1/arena/import",
      JSON.stringify(toWire(record("b_unvoted", { vote: null, category: "forged" }))),
    );
    expect(imported.status).toBe(200);
    expect((await vote("b_unvoted", { ballot: one.last.ballot, winner: "left" })).status).toBe(403);
    expect(await store.matches({ category: "forged" })).toEqual([]);
    expect((await vote(one.last.id, { ballot: one.last.ballot, winner: "bothBad" })).status).toBe(200);
  });

  it("that is left before its end is not kept, and frees both engines", async () => {
    engine.script = { texts: ["a", "b"], delayMs: Number.POSITIVE_INFINITY };
    const response = await post("/v1/arena/battles", { prompt: "Who?", category: "left" });
    const reader = response.body?.getReader();
    const first = JSON.parse(new TextDecoder().decode((await reader?.read())?.value).slice(6)) as Frame;
    // The next frame is made when somebody wants it.
    const pending = reader?.read().catch(() => {});
    await expect.poll(() => engine.running).toBe(2);
    await reader?.cancel();
    await pending;
    await running.idle();
    await expect.poll(() => engine.running).toBe(0);
    expect(await store.find(first.id ?? "")).toBeNull();
    expect((await vote(first.id, { ballot: "A".repeat(43), winner: "left" })).status).toBe(404);
  });

  it("in which a side fails is void, says so without a name, and the log knows more", async () => {
    const before = remote.answer;
    remote.answer = (_, response) => void response.writeHead(500).end('{"error":{"message":"secret-model crashed"}}');
    const { last, frames } = await fight({ contestants: ["far", "tiny"], category: "void" });
    expect(last).toMatchObject({ kind: "void", error: { code: "contestant_failed" } });
    expect(JSON.stringify(frames)).not.toMatch(/secret-model|far|tiny/);
    expect(String(logged[0])).toContain("secret-model crashed");
    remote.answer = before;
    const ok = await fight({ contestants: ["far", "tiny"], category: "void" });
    expect([ok.left, ok.right]).toContain("I am the remote one.");
  });

  it("whose prompt is too long, whose engine breaks, or whose answers are empty is void", async () => {
    const long = await fight({ prompt: "word ".repeat(100) });
    expect(long.last).toMatchObject({
      kind: "void",
      error: { code: "context_length_exceeded", message: expect.not.stringMatching(/64|101/) },
    });
    engine.script = { rejection: new ToastError("engine_failed", "The engine of tiny:alpaca stopped.") };
    const broken = await fight();
    expect(broken.last).toMatchObject({
      kind: "void",
      error: { code: "engine_failed", message: expect.not.stringContaining("tiny") },
    });
    engine.script = { texts: [] };
    expect((await fight()).last).toMatchObject({
      kind: "void",
      error: { code: "nothing_to_judge", message: expect.stringContaining("Both answers are empty") },
    });
    engine.script = {};
    expect((await fight({ category: "after" })).last.kind).toBe("complete");
  });

  it("is not kept when the store cannot be opened, and may be when it can", async () => {
    let broken = true;
    build({
      openStore: () =>
        broken ? Promise.reject(new ToastError("store_failed", "The disk is full.")) : Promise.resolve(store),
    });
    const asked = [
      await post("/v1/arena/battles", { prompt: "Who are you?" }),
      await vote("b_1", { ballot: "x", winner: "left" }),
      await request("/v1/arena/leaderboard"),
      await request("/v1/arena/battles"),
      await post("/v1/arena/import", JSON.stringify(toWire(record("b_later")))),
    ];
    for (const response of asked) {
      expect([response.status, await response.json()]).toMatchObject([503, { error: { code: "store_failed" } }]);
      expect(response.headers.get("retry-after")).toBe("30");
    }
    // No answer was computed for nothing, and the log has each failure.
    expect(engine.requests).toEqual([]);
    expect(logged).toHaveLength(asked.length);
    broken = false;
    expect((await fight({ category: "later" })).last.kind).toBe("complete");
  });

  it("that the store refuses at its end is void, as are votes and looks meanwhile refused; what is thrown is logged", async () => {
    const full = () => Promise.reject(new ToastError("store_failed", "The disk is full."));
    build({ openStore: () => Promise.resolve({ ...idle, addBattle: full, find: full, matches: full, page: full }) });
    expect((await fight()).last).toMatchObject({ kind: "void", error: { code: "store_failed" } });
    expect((await vote("b_1", { ballot: "x", winner: "left" })).status).toBe(503);
    expect((await request("/v1/arena/leaderboard")).status).toBe(503);
    // Before a byte of the file is sent.
    expect((await request("/v1/arena/battles")).status).toBe(503);
    expect(logged).toHaveLength(4);
  });

  it("is answered 500, and logged, where something is thrown that is no Error", async () => {
    build({ openStore: () => Promise.reject("a string") });
    const response = await request("/v1/arena/leaderboard");
    expect([response.status, await response.json()]).toMatchObject([500, { error: { code: "internal_error" } }]);
    expect(logged).toEqual([expect.objectContaining({ message: "Something was thrown that is no error (string)." })]);
  });

  it("costs a place in a minute's limit, for each client, as votes do", async () => {
    build({ battlesPerMinute: 2 });
    const [one] = [await fight({ category: "limit" }), await fight({ category: "limit" })];
    const third = await post("/v1/arena/battles", { prompt: "Who?" });
    expect([third.status, await third.json()]).toMatchObject([429, { error: { code: "rate_limit_exceeded" } }]);
    expect(Number(third.headers.get("retry-after"))).toBeGreaterThan(0);
    const turn = await post(`/v1/arena/battles/${one?.last.id}/turns`, {
      ballot: one?.last.ballot,
      prompt: "And then?",
    });
    expect(turn.status).toBe(429);
    for (let round = 0; round < 4; round++)
      expect((await vote(one?.last.id, { ballot: "x", winner: "left" })).status).toBe(403);
    expect((await vote(one?.last.id, { ballot: one?.last.ballot, winner: "left" })).status).toBe(429);
  });

  it.each([
    [{}, "prompt"],
    [{ prompt: " " }, "prompt"],
    [{ prompt: "a", messages: [{ role: "user", content: "b" }] }, "messages"],
    [{ messages: [] }, "messages"],
    [{ messages: [{ role: "tool", content: "b" }] }, "messages[0].role"],
    [{ prompt: "a", temperature: 3 }, "temperature"],
    [{ prompt: "a", max_tokens: 100_000 }, "max_tokens"],
    [{ prompt: "a", seed: -1 }, "seed"],
    [{ prompt: "a", contestants: ["tiny"] }, "contestants"],
    [{ prompt: "a", contestants: ["tiny", "nobody"] }, "contestants"],
    [{ prompt: "a", category: "x".repeat(101) }, "category"],
  ])("refuses %j, naming %s", async (body, param) => {
    const response = await post("/v1/arena/battles", body);
    expect([400, 404]).toContain(response.status);
    expect(await response.json()).toMatchObject({ error: { param } });
    expect(running.count).toBe(0);
  });
});

describe("POST /v1/compare", () => {
  it("streams both with their names, figures and one seed, steered as asked", async () => {
    const response = await post("/v1/compare", {
      prompt: "Who are you?",
      contestants: ["tiny", { contestant: "tiny:alpaca", steering: { strength: 0.5 } }],
      seed: 9,
    });
    const frames = await framesOf(response);
    expect(frames[0]).toEqual({
      kind: "start",
      seed: 9,
      sides: {
        left: { contestant: "tiny", label: "tiny" },
        right: { contestant: "tiny:alpaca", label: "tiny:alpaca" },
      },
    });
    expect(frames.filter(({ kind }) => kind === "end")).toHaveLength(2);
    expect(frames).toContainEqual(
      expect.objectContaining({
        kind: "end",
        side: "right",
        answer: expect.objectContaining({
          text: "I am alpaca",
          steering: { adapter: "alpaca", strength: 0.5, layers: [0, 3] },
          finish_reason: "stop",
        }),
      }),
    );
    expect(frames.at(-1)).toEqual({ kind: "done" });
    expect(engine.requests.map(({ sampling }) => sampling.seed)).toEqual([9, 9]);
    expect(opened).toBe(0);
  });

  it("lets one side go on when the other fails", async () => {
    const before = remote.answer;
    remote.answer = (_, response) => void response.writeHead(503).end("busy");
    const frames = await framesOf(await post("/v1/compare", { prompt: "Who?", contestants: ["far", "tiny"] }));
    remote.answer = before;
    expect(frames).toContainEqual({
      kind: "error",
      side: "left",
      error: expect.objectContaining({ code: "contestant_failed", message: expect.stringContaining("503") }),
    });
    expect(frames).toContainEqual(expect.objectContaining({ kind: "end", side: "right" }));
  });

  it("refuses to steer what is not served here", async () => {
    const response = await post("/v1/compare", {
      prompt: "a",
      contestants: [{ contestant: "far", steering: { strength: 0.5 } }, "tiny"],
    });
    expect([response.status, await response.json()]).toMatchObject([400, { error: { param: "contestants" } }]);
  });

  it("answers 503 while models load", async () => {
    engine.phase = { kind: "loading", stage: "reading weights", fraction: 0.5 };
    expect((await post("/v1/compare", { prompt: "a", contestants: ["tiny", "tiny"] })).status).toBe(503);
    expect((await post("/v1/arena/battles", { prompt: "a" })).status).toBe(503);
  });
});

describe("export and import", () => {
  const thousand = Array.from({ length: 1000 }, (_, at) => {
    const [a, b] = [`m${at % 5}`, `m${(at + 1 + (at % 3)) % 5}`];
    const winner = (["left", "right", "tie", "left"] as const)[(at * 7) % 4] ?? "tie";
    return record(`t_${String(at).padStart(4, "0")}`, {
      category: "thousand",
      source: "import",
      left: side(a, "x".repeat((at * 37) % 900)),
      right: side(b, "y".repeat((at * 53) % 900)),
      vote: { winner, judge: "human", votedAt: new Date("2026-01-31T12:01:00Z"), details: null },
    });
  });

  it("takes a thousand battles, twice without harm, rates them, and gives them back as they were", async () => {
    const lines = thousand.map((one) => `${JSON.stringify(toWire(one))}\n`).join("");
    expect(await (await post("/v1/arena/import", lines)).json()).toEqual({ imported: 1000, known: 0 });
    expect(await (await post("/v1/arena/import", lines)).json()).toEqual({ imported: 0, known: 1000 });
    const board = (await (
      await request("/v1/arena/leaderboard?category=thousand&judge=human&source=import")
    ).json()) as {
      battles: number;
      computed_at: string;
      rounds: number;
      contestants: { low: number; rating: number; high: number }[];
      pairs: unknown[];
    };
    expect(board).toMatchObject({ battles: 1000, rounds: 1000 });
    expect(board.contestants).toHaveLength(5);
    expect(Date.now() - Date.parse(board.computed_at)).toBeLessThan(600_000);
    expect(board.contestants.every(({ low, rating, high }) => low < rating && rating < high)).toBe(true);
    const exported = await request("/v1/arena/battles?category=thousand");
    expect(exported.headers.get("content-type")).toContain("application/x-ndjson");
    const records = (await exported.text())
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as object);
    expect(records).toEqual(thousand.map((one) => JSON.parse(JSON.stringify(toWire(one)))));
  });

  it.each([
    ['{"id":', /Line 1 is not valid JSON/],
    ['{"id":"x"}', /Line 1: 'created_at' is missing\./],
    [JSON.stringify({ ...toWire(record("b_good")), seed: "one" }), /Line 1: 'seed' must be of type number\./],
    [
      `\n${JSON.stringify({ ...toWire(record("b_bad")), vote: { winner: "A", voted_at: "2026-01-31T12:01:00Z" } })}`,
      /Line 2: 'vote.winner' does not hold what a record has there/,
    ],
    [JSON.stringify({ ...toWire(record("b bad")) }), /'id'/],
  ])("refuses %#: not a record, and imports nothing", async (body, sentence) => {
    const response = await post(
      "/v1/arena/import",
      `${JSON.stringify(toWire(record("b_good_before", { category: "bad" })))}`.replace(/^.*$/, body),
    );
    expect(response.status).toBe(400);
    expect(((await response.json()) as { error: { message: string } }).error.message).toMatch(sentence);
  });

  it("takes a record with the keys that matter and no more", async () => {
    const least = {
      id: "b_least",
      created_at: "2026-01-31T12:00:00+01:00",
      category: "least",
      messages: [],
      left: { contestant: "a" },
      right: { contestant: "b" },
      vote: { winner: "right", voted_at: "2026-01-31T12:00:00Z" },
    };
    expect(await (await post("/v1/arena/import", least)).json()).toEqual({ imported: 1, known: 0 });
    expect(await store.matches({ category: "least" })).toMatchObject([{ winner: "right", leftCharacters: null }]);
  });

  it("takes imports from administrators only", async () => {
    const admin = "sk-admin-0123456789abcdef";
    build({ edge: { keys: { userKeys: ["sk-user-0123456789abcdef"], adminKeys: [admin] } } });
    const send = (key: string) =>
      request("/v1/arena/import", { method: "POST", body: "", headers: { authorization: `Bearer ${key}` } });
    expect((await send("sk-user-0123456789abcdef")).status).toBe(403);
    expect((await send(admin)).status).toBe(200);
    expect((await request("/v1/arena/leaderboard")).status).toBe(401);
  });

  it("refuses a source that is none", async () => {
    expect((await request("/v1/arena/leaderboard?category=%00&judge=%00")).status).toBe(200);
    const response = await request("/v1/arena/leaderboard?source=moon");
    expect([response.status, await response.json()]).toMatchObject([400, { error: { param: "source" } }]);
  });
});
