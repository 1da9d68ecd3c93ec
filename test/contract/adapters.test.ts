import { createHash } from "node:crypto";
import { copyFile, cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type RunningApp, startApp } from "../../src/app.js";
import { convert } from "../../src/convert/convert.js";
import { createLog } from "../../src/server/edge/request-log.js";
import { routes } from "../../src/server/routes.js";
import { parseServeConfig } from "../../src/settings/serve-config.js";
import { builtinTemplates } from "../../src/text/builtin-templates.js";
import { withHeader } from "../convert/safetensors-file.js";
import { workerUrl } from "./open-test-model.js";

const source = fileURLToPath(new URL("../tiny/gqa", import.meta.url));
const otherSource = fileURLToPath(new URL("../tiny/mha", import.meta.url));
const converterUrl = new URL("../../dist/convert/convert-worker.js", import.meta.url);
/** The weights of the golden adapter, and what describes them. */
const weights = await readFile(join(source, "adapter.safetensors"));
const description = await readFile(join(source, "adapter.json"));

let scratch: string;
let models: string;
let adaptersDir: string;
let app: RunningApp;
let logged: string[];

async function start(): Promise<void> {
  logged = [];
  const config = parseServeConfig(
    {
      model: [join(models, "tiny"), join(models, "other")],
      port: "0",
      "adapters-dir": adaptersDir,
      "max-adapter-bytes": "300000",
      threads: "1",
    },
    { DRAIN_SECONDS: "0" },
  );
  app = await startApp(config, {
    workerUrl,
    converterUrl,
    log: createLog("info", "json", (line) => logged.push(line)),
  });
  await app.ready();
}

beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), "toast-adapters-"));
  models = join(scratch, "models");
  adaptersDir = join(scratch, "adapters");
  const chatTemplate = builtinTemplates.alpaca;
  await convert({
    source,
    out: join(models, "tiny"),
    quantize: "none",
    modelId: "tiny",
    adapters: [{ file: join(source, "adapter.safetensors"), name: "alpaca" }],
    chatTemplate,
  });
  await convert({
    source: otherSource,
    out: join(models, "other"),
    quantize: "none",
    modelId: "other",
    adapters: [],
    chatTemplate,
  });
  await start();
});
afterAll(async () => {
  await app.stop();
  await rm(scratch, { recursive: true, force: true });
});
beforeEach(async () => {
  for (const { id, origin } of (await list()).data) {
    if (origin === "upload") await remove(id);
  }
});

interface WireAdapter {
  readonly id: string;
  readonly fingerprint: string;
  readonly origin: string;
}

async function list() {
  const response = await fetch(`${app.url}/v1/adapters`);
  return (await response.json()) as { data: WireAdapter[]; problems: { path: string; message: string }[] };
}

async function ids(): Promise<string[]> {
  return (await list()).data.map(({ id }) => id);
}

async function remove(id: string) {
  const response = await fetch(`${app.url}/v1/adapters/${id.replace(":", "/")}`, { method: "DELETE" });
  return { status: response.status, body: (await response.json()) as Record<string, unknown> };
}

interface Parts {
  readonly model?: string;
  readonly name?: string;
  readonly sha256?: string;
  readonly files?: Readonly<Record<string, Uint8Array>>;
}

async function upload({ files = { "poet.safetensors": weights, "poet.json": description }, ...fields }: Parts) {
  const form = new FormData();
  for (const [name, value] of Object.entries({ model: "tiny", ...fields })) form.set(name, value);
  for (const [name, bytes] of Object.entries(files))
    form.append("file", new Blob([bytes as Uint8Array<ArrayBuffer>]), name);
  return answer(await fetch(`${app.url}/v1/adapters`, { method: "POST", body: form }));
}

async function post(body: object) {
  const headers = { "content-type": "application/json" };
  return answer(await fetch(`${app.url}/v1/adapters`, { method: "POST", headers, body: JSON.stringify(body) }));
}

