import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type RunningApp, startApp } from "../../src/app.js";
import { runCli } from "../../src/cli/run-cli.js";
import { readBackboneManifest } from "../../src/model/model-folder.js";
import { createLog } from "../../src/server/edge/request-log.js";
import { parseServeConfig } from "../../src/settings/serve-config.js";
import { noDetails, readVectorFile, writeVectorFile } from "../../src/vectors/vector-file.js";
import { convertTestModel, workerUrl } from "./open-test-model.js";
import { checkTraffic } from "./own-document.js";

let scratch: string;
let model: { folder: string; remove: () => Promise<void> };
let app: RunningApp;
const logged: string[] = [];
const width = 64;

async function start(flags: object = {}): Promise<void> {
  const config = parseServeConfig(
    { model: [model.folder], port: "0", "vectors-dir": join(scratch, "vectors"), threads: "1", ...flags },
    { DRAIN_SECONDS: "0" },
  );
  app = await startApp(config, { workerUrl, log: createLog("info", "json", (line) => logged.push(line)) });
  await app.ready();
}

beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), "toast-vectors-"));
  model = await convertTestModel();
  await mkdir(join(model.folder, "vectors"));
  await writeVectorFile(join(model.folder, "vectors", "own.gguf"), {
    directions: new Map([[1, new Float32Array(width).fill(3)]]),
    details: { ...noDetails, description: "It came with the model.", recommended: [-0.5, 1] },
  });
  await start();
});
afterAll(async () => {
  await app.stop();
  await model.remove();
  await rm(scratch, { recursive: true, force: true });
});
beforeEach(async () => {
  for (const { id, origin } of (await list()).data) if (origin === "upload") await call("DELETE", pathOf(id));
});

interface WireVector {
  readonly id: string;
  readonly name: string;
  readonly origin: string;
  readonly fingerprint: string;
}

const pathOf = (id: string) => `/v1/vectors/${id.replace(":", "/")}`;

async function call(method: string, path: string, body?: object | FormData) {
  const isJson = body !== undefined && !(body instanceof FormData);
  const response = await fetch(`${app.url}${path}`, {
    method,
    ...(isJson ? { headers: { "content-type": "application/json" }, body: JSON.stringify(body) } : {}),
    ...(body instanceof FormData ? { body } : {}),
  });
  const text = await response.text();
  const { status } = response;
  const contentType = response.headers.get("content-type") ?? "";
  checkTraffic({ method, path, requestBody: isJson ? JSON.stringify(body) : null, status, contentType, text });
  const json = contentType.startsWith("application/json") ? JSON.parse(text) : {};
  return { status, text, json, error: json.error ?? { code: "", message: "", param: null } };
}

async function list(): Promise<{ data: WireVector[]; problems: { path: string; message: string }[] }> {
  return (await call("GET", "/v1/vectors")).json;
}

const pirate = { name: "pirate", positive: "a pirate", negative: "an ordinary person" };
const make = (fields: object = {}) => call("POST", "/v1/vectors", { ...pirate, sweep: false, ...fields });

function form(file: Uint8Array, name = "sent.gguf", fields: Readonly<Record<string, string>> = {}): FormData {
  const data = new FormData();
  for (const [key, value] of Object.entries(fields)) data.set(key, value);
  data.append("file", new Blob([file as Uint8Array<ArrayBuffer>]), name);
  return data;
}

async function ask(vectors: object[], maxTokens = 12) {
  const { status, json, error } = await call("POST", "/v1/chat/completions", {
    model: "tiny",
    messages: [{ role: "user", content: "Tell me a story." }],
    temperature: 0,
    max_tokens: maxTokens,
    ignore_eos: true,
    steering: { vectors },
  });
  return { status, error, text: json.choices?.[0].message.content, steering: json.steering, ...json };
}

