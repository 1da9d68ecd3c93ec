import { existsSync } from "node:fs";
import { lstat, mkdir, readdir, readFile, readlink, rm, truncate, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { gitSha1, sha256 } from "./hub-stand-in.js";
import { openPlace, quick, tinyRepo } from "./pull-folder.js";

const repo = "tiny-org/tiny";
const needed = ["README.md", "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"];
const { "model.safetensors": weights = Buffer.alloc(0) } = tinyRepo();
const weightsHash = sha256(weights);

function cacheOf(home: string): string {
  return join(home, "hub", "models--tiny-org--tiny");
}

/** An address that nobody listens on. */
async function nobody(): Promise<string> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return `http://127.0.0.1:${port}`;
}

describe("a pull", () => {
  it("downloads what serving needs, and nothing else, into the hub's own layout", async () => {
    const { hub, home, pull } = await openPlace();
    const files = tinyRepo();
    const commit = hub.commit(repo, files);
    const model = await pull(repo);

    const snapshot = join(cacheOf(home), "snapshots", commit);
    expect(model).toMatchObject({ commit, source: snapshot, gguf: null });
    expect((await readdir(snapshot)).sort()).toEqual(needed);
    for (const name of needed) {
      const content = files[name] ?? Buffer.alloc(0);
      const hash = name.endsWith(".safetensors") ? sha256(content) : gitSha1(content);
      expect(await readlink(join(snapshot, name))).toBe(join("..", "..", "blobs", hash));
      expect((await readFile(join(snapshot, name))).equals(content)).toBe(true);
    }
    expect(await readFile(join(cacheOf(home), "refs", "main"), "utf8")).toBe(commit);
    expect(await readdir(join(cacheOf(home), "blobs"))).toHaveLength(needed.length);
    expect(model.bytes).toBe(needed.reduce((sum, name) => sum + (files[name]?.length ?? 0), 0));
    expect(hub.downloads(".bin")).toEqual([]);
  });

  it("asks once more and downloads nothing when all is here", async () => {
    const { hub, pull } = await openPlace();
    hub.commit(repo, tinyRepo());
    const first = await pull(repo);
    const before = hub.downloads().length;
    expect(await pull(repo)).toEqual(first);
    expect(hub.downloads()).toHaveLength(before);
  });

  it("follows a branch to its new commit, and shares what has not changed", async () => {
    const { hub, home, pull } = await openPlace();
    hub.commit(repo, tinyRepo());
    const old = await pull(repo);
    const commit = hub.commit(repo, { ...tinyRepo(), "README.md": "another card" });
    const weightsBefore = hub.downloads("safetensors").length;
    expect((await pull(repo)).commit).toBe(commit);
    expect(hub.downloads("safetensors")).toHaveLength(weightsBefore);
    expect(await readFile(join(cacheOf(home), "refs", "main"), "utf8")).toBe(commit);
    // What was there stays, under its commit.
    expect((await pull(`${repo}@${old.commit}`)).source).toBe(old.source);
  });

  it("takes a branch, a tag, a commit or a pull request", async () => {
    const { hub, home, pull } = await openPlace();
    const commit = hub.commit(repo, tinyRepo());
    hub.repos.get(repo)?.revisions.set("v1.0", commit).set("refs/pr/3", commit);
    for (const revision of ["main", "v1.0", "refs/pr/3", commit]) {
      expect((await pull(`${repo}@${revision}`)).commit).toBe(commit);
    }
    expect(await readFile(join(cacheOf(home), "refs", "refs", "pr", "3"), "utf8")).toBe(commit);
  });

  it("fetches the weights that the index names", async () => {
    const { hub, pull } = await openPlace();
    const { "model.safetensors": _, ...others } = tinyRepo();
    const index = { weight_map: { a: "model-00001-of-00002.safetensors", b: "model-00002-of-00002.safetensors" } };
    hub.commit(repo, {
      ...others,
      "model.safetensors.index.json": JSON.stringify(index),
      "model-00001-of-00002.safetensors": "one",
      "model-00002-of-00002.safetensors": "two",
      "consolidated.safetensors": "the same once more",
    });
    const { source } = await pull(repo);
    expect((await readdir(source)).filter((name) => name.endsWith(".safetensors"))).toEqual([
      "model-00001-of-00002.safetensors",
      "model-00002-of-00002.safetensors",
    ]);
  });

  it("fetches the one GGUF file that is meant, in all its parts", async () => {
    const { hub, pull } = await openPlace();
    hub.commit(repo, {
      "README.md": "card",
      "tiny-Q4_0.gguf": "four",
      "Q8_0/tiny-Q8_0-00001-of-00002.gguf": "eight, ",
      "Q8_0/tiny-Q8_0-00002-of-00002.gguf": "and the rest",
    });
    const split = await pull(`${repo}/Q8_0/tiny-Q8_0-00001-of-00002.gguf`);
    expect(split.gguf).toBe("Q8_0/tiny-Q8_0-00001-of-00002.gguf");
    expect(await readFile(split.source, "utf8")).toBe("eight, ");
    expect((await readdir(join(split.source, ".."))).length).toBe(2);
    expect(hub.downloads("Q4_0")).toEqual([]);
  });

  it("tells how far it is, over all files", async () => {
    const { hub, pull } = await openPlace();
    hub.commit(repo, tinyRepo());
    const seen: { stage: string; done: number; total: number }[] = [];
    const { bytes } = await pull(repo, {
      onProgress: (stage, state) => state !== null && seen.push({ stage, done: state.done, total: state.total }),
    });
    expect(seen.at(-1)).toEqual({ stage: `downloading ${repo}`, done: bytes, total: bytes });
    expect(seen.every(({ done }, at) => done >= (seen[at - 1]?.done ?? 0))).toBe(true);
  });
});