interface WireError {
  readonly message: string;
  readonly param: string | null;
  readonly code: string;
}

async function answer(response: Response) {
  const body = (await response.json()) as Partial<WireAdapter> & { error?: WireError };
  return { status: response.status, body, error: body.error ?? { message: "", param: null, code: "" } };
}

async function ask(model: string, fields: object = {}) {
  const body = {
    model,
    messages: [{ role: "user", content: "Tell me a story." }],
    temperature: 0,
    max_tokens: 16,
    ignore_eos: true,
    ...fields,
  };
  const headers = { "content-type": "application/json" };
  const response = await fetch(`${app.url}/v1/chat/completions`, {
    method: "POST",
    headers,
    body: JSON.stringify(body),
  });
  const json = (await response.json()) as {
    choices?: { message: { content: string } }[];
    system_fingerprint?: string;
    steering?: object;
    usage?: { prompt_tokens_details?: { cached_tokens: number } };
    error?: { code: string };
  };
  const cached = json.usage?.prompt_tokens_details?.cached_tokens ?? 0;
  return { status: response.status, text: json.choices?.[0]?.message.content, cached, ...json };
}

/** The golden adapter with another task embedding, so that it steers otherwise. */
function variant(
  seed: number,
  value: (before: number, index: number) => number = (before, index) => before * (1 + seed * Math.sin(index)),
): Buffer {
  const bytes = Buffer.from(weights);
  const headerBytes = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.toString("utf8", 8, 8 + headerBytes)) as Record<
    string,
    { data_offsets: [number, number] }
  >;
  const [from, to] = header["model.top_down_transform"]?.data_offsets ?? [0, 0];
  for (let at = from; at < to; at += 4) {
    const place = 8 + headerBytes + at;
    bytes.writeFloatLE(value(bytes.readFloatLE(place), (at - from) / 4), place);
  }
  return bytes;
}