describe("a control vector that is made", () => {
  it("of two descriptions is listed, steers, and says how strong it is", async () => {
    const made = await make();
    expect([made.status, made.error]).toMatchObject([201, { code: "" }]);
    expect(made.json).toMatchObject({
      id: "tiny:pirate",
      object: "vector",
      model: "tiny",
      name: "pirate",
      description: "More like a pirate, less like an ordinary person.",
      example_prompt: null,
      layers: [1, 1],
      recommended: null,
      method: "mean",
      origin: "upload",
      fingerprint: expect.stringMatching(/^[0-9a-f]{12}$/),
      sweep: null,
    });
    expect(made.json.norm_share).toBeGreaterThan(0);
    expect(made.json.separation).toBeGreaterThanOrEqual(0);
    expect((await list()).data.map(({ id }) => id)).toEqual(["tiny:own", "tiny:pirate"]);
    const one = await call("GET", "/v1/vectors/tiny/pirate");
    expect(made.json).toEqual({ ...one.json, sweep: null });
    const [base, zero, steered] = [
      await ask([]),
      await ask([{ name: "pirate", strength: 0 }]),
      await ask([{ name: "pirate", strength: 4 }]),
    ];
    expect(zero.text).toBe(base.text);
    expect(steered.steering).toEqual({ vectors: [{ name: "pirate", strength: 4, layers: [1, 1] }] });
    expect(steered.system_fingerprint).not.toBe(base.system_fingerprint);
  });

  it("of texts, of pairs of chats, and by principal components", async () => {
    const texts = await make({
      positive: ["The dog runs and plays.", "A dog barks at the cat.", "Dogs love bones."],
      negative: ["Taxes are due in April.", "The bank counts money."],
      method: "pca",
      description: "Dogs.",
      example_prompt: "What do you like?",
    });
    expect([texts.status, texts.json]).toMatchObject([
      201,
      { method: "pca", description: "Dogs.", example_prompt: "What do you like?" },
    ]);
    const chat = (question: string, answer: string) => [
      { role: "user", content: question },
      { role: "assistant", content: answer },
    ];
    const pairs = ["Hi", "How are you?"].map((question) => ({
      positive: chat(question, "Wonderful, thank you so much!"),
      negative: chat(question, "Leave me alone."),
    }));
    const chats = await call("POST", "/v1/vectors", {
      name: "kind",
      model: "tiny",
      pairs,
      layers: [1, 1],
      sweep: false,
    });
    expect([chats.status, chats.json]).toMatchObject([201, { name: "kind", description: null }]);
  });

  it("tells its progress, and what each strength did to the text", async () => {
    const response = await fetch(`${app.url}/v1/vectors`, {
      method: "POST",
      body: JSON.stringify({ ...pirate, stream: true }),
    });
    const text = await response.text();
    checkTraffic({
      method: "POST",
      path: "/v1/vectors",
      requestBody: null,
      status: response.status,
      contentType: response.headers.get("content-type") ?? "",
      text,
    });
    const frames = text.split("\n\n").filter((frame) => frame.startsWith("data: "));
    expect(frames.at(-1)).toBe("data: [DONE]");
    const events = frames.slice(0, -1).map((frame) => JSON.parse(frame.slice(6)));
    expect(events[0]).toEqual({ object: "vector.progress", stage: "reading", done: 1, total: 48 });
    const sweeping = events.filter(({ stage }) => stage === "sweeping");
    expect(sweeping.map(({ done, total }) => done / total)).toEqual(
      sweeping.map(({ done }) => done / (sweeping[0].done === 2 ? 14 : 12)),
    );
    expect(sweeping.at(-1)).toMatchObject({ done: sweeping.at(-1).total });
    const { sweep, recommended } = events.at(-1);
    const strengths = sweep.map(({ strength }: { strength: number }) => strength);
    expect(strengths).toEqual([...strengths].sort((a, b) => a - b));
    expect(sweep.find(({ strength }: { strength: number }) => strength === 0)).toMatchObject({ coherent: true });
    const held = sweep
      .filter(({ coherent }: { coherent: boolean }) => coherent)
      .map((step: { strength: number }) => step.strength);
    expect(recommended).toEqual(held.length === 1 ? null : [Math.min(...held), Math.max(...held)]);
    // What was tried is there under no other name.
    const phase = app.engines[0]?.phase;
    const names = phase?.kind === "ready" ? phase.model.vectors.map(({ name }) => name) : [];
    expect(names).toEqual(["own", "pirate"]);
  });

  it("is there after a restart, bit for bit, and gone for good once it is removed", async () => {
    await make();
    const before = await call("GET", "/v1/vectors/tiny/pirate");
    const text = await ask([{ name: "pirate", strength: 4 }]);
    await app.stop();
    await start();
    expect((await call("GET", "/v1/vectors/tiny/pirate")).json).toEqual(before.json);
    expect((await ask([{ name: "pirate", strength: 4 }])).text).toBe(text.text);
    const removed = await call("DELETE", "/v1/vectors/tiny/pirate");
    expect(removed.json).toEqual({ id: "tiny:pirate", object: "vector", deleted: true, files: "removed" });
    expect((await ask([{ name: "pirate" }])).error).toMatchObject({ param: "steering.vectors[0].name" });
    await app.stop();
    await start();
    expect((await list()).data.map(({ id }) => id)).toEqual(["tiny:own"]);
  });

  it("is downloaded as a file that can be sent again", async () => {
    await make();
    const response = await fetch(`${app.url}/v1/vectors/tiny/pirate/download`);
    expect(response.headers.get("content-disposition")).toBe('attachment; filename="pirate.gguf"');
    const bytes = new Uint8Array(await response.arrayBuffer());
    const path = join(scratch, "downloaded.gguf");
    await writeFile(path, bytes);
    const { details, directions } = await readVectorFile(path);
    expect(details).toMatchObject({
      backboneSha256: (await readBackboneManifest(model.folder)).backboneSha256,
      modelHint: "llama",
      method: "mean",
    });
    expect(directions.get(1)).toHaveLength(width);
    const sent = await call("POST", "/v1/vectors", form(bytes, "again.gguf"));
    const first = await call("GET", "/v1/vectors/tiny/pirate");
    expect([sent.status, sent.json]).toMatchObject([201, { id: "tiny:again", fingerprint: first.json.fingerprint }]);
  });

  it("is given another name, steers by that one only, and has it after a restart", async () => {
    const { json: made } = await make();
    const text = await ask([{ name: "pirate", strength: 4 }]);
    const renamed = await call("PATCH", "/v1/vectors/tiny/pirate", { name: "corsair" });
    const { sweep: _, ...facts } = made;
    expect([renamed.status, renamed.json]).toEqual([200, { ...facts, id: "tiny:corsair", name: "corsair" }]);
    expect((await list()).data.map(({ id }) => id)).toEqual(["tiny:own", "tiny:corsair"]);
    expect((await ask([{ name: "corsair", strength: 4 }])).text).toBe(text.text);
    expect((await ask([{ name: "pirate" }])).error).toMatchObject({ param: "steering.vectors[0].name" });
    expect((await call("GET", "/v1/vectors/tiny/pirate")).status).toBe(404);
    await app.stop();
    await start();
    expect((await list()).data.map(({ id }) => id)).toEqual(["tiny:own", "tiny:corsair"]);
    expect((await list()).problems).toEqual([]);
    expect((await ask([{ name: "corsair", strength: 4 }])).text).toBe(text.text);
    // The old name is free.
    expect((await make()).status).toBe(201);
  });

  it.each<[string, object, number, string, RegExp]>([
    ["pirate", { name: "own" }, 400, "name", /has a control vector 'own' already/],
    ["pirate", { name: "pirate" }, 400, "name", /has a control vector 'pirate' already/],
    ["pirate", { name: "../own" }, 400, "name", /cannot be the name/],
    ["pirate", {}, 400, "name", /'name' is missing/],
    ["pirate", { name: "x", description: "y" }, 400, "description", /has no field 'description'/],
    ["own", { name: "mine" }, 400, "name", /came with the model/],
    ["nobody", { name: "mine" }, 404, "name", /has no control vector 'nobody'/],
  ])("keeps its name when another is refused: %s to %j", async (name, body, status, param, message) => {
    const { json: made } = await make();
    const refused = await call("PATCH", `/v1/vectors/tiny/${name}`, body);
    expect([refused.status, refused.error.param]).toEqual([status, param]);
    expect(refused.error.message).toMatch(message);
    expect((await list()).data.map(({ id, fingerprint }) => [id, fingerprint])).toContainEqual([
      "tiny:pirate",
      made.fingerprint,
    ]);
    expect((await call("PATCH", "/v1/vectors/tiny/pirate", { name: "corsair" })).status).toBe(200);
  });

  it("leaves nothing when its client goes away", async () => {
    const controller = new AbortController();
    const response = await fetch(`${app.url}/v1/vectors`, {
      method: "POST",
      body: JSON.stringify({ ...pirate, stream: true }),
      signal: controller.signal,
    });
    await response.body?.getReader().read();
    controller.abort();
    await expect.poll(async () => (await make()).status).toBe(201);
    expect((await list()).data.map(({ id }) => id)).toEqual(["tiny:own", "tiny:pirate"]);
  });

  const text = "x";
  it.each<[object, number, string, RegExp]>([
    [{ positive: undefined }, 400, "positive", /'positive' is missing/],
    [{ negative: undefined }, 400, "negative", /'negative' is missing/],
    [{ negative: "a pirate" }, 400, "negative", /are the same/],
    [{ negative: ["a", "b"] }, 400, "negative", /of one kind/],
    [{ positive: ["a"], negative: ["b"] }, 400, "positive", /one example only/],
    [{ positive: [text, text], negative: [text, text] }, 400, "negative", /are the same/],
    [{ pairs: [] }, 400, "pairs", /not both/],
    [{ pairs: [], positive: undefined, negative: undefined }, 400, "pairs", /has no examples/],
    [{ name: "no good" }, 400, "name", /cannot be the name/],
    [{ name: "own" }, 400, "name", /has a control vector 'own' already/],
    [{ name: undefined }, 400, "name", /'name' is missing/],
    [{ model: "nobody" }, 404, "model", /not served here/],
    [{ layers: [0, 1] }, 400, "layers", /within 1 and 1/],
    [{ layers: [1, 9] }, 400, "layers", /within 1 and 1/],
    [{ method: "magic" }, 400, "method", /'mean' or 'pca'/],
    [{ description: "x".repeat(301) }, 400, "description", /300 characters/],
    [{ strength: 1 }, 400, "strength", /has no field 'strength'/],
  ])("is refused with a sentence: %j", async (fields, status, param, message) => {
    const refused = await make(fields);
    expect([refused.status, refused.error.param]).toEqual([status, param]);
    expect(refused.error.message).toMatch(message);
  });
});