describe("the token", () => {
  it("goes to the hub, and not to where downloads come from", async () => {
    const { hub, pull } = await openPlace();
    hub.commit(repo, tinyRepo());
    Object.assign(hub.repos.get(repo) ?? {}, { access: { token: "hf_good", gated: false } });
    await pull(repo, {}, { HF_TOKEN: "hf_good" });
    const sent = (host: "hub" | "cdn") =>
      new Set(hub.seen.filter((each) => each.host === host).map(({ headers }) => headers.authorization));
    expect(sent("hub")).toEqual(new Set(["Bearer hf_good"]));
    expect(sent("cdn")).toEqual(new Set([undefined]));
    expect(hub.downloads().some(({ host }) => host === "cdn")).toBe(true);
  });

  it("is the one that a login has left, unless it is told not to send it", async () => {
    const { hub, home, pull } = await openPlace();
    hub.commit(repo, tinyRepo());
    Object.assign(hub.repos.get(repo) ?? {}, { access: { token: "hf_file", gated: false } });
    await writeFile(join(home, "token"), "hf_file\n");
    await pull(repo);
    await expect(pull(repo, {}, { HF_HUB_DISABLE_IMPLICIT_TOKEN: "1" })).rejects.toThrow("has no model tiny-org/tiny");
  });
});