describe("an adapter that is sent", () => {
  it("is converted, listed, and steers as the same adapter that came with the model does", async () => {
    const said = { description: "Writes in rhyme.", example_prompt: "Describe the sea.", recommended_strength: 0.8 };
    const described = JSON.stringify({ ...JSON.parse(description.toString()), ...said });
    const sent = await upload({ name: "poet", files: { "x.safetensors": weights, "x.json": Buffer.from(described) } });
    expect([sent.status, sent.body]).toMatchObject([
      201,
      { id: "tiny:poet", model: "tiny", name: "poet", origin: "upload", ...said },
    ]);
    expect(await ids()).toEqual(["tiny:alpaca", "tiny:poet"]);
    const served = (await (await fetch(`${app.url}/v1/models`)).json()) as { data: { id: string; steering: object }[] };
    expect(served.data.map(({ id }) => id)).toEqual(["tiny", "tiny:alpaca", "tiny:poet", "other"]);
    expect(served.data[2]?.steering).toEqual({ adapter: "poet", stage: "initial", ...said });
    const [poet, alpaca, base] = [await ask("tiny:poet"), await ask("tiny:alpaca"), await ask("tiny")];
    expect(poet.text).toBe(alpaca.text);
    expect(poet.text).not.toBe(base.text);
    expect(poet.steering).toMatchObject({ adapter: "poet", strength: 1 });
    expect((await ask("tiny:poet", { steering: { strength: 0 } })).text).toBe(base.text);
  });

  it("is there after a restart, and gone for good once it is removed", async () => {
    await upload({ name: "poet", files: { "x.safetensors": variant(0.3), "x.json": description } });
    const before = await ask("tiny:poet");
    await app.stop();
    await start();
    expect(await ids()).toEqual(["tiny:alpaca", "tiny:poet"]);
    const after = await ask("tiny:poet");
    expect([after.text, after.system_fingerprint]).toEqual([before.text, before.system_fingerprint]);
    expect(await remove("tiny:poet")).toMatchObject({
      status: 200,
      body: { id: "tiny:poet", object: "adapter", deleted: true, files: "removed", memory: "freed" },
    });
    expect(await ask("tiny:poet")).toMatchObject({ status: 404, error: { code: "model_not_found" } });
    await app.stop();
    await start();
    expect(await ids()).toEqual(["tiny:alpaca"]);
  });

  it("takes its name from the file, and its bytes are checked against a sha256", async () => {
    const sha256 = createHash("sha256").update(weights).digest("hex");
    const wrong = await upload({ sha256: sha256.replace(/^./, (digit) => (digit === "0" ? "1" : "0")) });
    expect([wrong.status, wrong.error]).toMatchObject([400, { code: "file_hash_mismatch", param: "sha256" }]);
    expect((await upload({ sha256 })).body.id).toBe("tiny:poet");
  });

  it("gets its name alone, however many ask for it at once", async () => {
    const sent = await Promise.all([0, 1, 2, 3].map(() => upload({ name: "poet" })));
    expect(sent.map(({ status }) => status).sort()).toEqual([201, 400, 400, 400]);
    expect(sent.filter(({ status }) => status === 400).every(({ error }) => error.code === "adapter_exists")).toBe(
      true,
    );
    expect(await ids()).toEqual(["tiny:alpaca", "tiny:poet"]);
  });

  it("may be a folder that was converted already", async () => {
    const folder = join(models, "tiny", "adapters", "alpaca");
    const files = Object.fromEntries(
      await Promise.all(
        (await readdir(folder)).map(async (name) => [name, await readFile(join(folder, name))] as const),
      ),
    );
    expect((await upload({ name: "twin", files })).status).toBe(201);
    expect((await ask("tiny:twin")).text).toBe((await ask("tiny:alpaca")).text);
    await remove("tiny:twin");
    const bent = { ...files, "adapter.onnx.data": Buffer.alloc(files["adapter.onnx.data"]?.length ?? 0) };
    expect((await upload({ name: "twin", files: bent })).error.code).toBe("file_hash_mismatch");
    const graph = Buffer.concat([files["adapter.onnx"] ?? Buffer.alloc(0), Buffer.from([0x3a, 0])]);
    const manifest = JSON.parse(files["manifest.json"]?.toString() ?? "") as { files: { graph: object } };
    manifest.files.graph = {
      name: "adapter.onnx",
      bytes: graph.length,
      sha256: createHash("sha256").update(graph).digest("hex"),
    };
    const foreign = { ...files, "adapter.onnx": graph, "manifest.json": Buffer.from(JSON.stringify(manifest)) };
    const refused = await upload({ name: "twin", files: foreign });
    expect([refused.status, refused.error.code]).toEqual([400, "invalid_adapter"]);
    expect(refused.error.message).toContain("is not the graph that this version of toast-serve makes");
  });

  it("may replace one of the same name when that one is removed, and is steered by no prefix of it", async () => {
    const fields = { messages: [{ role: "user", content: "Say again what I said. ".repeat(6) }], max_tokens: 8 };
    await upload({ name: "poet", files: { "a.safetensors": variant(0.4), "a.json": description } });
    const first = await ask("tiny:poet", fields);
    expect((await ask("tiny:poet", fields)).cached).toBeGreaterThan(0);
    await remove("tiny:poet");
    await upload({ name: "poet" });
    const second = await ask("tiny:poet", fields);
    expect(second.cached).toBe(0);
    expect(second.system_fingerprint).not.toBe(first.system_fingerprint);
    expect(second.text).toBe((await ask("tiny:alpaca", fields)).text);
  });
});

