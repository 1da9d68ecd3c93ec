import { spawnSync } from "node:child_process";
import { cp, mkdir, mkdtemp, readdir, readFile, rename, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { AdapterLibrary } from "../../src/adapters/adapter-library.js";
import { ServedFolder } from "../../src/adapters/served-folder.js";
import { convert } from "../../src/convert/convert.js";
import { convertAdapter } from "../../src/convert/convert-adapter.js";
import { ordinaryText } from "../../src/engine/generation-request.js";
import { EngineClient } from "../../src/engine/thread/engine-client.js";
import { createLog } from "../../src/server/edge/request-log.js";
import { workerUrl } from "../contract/open-test-model.js";

const source = fileURLToPath(new URL("../tiny/gqa", import.meta.url));
const weights = await readFile(join(source, "adapter.safetensors"));
const description = await readFile(join(source, "adapter.json"));

let scratch: string;
let engine: EngineClient;
let twin: EngineClient;
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), "toast-library-"));
  const adapters = [{ file: join(source, "adapter.safetensors"), name: "own" }];
  await convert({ source, out: join(scratch, "one"), quantize: "none", adapters });
  await convert({ source, out: join(scratch, "two"), quantize: "int8", modelId: "gqa8", adapters: [] });
  engine = new EngineClient({ folder: join(scratch, "one"), threads: 1, workerUrl });
  twin = new EngineClient({ folder: join(scratch, "two"), threads: 1, workerUrl });
  await Promise.all([engine.ready(), twin.ready()]);
});
afterAll(async () => {
  await engine.close();
  await twin.close();
  await rm(scratch, { recursive: true, force: true });
});

let directory: string;
let library: AdapterLibrary;
let conversions: number;
let logged: string[];

function open(): void {
  logged = [];
  conversions = 0;
  library = new AdapterLibrary({
    hosts: [engine, twin],
    directory,
    convert: (job) => {
      conversions++;
      return convertAdapter(job);
    },
    log: createLog("info", "json", (line) => logged.push(line)),
  });
}

beforeEach(async () => {
  directory = await mkdtemp(join(scratch, "adapters-"));
  open();
});
afterEach(async () => {
  await library.stop();
  await rm(directory, { recursive: true, force: true });
  await library.rescan("at once");
  expect(ids()).toEqual(["gqa:own"]);
});

const ids = () => library.served.map(({ model, info }) => `${model.id}:${info.name}`);

async function put(name: string, bytes: Uint8Array = weights): Promise<void> {
  await writeFile(join(directory, `${name}.json`), description);
  await writeFile(join(directory, `${name}.safetensors`), bytes);
}

function bent(): Buffer {
  const bytes = Buffer.from(weights);
  const at = bytes.length - 4 * 64;
  bytes.writeFloatLE(bytes.readFloatLE(at) + 1, at);
  return bytes;
}

