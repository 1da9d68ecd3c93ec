import { setTimeout as wait } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { routes } from "../../src/server/routes.js";
import { deployed } from "./deployed-files.js";
import { findHaproxy, type Haproxy, type Replica, startHaproxy, startReplica } from "./start-haproxy.js";

const program = findHaproxy();
const { TOAST_REQUIRE_HAPROXY: required } = process.env;
const config = deployed("haproxy/haproxy.cfg");

describe("the configuration for HAProxy", () => {
  it("names paths that the server has: what generates may be sent again, nothing else that is posted", () => {
    const words = (/^ *acl generates path (.+)$/m.exec(config)?.[1] ?? "").split(" ");
    const posts = routes.filter(({ method, access }) => method === "POST" && access === "user").map(({ path }) => path);
    for (const path of words) expect(posts).toContain(path);
    expect(words.filter((path) => path.startsWith("/v1/arena"))).toEqual([]);
    expect(/^ *option httpchk GET (\S+)$/m.exec(config)?.[1]).toBe("/readyz");
  });
});

describe.skipIf(program === null && required === undefined)("HAProxy", () => {
  let replicas: readonly Replica[];
  let proxy: Haproxy;
  beforeAll(async () => {
    replicas = await Promise.all(["one", "two", "three"].map(startReplica));
    proxy = await startHaproxy(program ?? "haproxy", replicas);
    await allReady();
  }, 60_000);
  afterAll(async () => {
    await proxy.stop();
    await Promise.all(replicas.map((replica) => replica.close()));
  });
  afterEach(async () => {
    for (const replica of replicas) replica.mode = "serve";
    await allReady();
  });

  interface Answer {
    /** 0: the connection was closed instead. */
    readonly status: number;
    /** Of the replica that answered. */
    readonly name: string;
  }
  const broken: Answer = { status: 0, name: "" };
  const post = async (path: string, body: object, headers: Record<string, string> = {}): Promise<Answer> => {
    const response = await fetch(proxy.url + path, {
      method: "POST",
      body: JSON.stringify(body),
      headers: { "content-type": "application/json", ...headers },
    }).catch(() => null);
    return response === null ? broken : { status: response.status, name: await response.text() };
  };
  const chat = (first: string, more: object = {}, headers = {}) =>
    post("/v1/chat/completions", { model: "tiny", messages: [{ role: "system", content: first }], ...more }, headers);
  const numbers = Array.from({ length: 12 }, (_, at) => at);
  /** One after the other: of several at a time, some go elsewhere, so that nobody has too many. */
  const inTurn = async (ask: (at: number) => Promise<Answer>) => {
    const answers: Answer[] = [];
    for (const at of numbers) answers.push(await ask(at));
    return answers;
  };
  const places = async (ask: (at: number) => Promise<Answer>) => (await inTurn(ask)).map(({ name }) => name);
  /** On a busy machine one that is not quite over still counts as load, and the next goes elsewhere. */
  const placedAlike = (ask: (at: number) => Promise<Answer>) =>
    vi.waitFor(async () => expect(await places(ask)).toEqual(await places(ask)), { timeout: 20_000 });
  const beginnings = () => inTurn((at) => chat(`beginning ${at}`));
  /** Until all are looked upon as ready, again or for the first time. */
  const allReady = async () => {
    while (new Set((await beginnings()).map(({ status, name }) => `${status} ${name}`)).size < 3) await wait(100);
  };
  it("sends what begins the same, and is steered the same, to the same replica", async () => {
    const turns = (count: number) => [
      { role: "system", content: "You are a pirate." },
      ...numbers.slice(0, count).map((at) => ({ role: "user", content: `turn ${at}` })),
    ];
    const asked = await places((at) =>
      post("/v1/chat/completions", { model: "tiny:poet", messages: turns(at), temperature: at }),
    );
    expect(new Set(asked).size).toBe(1);
  });

  it.each([
    ["models", (at: number) => ({ model: `tiny:${at}` })],
    ["adapters", (at: number) => ({ steering: { adapter: `poet ${at}` } })],
    ["strengths", (at: number) => ({ steering: { adapter: "poet", strength: at / 4 } })],
    ["layers", (at: number) => ({ steering: { adapter: "poet", layers: [0, at] } })],
    ["vectors", (at: number) => ({ steering: { vectors: [{ name: `happy ${at}` }] } })],
    ["vectors' strengths", (at: number) => ({ steering: { vectors: [{ name: "happy", strength: at / 4 }] } })],
    ["second vectors", (at: number) => ({ steering: { vectors: [{ name: "happy" }, { name: `sad ${at}` }] } })],
  ])("spreads one beginning by its %s", async (_, more) => {
    const ask = (at: number) => chat("You are a pirate.", more(at));
    expect(new Set(await places(ask)).size).toBeGreaterThan(1);
    await placedAlike(ask);
  });

  it.each([
    ["a completion's prompt", "/v1/completions", (at: number) => ({ prompt: `Once ${at}` })],
    ["Anthropic's system prompt", "/v1/messages", (at: number) => ({ system: `Be ${at}`, messages: [] })],
    ["a response's instructions", "/v1/responses", (at: number) => ({ instructions: `Be ${at}`, input: "Hi" })],
    [
      "parts of Anthropic's system prompt",
      "/v1/messages",
      (at: number) => ({ system: [{ type: "text", text: `Be ${at}` }], messages: [] }),
    ],
    [
      "a response's first message",
      "/v1/responses",
      (at: number) => ({ input: [{ role: "user", content: [{ type: "input_text", text: `Hi ${at}` }] }] }),
    ],
    ["a response's input", "/v1/responses", (at: number) => ({ input: `Hi ${at}` })],
    [
      "parts of a first message",
      "/v1/chat/completions",
      (at: number) => ({ messages: [{ role: "user", content: [{ type: "text", text: `Hi ${at}` }] }] }),
    ],
  ])("goes by %s", async (_, path, body) => {
    const ask = (at: number) => post(path, { model: "tiny", ...body(at) });
    expect(new Set(await places(ask)).size).toBeGreaterThan(1);
    await placedAlike(ask);
  });

  it("goes by a session where one is named, in a header or as prompt_cache_key", async () => {
    const bySession = await places((at) => chat(`${at}`, {}, { "x-session-id": "mine" }));
    expect(new Set(bySession).size).toBe(1);
    expect(await places((at) => chat(`${at}`, { prompt_cache_key: "mine" }))).toEqual(bySession);
    const sessions = await places((at) => chat("same", {}, { "x-session-id": `session ${at}` }));
    expect(new Set(sessions).size).toBeGreaterThan(1);
  });

  it("goes by the beginning of a body that is longer than its buffer", async () => {
    const long = "and on ".repeat(30_000);
    const asked = await places((at) =>
      post("/v1/chat/completions", {
        model: "tiny",
        messages: [
          { role: "system", content: `beginning ${at}` },
          { role: "user", content: long },
        ],
      }),
    );
    expect(new Set(asked).size).toBeGreaterThan(1);
    expect(asked).toEqual((await beginnings()).map(({ name }) => name));
  });

  it("spreads what everybody begins with, once one replica has twice its share of what runs", async () => {
    const asked = await Promise.all(numbers.map(() => chat("You are a pirate.")));
    expect(asked.map(({ status }) => status)).toEqual(numbers.map(() => 200));
    expect(new Set(asked.map(({ name }) => name)).size).toBeGreaterThan(1);
  });

  it("asks another one where a replica is going, which takes its own beginnings along and no others", async () => {
    const before = (await beginnings()).map(({ name }) => name);
    const [going] = replicas as [Replica];
    going.mode = "drain";
    // At once: before its health was looked at, the refusal itself is enough.
    const during = await beginnings();
    expect(during.map(({ status }) => status)).toEqual(numbers.map(() => 200));
    for (const [at, { name }] of during.entries()) {
      if (before[at] === "one") expect(name).not.toBe("one");
      else expect(name).toBe(before[at]);
    }
    await expect
      .poll(async () => {
        const asked = going.asked.length;
        await beginnings();
        return going.asked.length - asked;
      })
      .toBe(0);
  });

  it("asks another one where a replica dies before it answers, for what may be asked twice", async () => {
    const first = (await chat("hello")).name;
    const dying = replicas[["one", "two", "three"].indexOf(first)] as Replica;
    dying.mode = "die";
    const answer = await chat("hello");
    expect(answer).toEqual({ status: 200, name: expect.not.stringMatching(first) as string });
  });

  it("sends a vote once: whoever cast it hears that it is not known", async () => {
    for (const replica of replicas) replica.mode = "die";
    const asked = replicas.reduce((sum, replica) => sum + replica.asked.length, 0);
    // 502, or as any connection that was kept and is lost.
    expect([502, 0]).toContain((await post("/v1/arena/battles/1/vote", { winner: "tie" })).status);
    expect(replicas.reduce((sum, replica) => sum + replica.asked.length, 0)).toBe(asked + 1);
  });
});