describe("an adapter is refused, with a sentence and nothing left behind,", () => {
  const cases: readonly [what: string, parts: () => Parts | Promise<Parts>, code: string, message: RegExp][] = [
    ["of another backbone", () => ({ model: "other" }), "adapter_mismatch", /was made for/],
    [
      "with a NaN among its weights",
      () => ({ files: { "a.safetensors": variant(0, () => Number.NaN), "a.json": description } }),
      "not_finite_weights",
      /weights must be finite/,
    ],
    [
      "that is cut off",
      () => ({ files: { "a.safetensors": weights.subarray(0, weights.length - 100), "a.json": description } }),
      "corrupt_safetensors",
      /adapter\.safetensors/,
    ],
    [
      "of tensors that are none of an adapter",
      () => ({ files: { "a.safetensors": withHeader("{}", new Uint8Array()), "a.json": description } }),
      "missing_tensor",
      /model\.prompt/,
    ],
    [
      "with a description that is none",
      () => ({ files: { "a.safetensors": weights, "a.json": Buffer.from('{"format": "lora"}') } }),
      "invalid_adapter",
      /does not describe an adapter/,
    ],
    [
      "of PEFT",
      () => ({
        files: { "adapter_model.safetensors": weights, "adapter_config.json": Buffer.from('{"peft_type": "LORA"}') },
      }),
      "invalid_adapter",
      /adapter_config\.json is of a PEFT adapter \(LoRA.*TOAST adapters only/,
    ],
    [
      "of PEFT under another name",
      () => ({ files: { "a.safetensors": weights, "a.json": Buffer.from('{"peft_type": "LORA"}') } }),
      "invalid_adapter",
      /describes a PEFT adapter \(LORA\)/,
    ],
    ["without a description", () => ({ files: { "a.safetensors": weights } }), "invalid_request", /and the \.json/],
    ["that is no adapter at all", () => ({ files: { "a.exe": weights } }), "invalid_request", /'a\.exe' is none of an/],
    [
      "twice in a form",
      () => ({ files: { "a.safetensors": weights, "b.safetensors": weights } }),
      "invalid_request",
      /two/,
    ],
    ["under a name that cannot be served", () => ({ name: "../x" }), "invalid_request", /cannot be served/],
    ["under a name that is taken", () => ({ name: "alpaca" }), "adapter_exists", /already/],
    ["for a model that is not served", () => ({ model: "gpt-4" }), "model_not_found", /'gpt-4' is not served here/],
    ["with a sha256 that is none", () => ({ sha256: "abc" }), "invalid_request", /64 hexadecimal digits/],
    [
      "that is too large",
      () => ({ files: { "a.safetensors": Buffer.alloc(400_000), "a.json": description } }),
      "body_too_large",
      /larger than 300000 bytes/,
    ],
  ];

  it.each(cases)("%s", async (_, parts, code, message) => {
    const refused = await upload(await parts());
    expect(refused.error.code).toBe(code);
    expect(refused.error.message).toMatch(message);
    expect(refused.error.message).not.toContain(scratch);
    expect(refused.error.message).not.toContain("incoming");
    expect(refused.status).toBe(code === "body_too_large" ? 413 : code === "model_not_found" ? 404 : 400);
    expect(await ids()).toEqual(["tiny:alpaca"]);
    expect((await readdir(adaptersDir)).filter((name) => name.startsWith("."))).toEqual([]);
  });

  it("too large although it does not say so: it is cut off on its way", async () => {
    const { hostname, port } = new URL(app.url);
    const socket = connect(Number(port), hostname);
    let text = "";
    socket.on("data", (chunk: Buffer) => {
      text += chunk.toString();
    });
    socket.on("error", () => {});
    socket.write(
      "POST /v1/adapters HTTP/1.1\r\nhost: localhost\r\ncontent-type: multipart/form-data; boundary=b\r\ntransfer-encoding: chunked\r\n\r\n",
    );
    const part = '--b\r\ncontent-disposition: form-data; name="file"; filename="a.safetensors"\r\n\r\n';
    socket.write(`${part.length.toString(16)}\r\n${part}\r\n`);
    for (let sent = 0; sent < 40; sent++) socket.write(`2710\r\n${"x".repeat(10_000)}\r\n`);
    await expect.poll(() => text).toMatch(/^HTTP\/1\.1 413 /);
    socket.destroy();
    await expect.poll(async () => (await readdir(adaptersDir)).filter((name) => name.startsWith("."))).toEqual([]);
  });

  it("half sent: a client that goes away leaves nothing", async () => {
    const { hostname, port } = new URL(app.url);
    const socket = connect(Number(port), hostname);
    socket.on("error", () => {});
    const part = '--b\r\ncontent-disposition: form-data; name="file"; filename="a.safetensors"\r\n\r\nxxxx';
    socket.write(
      `POST /v1/adapters HTTP/1.1\r\nhost: localhost\r\ncontent-type: multipart/form-data; boundary=b\r\ncontent-length: 5000\r\n\r\n${part}`,
    );
    const incoming = async () => (await readdir(adaptersDir)).filter((name) => name.startsWith(".incoming-"));
    await expect.poll(incoming).toHaveLength(1);
    socket.destroy();
    await expect.poll(incoming).toEqual([]);
    expect(await ids()).toEqual(["tiny:alpaca"]);
  });

  it("compressed: a form is sent as it is", async () => {
    const headers = { "content-type": "multipart/form-data; boundary=b", "content-encoding": "gzip" };
    const refused = await fetch(`${app.url}/v1/adapters`, { method: "POST", headers, body: "xx" });
    expect([refused.status, refused.headers.get("accept-encoding")]).toEqual([415, "identity"]);
    expect(await refused.json()).toMatchObject({ error: { message: expect.stringContaining("Send it as it is") } });
  });

  it("in a form that is none", async () => {
    const send = async (contentType: string, body: string) =>
      answer(await fetch(`${app.url}/v1/adapters`, { method: "POST", headers: { "content-type": contentType }, body }));
    expect((await send("multipart/form-data", "x")).status).toBe(400);
    expect((await send("multipart/form-data; boundary=b", "x")).status).toBe(400);
    expect((await send("application/octet-stream", "x")).error.code).toBe("invalid_json");
    expect((await send("application/json", "[]")).status).toBe(400);
  });
});

describe("the adapters folder", () => {
  it("is watched: what is put there is served, what is taken away is not", async () => {
    await writeFile(join(adaptersDir, "bard.json"), description);
    await writeFile(join(adaptersDir, "bard.safetensors"), variant(0.2));
    await expect.poll(ids, { timeout: 20_000 }).toEqual(["tiny:alpaca", "tiny:bard"]);
    expect((await list()).data[1]?.origin).toBe("watched_folder");
    expect((await ask("tiny:bard")).steering).toMatchObject({ adapter: "bard" });
    await rm(join(adaptersDir, "bard.safetensors"));
    await expect.poll(ids, { timeout: 20_000 }).toEqual(["tiny:alpaca"]);
    await expect
      .poll(() => logged.map((line) => JSON.parse(line).msg).filter((message) => message.startsWith("Adapter ")))
      .toEqual([
        "Adapter tiny:bard is served (bard.safetensors).",
        "Adapter tiny:bard is no longer served: its files are gone.",
      ]);
  });
});

describe("routes for adapters", () => {
  it("find one by model and name, and answer 404 for any other", async () => {
    const found = await fetch(`${app.url}/v1/adapters/tiny/alpaca`);
    expect(await found.json()).toMatchObject({ id: "tiny:alpaca", origin: "model_folder", stage: "initial" });
    for (const path of ["tiny/nobody", "nobody/alpaca", "other/alpaca", "tiny/..", "tiny/%2e%2e%2fx"]) {
      const missing = await fetch(`${app.url}/v1/adapters/${path}`);
      expect([path, missing.status]).toEqual([path, 404]);
    }
    expect(await remove("tiny:nobody")).toMatchObject({ status: 404, body: { error: { param: "name" } } });
  });

  it("are those that an operator's key is asked for", () => {
    const own = routes.filter(({ path }) => path.startsWith("/v1/adapters"));
    expect(own.map(({ access }) => access)).toEqual(["admin", "admin", "admin", "admin"]);
  });

  it("say what is missing when the server has no folder for adapters", async () => {
    const plain = await startApp(
      parseServeConfig({ model: join(models, "tiny"), port: "0", threads: "1" }, { DRAIN_SECONDS: "0" }),
      { workerUrl, converterUrl },
    );
    try {
      await plain.ready();
      const listed = (await (await fetch(`${plain.url}/v1/adapters`)).json()) as { data: WireAdapter[] };
      expect(listed.data.map(({ id }) => id)).toEqual(["tiny:alpaca"]);
      const refused = await fetch(`${plain.url}/v1/adapters`, { method: "POST", body: "{}" });
      expect(refused.status).toBe(400);
      expect(await refused.json()).toMatchObject({ error: { message: expect.stringContaining("--adapters-dir") } });
      // Until the next start: its files are the model's.
      const removed = await fetch(`${plain.url}/v1/adapters/tiny/alpaca`, { method: "DELETE" });
      expect(await removed.json()).toMatchObject({ deleted: true, files: "kept", memory: "freed" });
      expect((await (await fetch(`${plain.url}/v1/models`)).json()) as object).toMatchObject({
        data: [{ id: "tiny" }],
      });
    } finally {
      await plain.stop();
    }
  });
});

describe("a path", () => {
  it("inside the adapters folder is taken in", async () => {
    await mkdir(join(adaptersDir, "drafts", "v2"), { recursive: true });
    await writeFile(join(adaptersDir, "drafts", "v2", "bard.safetensors"), weights);
    await writeFile(join(adaptersDir, "drafts", "v2", "bard.json"), description);
    expect((await post({ model: "tiny", path: "drafts/v2/bard.safetensors" })).body.id).toBe("tiny:bard");
    await cp(join(models, "tiny", "adapters", "alpaca"), join(adaptersDir, "drafts", "done"), { recursive: true });
    const absolute = await post({ model: "tiny", path: join(adaptersDir, "drafts", "done"), name: "done" });
    expect(absolute.body.id).toBe("tiny:done");
    expect((await ask("tiny:done")).text).toBe((await ask("tiny:bard")).text);
    const twice = await post({ model: "tiny", path: "drafts/done", name: "done" });
    expect([twice.status, twice.error.code]).toEqual([400, "adapter_exists"]);
  });

  it("outside of it is refused, in the words for one that is not there", async () => {
    await writeFile(join(scratch, "secret.safetensors"), weights);
    await writeFile(join(scratch, "secret.json"), description);
    await symlink(scratch, join(adaptersDir, "way-out"));
    await mkdir(join(adaptersDir, "half"), { recursive: true });
    await copyFile(
      join(models, "tiny", "adapters", "alpaca", "manifest.json"),
      join(adaptersDir, "half", "manifest.json"),
    );
    for (const name of ["adapter.onnx", "adapter.onnx.data"]) {
      await symlink(join(models, "tiny", "adapters", "alpaca", name), join(adaptersDir, "half", name));
    }
    try {
      for (const path of [
        "../secret.safetensors",
        join(scratch, "secret.safetensors"),
        "way-out/secret.safetensors",
        "../adapters-evil",
        "nothing.safetensors",
        "half",
        "",
        ".",
        "..",
        "/etc/passwd",
        "a\0b",
      ]) {
        const refused = await post({ model: "tiny", path, name: "stolen" });
        expect([path, refused.status, refused.error.param]).toEqual([path, 400, "path"]);
        expect(refused.error.message).toContain("must name something inside");
      }
    } finally {
      await rm(join(adaptersDir, "way-out"));
      await rm(join(adaptersDir, "half"), { recursive: true });
    }
  });
});