describe("a file that is sent", () => {
  const foreign = new URL("../vectors/repeng.gguf", import.meta.url);

  it("by repeng steers a model of its shape, and is refused by any other", async () => {
    const refused = await call("POST", "/v1/vectors", form(await readFile(foreign)));
    expect([refused.status, refused.error]).toMatchObject([400, { code: "invalid_vector", param: "vector" }]);
    expect(refused.error.message).toMatch(/numbers in layer 1, but this model's hidden size is 64|layers 0 to 1/);
    const path = join(scratch, "shaped.gguf");
    await writeVectorFile(path, { directions: new Map([[1, new Float32Array(width).fill(2)]]), details: noDetails });
    const sent = await call("POST", "/v1/vectors", form(await readFile(path), "shaped.gguf", { name: "theirs" }));
    expect([sent.status, sent.json]).toMatchObject([201, { id: "tiny:theirs", method: null, norm_share: null }]);
    expect((await ask([{ name: "theirs", strength: 2 }])).status).toBe(200);
  });

  it("for other weights, with NaN, damaged, or none at all is refused, and nothing is left", async () => {
    const write = async (values: number[], details = noDetails) => {
      const path = join(scratch, "bad.gguf");
      await writeVectorFile(path, { directions: new Map([[1, Float32Array.from(values)]]), details });
      return readFile(path);
    };
    const ones = Array<number>(width).fill(1);
    const cases: [FormData, RegExp][] = [
      [form(await write(ones, { ...noDetails, backboneSha256: "0".repeat(64) })), /made with backbone 000000000000/],
      [form(await write([...ones.slice(1), Number.NaN])), /NaN/],
      [form(await write(Array<number>(width).fill(0))), /zero in every layer/],
      [form(await write([1, 2, 3])), /hidden size is 64/],
      [form((await write(ones)).subarray(0, 200)), /damaged|ends/],
      [form(Buffer.from("no model at all, but more than a header's worth")), /does not begin with GGUF/],
      [form(await write(ones), "vector.onnx"), /is no control vector/],
      [form(await write(ones), "bad name.gguf"), /cannot be the name/],
      [form(await write(ones), "own.gguf"), /already/],
    ];
    for (const [body, message] of cases) {
      const refused = await call("POST", "/v1/vectors", body);
      expect([refused.status, refused.error.message]).toEqual([400, expect.stringMatching(message)]);
      expect(refused.error.message).not.toContain(scratch);
    }
    const empty = new FormData();
    empty.set("name", "x");
    expect((await call("POST", "/v1/vectors", empty)).error.message).toMatch(/holds no file/);
    expect((await list()).data.map(({ id }) => id)).toEqual(["tiny:own"]);
  });

  it("to the folder is served within seconds, replaced when it changes, and gone with its file", async () => {
    const path = join(scratch, "vectors", "watched.gguf");
    await mkdir(join(scratch, "vectors"), { recursive: true });
    const write = async (value: number) => {
      await writeVectorFile(join(scratch, "next.gguf"), {
        directions: new Map([[1, new Float32Array(width).fill(value)]]),
        details: noDetails,
      });
      await copyFile(join(scratch, "next.gguf"), path);
    };
    const find = async () => (await list()).data.find(({ name }) => name === "watched");
    const patience = { timeout: 30_000, interval: 500 };
    await write(1);
    await expect.poll(find, patience).toMatchObject({ id: "tiny:watched", origin: "watched_folder" });
    const renamed = await call("PATCH", "/v1/vectors/tiny/watched", { name: "mine" });
    expect([renamed.status, renamed.error.message]).toEqual([400, expect.stringMatching(/file of the vectors folder/)]);
    const first = await find();
    await write(2);
    await expect.poll(async () => (await find())?.fingerprint, patience).not.toBe(first?.fingerprint);
    await writeFile(path, "nonsense nonsense nonsense nonsense");
    await expect.poll(async () => (await list()).problems, patience).toMatchObject([{ path: "watched.gguf" }]);
    expect(await find()).toBeDefined();
    await rm(path);
    await expect.poll(find, patience).toBeUndefined();
  });
});

describe("a vector of the model folder", () => {
  it("is served from the start, and stays on the disk when it is taken out", async () => {
    expect((await call("GET", "/v1/vectors/tiny/own")).json).toMatchObject({
      description: "It came with the model.",
      recommended: [-0.5, 1],
      origin: "model_folder",
    });
    expect((await call("DELETE", "/v1/vectors/tiny/own")).json).toMatchObject({ deleted: true, files: "kept" });
    expect((await call("GET", "/v1/vectors/tiny/own")).status).toBe(404);
    expect((await call("DELETE", "/v1/vectors/tiny/own")).status).toBe(404);
    await app.stop();
    await start();
    expect((await call("GET", "/v1/vectors/tiny/own")).status).toBe(200);
  });
});

it("whoever may generate may see vectors, and an operator may change them", async () => {
  await app.stop();
  const [user, admin] = ["user-key-of-16-characters", "admin-key-of-16-characters"];
  await start({ "api-key": [user], "admin-key": [admin] });
  const statusOf = async (method: string, path: string, key: string | null) => {
    const headers: HeadersInit = key === null ? {} : { authorization: `Bearer ${key}` };
    const bodies: Readonly<Record<string, object>> = {
      POST: { ...pirate, negative: "a pirate" },
      PATCH: { name: "somebody" },
    };
    const body = method in bodies ? JSON.stringify(bodies[method]) : null;
    return (await fetch(`${app.url}${path}`, { method, headers, body })).status;
  };
  const asked = async (key: string | null) => [
    await statusOf("GET", "/v1/vectors", key),
    await statusOf("GET", "/v1/vectors/tiny/own", key),
    await statusOf("GET", "/v1/vectors/tiny/own/download", key),
    await statusOf("POST", "/v1/vectors", key),
    await statusOf("PATCH", "/v1/vectors/tiny/nobody", key),
    await statusOf("DELETE", "/v1/vectors/tiny/nobody", key),
  ];
  try {
    expect(await asked(null)).toEqual([401, 401, 401, 401, 401, 401]);
    expect(await asked(user)).toEqual([200, 200, 200, 403, 403, 403]);
    expect(await asked(admin)).toEqual([200, 200, 200, 400, 404, 404]);
  } finally {
    await app.stop();
    await start();
  }
});

describe("in the terminal", () => {
  async function run(...words: string[]) {
    const lines: string[] = [];
    const errors: string[] = [];
    const terminal = {
      out: (line: string) => lines.push(line),
      err: (line: string) => errors.push(line),
      interactive: false,
      environment: {},
    };
    const code = await runCli(["vector", ...words, "--url", app.url], terminal, new AbortController().signal);
    return { code, text: lines.join("\n"), errors: errors.join("\n") };
  }

  it("one is made, looked at, and tried", async () => {
    const out = join(scratch, "made.gguf");
    const words = ["--name", "pirate", "--positive", "a pirate", "--negative", "a clerk", "--no-sweep", "--out", out];
    const made = await run("make", ...words);
    expect([made.code, made.text]).toMatchObject([
      0,
      expect.stringMatching(/^tiny:pirate {2}More like a pirate.*Written to/s),
    ]);
    expect(made.errors).toMatch(/Making: .* reading/);
    expect((await readVectorFile(out)).details.method).toBe("mean");
    expect((await run("inspect")).text).toMatch(/^tiny:own +-0\.5 to 1 +It came with the model\.\ntiny:pirate/);
    expect((await run("inspect", "own")).text).toMatch(/layers 1 to 1, recommended strengths -0\.5 to 1/);
    const swept = await run("sweep", "own", "--strengths", "-1,0,1", "--max-tokens", "4", "--prompt", "Hi");
    expect(swept.text).toMatch(/^tiny:own: Hi\n! {3}-1 .*\n {5}0 .*\n {4}\+1 .*\n! beyond the recommended range$/s);
  });

  it("says what is wrong", async () => {
    const side = await run("make", "--name", "x", "--positive", "a pirate");
    expect([side.code, side.errors]).toEqual([
      2,
      "Give --negative with a description, or --negative-file with one example a line.",
    ]);
    const taken = await run("make", "--name", "own", "--positive", "a", "--negative", "b");
    expect([taken.code, taken.errors]).toEqual([1, expect.stringContaining("already")]);
    const unknown = await run("sweep", "nobody");
    expect([unknown.code, unknown.errors]).toEqual([2, "There is no control vector 'nobody'. There are: own."]);
    const wrong = await run("sweep", "own", "--strengths", "1,9");
    expect([wrong.code, wrong.errors]).toEqual([2, expect.stringContaining("strengths from -4 to 4")]);
  });
});