describe("a watched folder", () => {
  it("serves a trained adapter to every model of its backbone, each converted as its model is", async () => {
    await put("poet");
    await library.start();
    expect(ids()).toEqual(["gqa:own", "gqa:poet", "gqa8:poet"]);
    expect(conversions).toBe(2);
  });

  it("converts what it has converted before no second time", async () => {
    await put("poet");
    await library.rescan("at once");
    await library.stop();
    const before = conversions;
    await engine.unloadAdapter("poet");
    await twin.unloadAdapter("poet");
    open();
    await library.rescan("at once");
    expect(ids()).toContain("gqa:poet");
    expect([before, conversions]).toEqual([2, 0]);
  });

  it("waits until files do not change any more", async () => {
    await library.rescan("settled");
    await put("poet", weights.subarray(0, 1000));
    await library.rescan("settled");
    await put("poet");
    await library.rescan("settled");
    expect([ids(), library.problems]).toEqual([["gqa:own"], []]);
    await library.rescan("settled");
    expect(ids()).toContain("gqa:poet");
    expect(logged.filter((line) => line.includes("not served"))).toEqual([]);
  });

  it("says once what is wrong with a file, and serves the others", async () => {
    await put("bad", weights.subarray(0, 1000));
    await put("good");
    await mkdir(join(directory, "worse"));
    await writeFile(join(directory, "worse", "manifest.json"), "{");
    await writeFile(join(directory, "lonely.safetensors"), weights);
    await writeFile(join(directory, "notes.txt"), "not of interest");
    await library.rescan("at once");
    await library.rescan("at once");
    expect(ids()).toContain("gqa:good");
    const problems = new Map(library.problems.map(({ path, message }) => [path, message]));
    expect(problems.get("bad.safetensors")).toMatch(/^bad\.safetensors/);
    expect(problems.get("worse")).toContain("worse/manifest.json is not JSON");
    expect(problems.get("lonely.safetensors")).toContain("lonely.json is missing");
    expect(problems.size).toBe(3);
    expect(logged.filter((line) => line.includes("bad.safetensors is not served"))).toHaveLength(1);
    await put("bad");
    await library.rescan("at once");
    expect(ids()).toContain("gqa:bad");
  });

  it("leaves a name alone that the model folder has taken", async () => {
    await put("own", bent());
    await library.rescan("at once");
    expect(library.problems[0]?.message).toContain("has an adapter 'own' already");
    expect(engine.phase).toMatchObject({ model: { adapters: [{ name: "own" }] } });
    await rm(join(directory, "own.safetensors"));
    await library.rescan("at once");
    expect([ids().filter((id) => id === "gqa:own"), library.problems]).toEqual([["gqa:own"], []]);
  });

  it("takes an adapter that was made for another backbone for what it is", async () => {
    const other = JSON.parse(description.toString()) as Record<string, unknown>;
    await put("alien");
    await writeFile(join(directory, "alien.json"), JSON.stringify({ ...other, backbone_sha256: "0".repeat(64) }));
    await library.rescan("at once");
    expect(library.problems).toEqual([
      {
        path: "alien.safetensors",
        message: "It was made for backbone 000000000000, which no model that is served here has.",
      },
    ]);
  });

  it("serves a converted folder under the name of the folder, and not while it is copied", async () => {
    const own = join(scratch, "one", "adapters", "own");
    await cp(own, join(directory, "bard.partial-1"), { recursive: true });
    await library.rescan("at once");
    expect(ids()).toEqual(["gqa:own"]);
    await rename(join(directory, "bard.partial-1"), join(directory, "bard"));
    await library.rescan("at once");
    expect(ids()).toEqual(["gqa:own", "gqa:bard", "gqa8:bard"]);
    expect(conversions).toBe(0);
    // Damaged while nobody looked: what was loaded stays.
    await writeFile(join(directory, "bard", "adapter.onnx.data"), "x");
    await library.rescan("at once");
    expect(library.problems[0]?.message).toContain("the file is incomplete or was changed");
    expect(ids()).toEqual(["gqa:own", "gqa:bard", "gqa8:bard"]);
  });

  it("replaces an adapter whose file has changed, while a request of the old one goes on", async () => {
    await put("poet");
    await library.rescan("at once");
    const fingerprint = () => library.served.find(({ info }) => info.name === "poet")?.info.fingerprint;
    const before = fingerprint();
    const running = await startLong(engine);
    await put("poet", bent());
    await library.rescan("at once");
    expect(fingerprint()).not.toBe(before);
    expect((await readdir(join(directory, ".converted", "gqa"))).length).toBe(1);
    expect((await engine.inspect()).running).toBeGreaterThan(0);
    running.abort();
    await expect.poll(() => engine.inspect()).toMatchObject({ running: 0, lanesInUse: 0, violations: [] });
  });

  it("does not bring back what was removed by request until its files change", async () => {
    await put("poet");
    await library.rescan("at once");
    await (await library.remove("gqa", "poet")).released;
    await library.rescan("at once");
    expect(ids()).toEqual(["gqa:own", "gqa8:poet"]);
    await utimes(join(directory, "poet.safetensors"), 1, 1);
    await library.rescan("at once");
    expect(ids()).toEqual(["gqa:own", "gqa:poet", "gqa8:poet"]);
  });

  it("is swept of what dead processes left half-written, and of nothing else", async () => {
    const ours = basename(new ServedFolder(directory, "adapters folder").incoming("1"));
    const { pid } = spawnSync(process.execPath, ["--version"]);
    const dead = ours.replace(`~${process.pid}~`, `~${pid}~`);
    const before = ours.replace(/~\d+~1$/, "~12345~1");
    const elsewhere = ours.replace(/-.*?~/, "-another-machine~").replace(`~${process.pid}~`, `~${pid}~`);
    for (const [name, time] of [
      [".incoming-00000000", 1000],
      [".incoming-11111111", Date.now() / 1000],
      [dead, Date.now() / 1000],
      [before, Date.now() / 1000],
      [ours, Date.now() / 1000],
      [elsewhere, Date.now() / 1000],
    ] as const) {
      await mkdir(join(directory, name));
      await utimes(join(directory, name), time, time);
    }
    await library.start();
    expect(new Set(await readdir(directory))).toEqual(new Set([".incoming-11111111", ours, elsewhere]));
  });
});

describe("an adapter that is removed", () => {
  it("is refused to new requests at once, and freed when the running ones have ended", async () => {
    await put("poet");
    await library.rescan("at once");
    const running = await startLong(engine);
    const { released, files } = await library.remove("gqa", "poet");
    expect(files).toBe("kept");
    await expect(startLong(engine)).rejects.toMatchObject({ code: "model_not_found" });
    let isFree = false;
    const free = released.then(() => {
      isFree = true;
    });
    await engine.inspect();
    await engine.inspect();
    expect(isFree).toBe(false);
    running.abort();
    await free;
    expect(await engine.inspect()).toMatchObject({ running: 0, lanesInUse: 0, violations: [] });
  });
});

/** Begins an answer steered by `poet` that does not end by itself for long. */
async function startLong(host: EngineClient): Promise<AbortController> {
  const controller = new AbortController();
  const generation = await host.generate(
    {
      prompt: { kind: "text", text: "Once", addSpecialTokens: true },
      steering: { kind: "steered", adapter: "poet", strength: 1, layers: [0, 1], vectors: [] },
      sampling: {
        temperature: 1,
        topP: 1,
        topK: null,
        minP: 0,
        presencePenalty: 0,
        frequencyPenalty: 0,
        repetitionPenalty: 1,
        logitBias: [],
        seed: 1,
      },
      // Far more work than the test takes, on any machine.
      choices: 128,
      maxTokens: 480,
      stopStrings: [],
      ...ordinaryText,
      ignoreEos: true,
    },
    controller.signal,
  );
  void (async () => {
    for await (const _ of generation.events);
  })().catch(() => {});
  return controller;
}