describe("a download that breaks off", () => {
  it("goes on where it stopped, if the file is still the same", async () => {
    const { hub, pull } = await openPlace();
    hub.commit(repo, tinyRepo());
    let breaks = 2;
    hub.fault = ({ host }) => (host === "cdn" && breaks-- > 0 ? { breakAfter: 50_000 } : null);
    const { source } = await pull(repo);
    expect((await readFile(join(source, "model.safetensors"))).equals(weights)).toBe(true);
    const parts = hub.downloads("safetensors").filter(({ host }) => host === "cdn");
    expect(parts.map(({ headers }) => headers.range)).toEqual([undefined, "bytes=50000-", "bytes=100000-"]);
    expect(parts[1]?.headers["if-range"]).toMatch(/^"cdn-/);
    // The hub gives a new address each time; the old one is used up.
    expect(hub.downloads("safetensors").filter(({ host }) => host === "hub")).toHaveLength(3);
  });

  it("that ends early in good order is one, too", async () => {
    const { hub, pull } = await openPlace();
    hub.commit(repo, tinyRepo());
    let once = true;
    hub.fault = ({ host }) => {
      if (host !== "cdn" || !once) return null;
      once = false;
      return { endAfter: 1000 };
    };
    const { source } = await pull(repo);
    expect((await readFile(join(source, "model.safetensors"))).equals(weights)).toBe(true);
    expect(hub.downloads("safetensors").at(-1)?.headers.range).toBe("bytes=1000-");
  });

  it("begins anew when the file has become another meanwhile", async () => {
    const { hub, pull } = await openPlace();
    hub.commit(repo, tinyRepo());
    const other = Buffer.alloc(weights.length, 1);
    let time = 0;
    // The second host has a damaged copy at first.
    hub.fault = ({ host, path }) => {
      if (!path.includes("safetensors")) return null;
      if (host === "hub") return time === 0 ? { bytes: other } : null;
      time += 1;
      return time === 1 ? { breakAfter: 50_000 } : null;
    };
    const { source } = await pull(repo);
    expect((await readFile(join(source, "model.safetensors"))).equals(weights)).toBe(true);
    expect(time).toBe(2);
  });

  it("begins anew where the server knows no parts", async () => {
    const { hub, pull } = await openPlace();
    hub.commit(repo, tinyRepo());
    let time = 0;
    hub.fault = ({ host }) => {
      if (host !== "cdn") return null;
      time += 1;
      return time === 1 ? { breakAfter: 50_000 } : { ignoreRange: true };
    };
    const seen: number[] = [];
    const { source, bytes } = await pull(repo, { onProgress: (_, state) => state !== null && seen.push(state.done) });
    expect((await readFile(join(source, "model.safetensors"))).equals(weights)).toBe(true);
    expect(seen.at(-1)).toBe(bytes);
  });

  it("is given up when nothing comes any more", async () => {
    const { hub, home, pull } = await openPlace();
    hub.commit(repo, tinyRepo());
    hub.fault = ({ host }) => (host === "cdn" ? { breakAfter: 0 } : null);
    await expect(pull(repo)).rejects.toMatchObject({ code: "hub_unreachable" });
    expect(existsSync(join(cacheOf(home), "refs", "main"))).toBe(false);
    hub.fault = () => null;
    await pull(repo);
  });
});

describe("a pull that is stopped", () => {
  it("leaves what came, and the next one goes on from there", async () => {
    const { hub, home, pull } = await openPlace();
    hub.commit(repo, tinyRepo());
    hub.fault = ({ host }) => (host === "cdn" ? { slowly: 2000 } : null);
    const stop = new AbortController();
    const running = pull(repo, {
      signal: stop.signal,
      onProgress: (_, state) => state !== null && state.done > 100_000 && stop.abort(),
    });
    await expect(running).rejects.toMatchObject({ name: "AbortError" });
    const partial = join(cacheOf(home), "blobs", `${weightsHash}.incomplete`);
    const { size } = await lstat(partial);
    expect(size).toBeGreaterThan(50_000);
    expect(size).toBeLessThan(weights.length);

    hub.fault = () => null;
    const { source } = await pull(repo);
    expect(hub.downloads("safetensors").at(-1)?.headers.range).toBe(`bytes=${size}-`);
    expect((await readFile(join(source, "model.safetensors"))).equals(weights)).toBe(true);
    expect((await readdir(join(cacheOf(home), "blobs"))).filter((name) => name.endsWith("incomplete"))).toEqual([]);
  });

  it("stops while it waits for its next try", async () => {
    const { hub, pull } = await openPlace();
    hub.commit(repo, tinyRepo());
    hub.fault = () => ({ status: 503 });
    const stop = new AbortController();
    const slow = { ...quick, firstWaitMs: 60_000 };
    const running = pull(repo, {
      signal: stop.signal,
      pace: slow,
      onProgress: (stage) => /503/.test(stage) && stop.abort(),
    });
    await expect(running).rejects.toMatchObject({ name: "AbortError" });
  });

  it.each([
    ["is longer than the file", weights.length + 5],
    ["holds other bytes", 1000],
  ])("is not misled by an unfinished file that %s", async (_, bytes) => {
    const { hub, home, pull } = await openPlace();
    hub.commit(repo, tinyRepo());
    const blobs = join(cacheOf(home), "blobs");
    await mkdir(blobs, { recursive: true });
    await writeFile(join(blobs, `${weightsHash}.incomplete`), Buffer.alloc(bytes, 7));
    const { source } = await pull(repo);
    expect((await readFile(join(source, "model.safetensors"))).equals(weights)).toBe(true);
  });
});

describe("bytes", () => {
  it.each(["model.safetensors", "tokenizer.json"])("that are wrong are fetched again: %s", async (name) => {
    const { hub, pull } = await openPlace();
    hub.commit(repo, tinyRepo());
    let times = 0;
    hub.fault = ({ path, host }) => {
      const isContent = name.endsWith(".json")
        ? path.includes("resolve-cache")
        : host === "hub" && path.includes("resolve");
      if (!path.includes(name) || !isContent || times++ > 0) return null;
      return { bytes: Buffer.alloc(tinyRepo()[name]?.length ?? 0, 9) };
    };
    const { source } = await pull(repo);
    expect((await readFile(join(source, name))).equals(tinyRepo()[name] ?? Buffer.alloc(0))).toBe(true);
    expect(times).toBe(2);
  });

  it.each([
    ["other", Buffer.alloc(weights.length, 9)],
    ["more", Buffer.concat([weights, Buffer.from("!")])],
  ])("that are wrong twice are told of, and none of them stay: %s", async (_, bytes) => {
    const { hub, home, pull } = await openPlace();
    hub.commit(repo, tinyRepo());
    hub.fault = ({ path }) => (path.includes("model.safetensors") ? { bytes } : null);
    await expect(pull(repo)).rejects.toMatchObject({ code: "file_hash_mismatch" });
    await expect(pull(repo)).rejects.toThrow(`expected ${weights.length} bytes of sha256 ${weightsHash}`);
    expect((await readdir(join(cacheOf(home), "blobs"))).filter((name) => name.startsWith(weightsHash))).toEqual([]);
    hub.fault = () => null;
    await pull(repo);
  });

  it("of a blob that was cut off are fetched again", async () => {
    const { hub, home, pull } = await openPlace();
    hub.commit(repo, tinyRepo());
    const { source } = await pull(repo);
    await truncate(join(cacheOf(home), "blobs", weightsHash), 1000);
    await pull(repo);
    expect((await readFile(join(source, "model.safetensors"))).equals(weights)).toBe(true);
  });
});

describe("a busy hub", () => {
  it("is asked again, when it says if it says so", async () => {
    const { hub, pull } = await openPlace();
    hub.commit(repo, tinyRepo());
    const answers = [{ status: 429, headers: { "retry-after": "1" } }, { status: 500 }, { status: 503 }];
    hub.fault = () => answers.shift() ?? null;
    const stages: string[] = [];
    const began = performance.now();
    await pull(repo, { onProgress: (stage) => stages.push(stage) });
    expect(performance.now() - began).toBeGreaterThan(990);
    expect(stages.join("\n")).toContain("asks for fewer requests (429); trying again in 1 s");
    expect(stages.join("\n")).toContain("has trouble (503); trying again in 1 s");
  });

  it("is left alone when it asks for more patience than anybody has", async () => {
    const { hub, pull } = await openPlace();
    hub.commit(repo, tinyRepo());
    hub.fault = () => ({ status: 429, headers: { "retry-after": "3600" } });
    await expect(pull(repo)).rejects.toThrow(
      "asks for fewer requests (429). Try again in 3600 seconds. With HF_TOKEN set, more requests are allowed.",
    );
    expect(hub.seen).toHaveLength(1);
  });

  it("is given up after five tries", async () => {
    const { hub, pull } = await openPlace();
    hub.commit(repo, tinyRepo());
    hub.fault = () => ({ status: 502 });
    await expect(pull(repo)).rejects.toMatchObject({ code: "hub_unreachable" });
    expect(hub.seen).toHaveLength(5);
  });
});

describe("what cannot be had is told in a sentence", () => {
  it("a repository that is not there, a private one, a gated one, a token that is not known", async () => {
    const { hub, pull } = await openPlace();
    hub.commit(repo, tinyRepo());
    const found = hub.repos.get(repo);
    if (found === undefined) throw new Error("no repository");
    await expect(pull("tiny-org/none")).rejects.toThrow(
      `${hub.endpoint} has no model tiny-org/none, or does not show it: check the name; if it is private, set HF_TOKEN`,
    );
    await expect(pull(`${repo}@v9`)).rejects.toThrow("tiny-org/tiny has no revision 'v9'.");
    await expect(pull(repo, {}, { HF_TOKEN: "hf_expired" })).rejects.toThrow("does not know this HF_TOKEN");
    Object.assign(found, { access: { token: "hf_good", gated: false }, outsider: "hf_other" });
    await expect(pull(repo)).rejects.toThrow("set HF_TOKEN to a token of");
    await expect(pull(repo, {}, { HF_TOKEN: "hf_other" })).rejects.toThrow("your token must be allowed to read it");
    Object.assign(found, { access: { token: "hf_good", gated: true } });
    await expect(pull(repo)).rejects.toThrow(
      `tiny-org/tiny is gated: visit ${hub.endpoint}/tiny-org/tiny, accept its terms, then set HF_TOKEN`,
    );
    await expect(pull(repo, {}, { HF_TOKEN: "hf_other" })).rejects.toMatchObject({
      code: "repository_denied",
      message: expect.stringContaining("your token has no access to it yet"),
    });
    await pull(repo, {}, { HF_TOKEN: "hf_good" });
  });

  it("a refusal's own words", async () => {
    const { hub, pull } = await openPlace();
    hub.commit(repo, tinyRepo());
    hub.fault = () => ({ status: 403, headers: { "x-error-message": "Enable access\tto gated repositories." } });
    await expect(pull(repo)).rejects.toThrow(
      "does not let you have tiny-org/tiny: “Enable access to gated repositories”.",
    );
  });

  it("a hub that is not there", async () => {
    const { pull } = await openPlace();
    await expect(pull(repo, {}, { HF_ENDPOINT: await nobody() })).rejects.toThrow(
      /^http:\/\/127\.0\.0\.1:\d+ cannot be reached \(ECONNREFUSED\)\. Check the network, HTTPS_PROXY and HF_ENDPOINT; HF_HUB_OFFLINE=1/,
    );
  });

  it.each(["<html>Sign in to the network</html>", '{"hello": 1}', "[]"])(
    "something that is no hub: %s",
    async (body) => {
      const { hub, pull } = await openPlace();
      hub.fault = () => ({ status: 200, headers: { "content-type": "text/html" }, body });
      await expect(pull(repo)).rejects.toThrow("does not answer as a hub does. Check HF_ENDPOINT");
    },
  );

  it("a disk that is too small, before the download", async () => {
    const { hub, pull } = await openPlace();
    hub.commit(repo, tinyRepo());
    const entry = (path: string, content: Buffer) => ({
      type: "file",
      path,
      size: content.length,
      oid: gitSha1(content),
    });
    const { "config.json": config, "tokenizer.json": tokenizer } = tinyRepo();
    if (config === undefined || tokenizer === undefined) throw new Error("no model");
    const huge = {
      type: "file",
      path: "model.safetensors",
      size: 130,
      oid: "0".repeat(40),
      lfs: { oid: weightsHash, size: 1e15, pointerSize: 130 },
    };
    const body = JSON.stringify([entry("config.json", config), entry("tokenizer.json", tokenizer), huge]);
    hub.fault = ({ path }) => (path.includes("/tree/") ? { status: 200, body } : null);
    await expect(pull(repo)).rejects.toThrow(
      /There is no room: 1000 TB are to be downloaded to .*, where .* are free\./,
    );
    expect(hub.downloads("safetensors")).toEqual([]);
  });

  it("a model that cannot be converted, before its weights are fetched", async () => {
    const { hub, pull } = await openPlace();
    hub.commit(repo, {
      ...tinyRepo(),
      "config.json": '{"model_type": "mamba", "architectures": ["MambaForCausalLM"]}',
    });
    await expect(pull(repo)).rejects.toMatchObject({ code: "unsupported_architecture" });
    expect(hub.downloads("safetensors")).toEqual([]);
  });

  it("redirects that go round in circles", async () => {
    const { hub, pull } = await openPlace();
    hub.commit(repo, tinyRepo());
    hub.fault = ({ path }) => ({ status: 302, headers: { location: path } });
    await expect(pull(repo)).rejects.toThrow("lead nowhere");
    expect(hub.seen).toHaveLength(6);
  });

  it("file names that would lead out of the cache are passed over", async () => {
    const { hub, home, pull } = await openPlace();
    hub.commit(repo, { ...tinyRepo(), "../../../../outside.gguf": "x", "C:\\outside.gguf": "x" });
    await pull(repo);
    await expect(pull(`${repo}/outside.gguf`)).rejects.toThrow("It has no GGUF file.");
    expect(existsSync(join(home, "outside.gguf"))).toBe(false);
  });
});

describe("without the hub", () => {
  it("what was downloaded is used, by order or by need", async () => {
    const { hub, pull } = await openPlace();
    hub.commit(repo, tinyRepo());
    const online = await pull(repo);
    const before = hub.seen.length;
    expect(await pull(repo, {}, { HF_HUB_OFFLINE: "1" })).toEqual(online);
    expect(hub.seen).toHaveLength(before);
    const notes: string[] = [];
    const unreachable = { HF_ENDPOINT: await nobody() };
    expect(await pull(repo, { onNote: (note) => notes.push(note) }, unreachable)).toEqual(online);
    expect(notes.join()).toMatch(/cannot be reached .* What was downloaded earlier is used: commit [0-9a-f]{12}\./);
  });

  it("what is not there is told of, whole or in part", async () => {
    const { hub, home, pull } = await openPlace();
    const commit = hub.commit(repo, tinyRepo());
    const offline = { HF_HUB_OFFLINE: "1" };
    await expect(pull(repo, {}, offline)).rejects.toThrow(
      `Nothing of tiny-org/tiny at revision 'main' is in ${join(home, "hub")}. HF_HUB_OFFLINE is set`,
    );
    await pull(repo);
    await truncate(join(cacheOf(home), "blobs", weightsHash), 0);
    const link = join(cacheOf(home), "snapshots", commit, "model.safetensors");
    await rm(link);
    await expect(pull(repo, {}, offline)).rejects.toThrow("has not all of the model.");
    await expect(pull(repo, {}, offline)).rejects.toMatchObject({ code: "hub_unreachable" });
  });

  it("a download that fails is told of, not replaced by an old copy", async () => {
    const { hub, home, pull } = await openPlace();
    const old = hub.commit(repo, tinyRepo());
    await pull(repo);
    hub.commit(repo, { ...tinyRepo(), "model.safetensors": "new weights" });
    hub.fault = ({ host }) => (host === "cdn" ? { status: 503 } : null);
    await expect(pull(repo)).rejects.toMatchObject({ code: "hub_unreachable" });
    // And whoever serves it has the old one still.
    expect(await readFile(join(cacheOf(home), "refs", "main"), "utf8")).toBe(old);
    expect(await pull(repo, {}, { HF_HUB_OFFLINE: "1" })).toMatchObject({ commit: old });
  });

  it("a denied repository is not replaced by an old copy", async () => {
    const { hub, pull } = await openPlace();
    hub.commit(repo, tinyRepo());
    await pull(repo);
    Object.assign(hub.repos.get(repo) ?? {}, { access: { token: "hf_good", gated: true } });
    await expect(pull(repo)).rejects.toMatchObject({ code: "repository_denied" });
  });
});

describe("several at once", () => {
  it("download each file once, and all have it", async () => {
    const { hub, pull } = await openPlace();
    hub.commit(repo, tinyRepo());
    hub.fault = ({ host }) => (host === "cdn" ? { slowly: 2000 } : null);
    const models = await Promise.all([pull(repo), pull(repo), pull(repo)]);
    expect(new Set(models.map(({ source }) => source)).size).toBe(1);
    const bytes = await readFile(join(models[0]?.source ?? "", "model.safetensors"));
    expect(bytes.equals(weights)).toBe(true);
    expect(hub.downloads("safetensors").filter(({ host }) => host === "cdn")).toHaveLength(1);
  });

  it("go on with the file of one that was killed", async () => {
    const { hub, home, pull } = await openPlace();
    hub.commit(repo, tinyRepo());
    const blobs = join(cacheOf(home), "blobs");
    await mkdir(blobs, { recursive: true });
    await writeFile(join(blobs, `${weightsHash}.0123abcd.incomplete`), weights.subarray(0, 70_000));
    const stages: string[] = [];
    await pull(repo, { onProgress: (stage) => stages.push(stage) });
    expect(stages).toContain("another process is downloading model.safetensors");
    expect(hub.downloads("safetensors").at(-1)?.headers.range).toBe("bytes=70000-");
    expect((await readdir(blobs)).filter((name) => name.endsWith("incomplete"))).toEqual([]);
  });
});

describe("a proxy", () => {
  it("is asked for everything but what NO_PROXY names", async () => {
    const { hub, pull } = await openPlace();
    hub.commit(repo, tinyRepo());
    const tunnels: string[] = [];
    const proxy = createServer().on("connect", (request, socket) => {
      tunnels.push(request.url ?? "");
      const [host, port] = (request.url ?? "").split(":");
      const other = connect(Number(port), host, () => {
        socket.write("HTTP/1.1 200 OK\r\n\r\n");
        other.pipe(socket).pipe(other);
      });
      for (const end of [other, socket]) end.on("error", () => {});
    });
    await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
    onTestFinished(() => void proxy.close());
    const { port } = proxy.address() as AddressInfo;
    const environment = { HTTP_PROXY: `http://127.0.0.1:${port}` };
    await pull(repo, {}, environment);
    expect(new Set(tunnels)).toEqual(new Set([new URL(hub.endpoint).host, new URL(hub.cdn).host]));
    const before = tunnels.length;
    await pull(`${repo}@main`, {}, { ...environment, NO_PROXY: "127.0.0.1" });
    expect(tunnels).toHaveLength(before);
  });
});
