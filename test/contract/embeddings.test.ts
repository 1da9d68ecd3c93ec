import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { OpenAIEmbeddings } from "@langchain/openai";
import { embed, embedMany } from "ai";
import OpenAI from "openai";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { convert } from "../../src/convert/convert.js";
import { SafetensorsReader } from "../../src/convert/safetensors-reader.js";
import { EngineClient } from "../../src/engine/thread/engine-client.js";
import { ToastError } from "../../src/errors.js";
import { Golden } from "../convert/golden.js";
import { buildApp } from "../server/build-app.js";
import { workerUrl } from "./open-test-model.js";
import { startTestServer, type TestServer } from "./start-test-server.js";

const source = fileURLToPath(new URL("../tiny/gqa", import.meta.url));
const golden = new Golden(join(source, "golden.safetensors"));
const prompt = golden.ids("input_ids");
const [vocabSize, hiddenSize] = [512, 64];

/** float32 [V,D] */
let head: Float32Array;

let scratch: string;
let engines: readonly EngineClient[];
let server: TestServer;

beforeAll(async () => {
  const reader = await SafetensorsReader.openFolder(source);
  head = await reader.readFloats(reader.expect("lm_head.weight", [vocabSize, hiddenSize]));
  await reader.close();
  scratch = await mkdtemp(join(tmpdir(), "toast-embeddings-"));
  const adapters = [{ file: join(source, "adapter.safetensors"), name: "alpaca" }];
  const open = async (quantize: "none" | "int8", modelId: string) => {
    const folder = join(scratch, modelId);
    await convert({ source, out: folder, quantize, modelId, adapters });
    const engine = new EngineClient({ folder, threads: 1, workerUrl });
    await engine.ready();
    for (const [index, name] of ["first", "second"].entries()) {
      await engine.addVector({ name, directions: directionsOf(index) }, "add");
    }
    return engine;
  };
  engines = [await open("none", "tiny"), await open("int8", "tiny-int8")];
  server = await startTestServer(engines);
});
afterEach(async () => {
  await expect.poll(() => server.running.count).toBe(0);
  for (const engine of engines) {
    await expect.poll(() => engine.inspect()).toMatchObject({ waiting: 0, running: 0, lanesInUse: 0, violations: [] });
  }
  expect(server.departures).toEqual([]);
});
afterAll(async () => {
  await server.shutdown(0);
  for (const engine of engines) await engine.close();
  await rm(scratch, { recursive: true, force: true });
});

/** One of the two control vectors that the golden values were made with, by layer. */
function directionsOf(index: number): ReadonlyMap<number, Float32Array> {
  const rows = [0, 1].map((layer) => (2 * index + layer) * hiddenSize);
  const all = golden.floats("vector_directions");
  return new Map(rows.map((start, layer) => [layer, all.slice(start, start + hiddenSize)]));
}

const vectors = [
  { name: "first", strength: 0.8 },
  { name: "second", strength: -0.5, layers: [1, 1] },
];

interface EmbeddingList {
  readonly data: { readonly object: string; readonly index: number; readonly embedding: number[] | string }[];
  readonly model: string;
  readonly usage: { readonly prompt_tokens: number; readonly total_tokens: number };
  readonly steering: object | null;
  readonly system_fingerprint: string;
}

async function embeddings(body: object): Promise<EmbeddingList> {
  const { status, text } = await server.post("/v1/embeddings", { model: "tiny", ...body });
  expect([status, text.slice(0, 300)]).toEqual([200, expect.any(String)]);
  return JSON.parse(text) as EmbeddingList;
}

async function vectorOf(body: object): Promise<number[]> {
  const { data } = await embeddings(body);
  return data[0]?.embedding as number[];
}

async function refusal(body: object) {
  const { status, text } = await server.post("/v1/embeddings", { model: "tiny", input: "Hello", ...body });
  const { error } = JSON.parse(text) as { error: { code: string; param: string; message: string } };
  return { status, code: error.code, param: error.param, message: error.message };
}

function dot(one: ArrayLike<number>, other: ArrayLike<number>): number {
  return Array.from(one).reduce((sum, value, index) => sum + value * (other[index] ?? 0), 0);
}

function cosine(one: ArrayLike<number>, other: ArrayLike<number>): number {
  return dot(one, other) / Math.sqrt(dot(one, one) * dot(other, other));
}

/** [V]: what the output head, which is linear, makes of a hidden state, and of a mean of them. */
function headOf(vector: ArrayLike<number>): number[] {
  return Array.from({ length: vocabSize }, (_, token) =>
    dot(head.subarray(token * hiddenSize, (token + 1) * hiddenSize), vector),
  );
}

/** [V]: PyTorch's logits [T,V], the mean over all tokens or the last token's. */
function pooledLogits(name: string, pooling: "mean" | "last"): number[] {
  const logits = golden.floats(name);
  const rows = pooling === "last" ? [prompt.length - 1] : prompt.map((_, token) => token);
  return Array.from(
    { length: vocabSize },
    (_, id) => rows.reduce((sum, row) => sum + (logits[row * vocabSize + id] ?? 0), 0) / rows.length,
  );
}

describe("POST /v1/embeddings", () => {
  it.each([
    ["tiny", "bottom_up_logits", {}, 0.9999],
    ["tiny:alpaca", "steered_logits", {}, 0.9999],
    ["tiny", "half_strength_logits", { steering: { adapter: "alpaca", strength: 0.5 } }, 0.9999],
    ["tiny:alpaca", "bottom_up_logits", { steering: { strength: 0 } }, 0.9999],
    ["tiny", "vectors_logits", { steering: { vectors } }, 0.9999],
    ["tiny:alpaca", "steered_vectors_logits", { steering: { vectors } }, 0.9999],
    ["tiny-int8", "bottom_up_logits", {}, 0.99],
    ["tiny-int8:alpaca", "steered_logits", {}, 0.99],
    ["tiny-int8:alpaca", "steered_vectors_logits", { steering: { vectors } }, 0.99],
  ] as const)("is what PyTorch has, by both poolings: %s, %s, %j", async (model, logits, own, least) => {
    for (const pooling of ["mean", "last"] as const) {
      const vector = await vectorOf({ model, input: prompt, pooling, ...own });
      expect(cosine(headOf(vector), pooledLogits(logits, pooling))).toBeGreaterThan(least);
      expect(vector).toHaveLength(hiddenSize);
      expect(dot(vector, vector)).toBeCloseTo(1, 5);
    }
    expect(cosine(pooledLogits(logits, "mean"), pooledLogits(logits, "last"))).toBeLessThan(0.99);
  });

  it("takes a text, texts, token ids and arrays of them, and answers in their order", async () => {
    const texts = ["The cat sat on the mat.", "Rust is a language.", "Hello"];
    const list = await embeddings({ input: texts });
    expect(list).toMatchObject({ object: "list", model: "tiny", steering: null });
    expect(list.data.map(({ object, index }) => [object, index])).toEqual([0, 1, 2].map((at) => ["embedding", at]));
    for (const [index, text] of texts.entries()) {
      expect(await vectorOf({ input: text })).toEqual(list.data[index]?.embedding);
    }
    const tokens = await Promise.all(
      texts.map(async (text) => {
        const { text: body } = await server.post("/tokenize", { model: "tiny", prompt: text });
        return (JSON.parse(body) as { tokens: number[] }).tokens;
      }),
    );
    expect((await embeddings({ input: tokens })).data).toEqual(list.data);
    expect(await vectorOf({ input: tokens[0] })).toEqual(list.data[0]?.embedding);
    const count = tokens.flat().length;
    expect(list.usage).toEqual({ prompt_tokens: count, total_tokens: count });
    // The mean is the default.
    expect(await vectorOf({ input: texts[0], pooling: "mean" })).toEqual(list.data[0]?.embedding);
    expect(await vectorOf({ input: texts[0], pooling: "last" })).not.toEqual(list.data[0]?.embedding);
    const bare = await embeddings({ input: "Hello", add_special_tokens: false });
    expect(bare.usage.prompt_tokens).toBe((tokens[2]?.length ?? 0) - 1);
  });

  it("writes the same numbers in base64", async () => {
    const { data } = await embeddings({ input: prompt, encoding_format: "base64" });
    const bytes = Buffer.from(data[0]?.embedding as string, "base64");
    const floats = Array.from({ length: bytes.length / 4 }, (_, index) => bytes.readFloatLE(index * 4));
    const numbers = await vectorOf({ input: prompt, encoding_format: "float" });
    expect(floats).toEqual(numbers.map(Math.fround));
  });

  it("says what steered it", async () => {
    const plain = await embeddings({ input: "Hello" });
    const steered = await embeddings({ model: "tiny:alpaca", input: "Hello", steering: { strength: 0.5 } });
    expect(steered).toMatchObject({ model: "tiny:alpaca", steering: { adapter: "alpaca", strength: 0.5 } });
    expect(steered.system_fingerprint).not.toBe(plain.system_fingerprint);
  });

  it("answers 2,048 texts, while somebody else's stream goes on and gets the text that it gets alone", async () => {
    const ask = (onText = (_: string) => {}) =>
      server.post(
        "/v1/completions",
        JSON.stringify({
          model: "tiny",
          prompt: "Once",
          max_tokens: 60,
          temperature: 0,
          ignore_eos: true,
          stream: true,
        }),
        { onText },
      );
    const textOf = (body: string) => [...body.matchAll(/"text":"((?:[^"\\]|\\.)*)"/g)].map(([, text]) => text).join("");
    const alone = textOf((await ask()).text);
    let embedded = false;
    const input = Array.from({ length: 2048 }, (_, index) => [index % 500, 7, 9]);
    const list = embeddings({ input }).finally(() => {
      embedded = true;
    });
    await expect.poll(async () => (await engines[0]?.inspect())?.running).toBeGreaterThan(0);
    const company = await ask();
    expect(embedded).toBe(false);
    expect(textOf(company.text)).toBe(alone);
    const { data, usage } = await list;
    expect(data.map(({ index }) => index)).toEqual(input.map((_, index) => index));
    expect(data[500 + 3]?.embedding).toEqual(data[3]?.embedding);
    expect(usage.prompt_tokens).toBe(3 * 2048);
    const line = server.lines.findLast(({ route }) => route === "/v1/embeddings");
    expect(line).toMatchObject({ promptTokens: 3 * 2048, completionTokens: 0, finished: [] });
  });

  it("refuses by name what it cannot do", async () => {
    expect(await refusal({ input: undefined })).toMatchObject({ status: 400, code: "invalid_request", param: "input" });
    expect(await refusal({ input: [] })).toMatchObject({ status: 400, param: "input" });
    expect(await refusal({ input: "" })).toMatchObject({ status: 400, param: "input" });
    expect(await refusal({ input: ["a", ""] })).toMatchObject({ status: 400, param: "input[1]" });
    expect(await refusal({ input: ["a", 3] })).toMatchObject({ status: 400, param: "input[1]" });
    expect(await refusal({ input: [512] })).toMatchObject({ status: 400, param: "input" });
    expect(await refusal({ input: Array(2049).fill("a") })).toMatchObject({
      status: 400,
      param: "input",
      message: expect.stringContaining("2048"),
    });
    expect(await refusal({ input: "word ".repeat(2000) })).toMatchObject({
      status: 400,
      code: "context_length_exceeded",
      param: "input",
    });
    const unsupported = { status: 400, code: "unsupported_parameter" };
    expect(await refusal({ dimensions: 32 })).toMatchObject({ ...unsupported, param: "dimensions" });
    expect(await refusal({ steering: { explain: true } })).toMatchObject({ ...unsupported, param: "steering.explain" });
    expect(await refusal({ truncate_prompt_tokens: 4 })).toMatchObject(unsupported);
    expect(await refusal({ encoding_format: "int8" })).toMatchObject({ status: 400, param: "encoding_format" });
    expect(await refusal({ pooling: "max" })).toMatchObject({ status: 400, param: "pooling" });
    expect(await refusal({ model: "ada" })).toMatchObject({ status: 404, code: "model_not_found", param: "model" });
    expect(await refusal({ steering: { adapter: "none" } })).toMatchObject({ status: 400, param: "steering.adapter" });
    expect(await vectorOf({ input: "Hello", dimensions: hiddenSize })).toHaveLength(hiddenSize);
  });

  it("stops when its client leaves", async () => {
    const leaving = new AbortController();
    const input = Array.from({ length: 500 }, () => prompt);
    const gone = server.post("/v1/embeddings", { model: "tiny", input }, { signal: leaving.signal });
    await expect.poll(async () => (await engines[0]?.inspect())?.running).toBeGreaterThan(0);
    leaving.abort();
    await expect(gone).rejects.toThrow();
    await expect.poll(() => server.running.count).toBe(0);
  });
});

describe("what the server tells of embeddings", () => {
  it("counts their tokens, and no input as an answer that took its time", async () => {
    const { app, engine, lines } = buildApp();
    engine.script = { texts: ["never said"] };
    const post = (path: string, body: object) => app.request(path, { method: "POST", body: JSON.stringify(body) });
    const answer = await post("/v1/embeddings", { model: "tiny:alpaca", input: ["one", "two", "three"] });
    expect(answer.status).toBe(200);
    await expect.poll(() => lines).toContainEqual(expect.objectContaining({ model: "tiny:alpaca", finished: [] }));
    const metrics = await (await app.request("/metrics")).text();
    expect(metrics).toContain('request_success_total{model_name="tiny:alpaca",finished_reason="length"} 3');
    expect(metrics).not.toContain("e2e_request_latency_seconds_count{");
    await (await post("/v1/completions", { model: "tiny", prompt: "Hi" })).text();
    await expect
      .poll(async () => (await app.request("/metrics")).text())
      .toContain('e2e_request_latency_seconds_count{model_name="tiny"} 1');
  });

  it("refuses them while it shuts down, and fails as the engine fails", async () => {
    const { app, engine, running, logged } = buildApp();
    const post = () =>
      app.request("/v1/embeddings", { method: "POST", body: JSON.stringify({ model: "tiny", input: ["a", "b"] }) });
    engine.script = { texts: ["x"], failure: { at: 0, error: new ToastError("engine_stopped", "It stopped.") } };
    const failed = await post();
    expect([failed.status, failed.headers.has("retry-after")]).toEqual([503, true]);
    expect(running.count).toBe(0);
    engine.script = { texts: [], reason: "stop" };
    expect((await post()).status).toBe(500);
    // An engine that stopped is logged where it stopped.
    expect(logged).toHaveLength(1);
    running.stopAccepting();
    const draining = await post();
    expect(draining.status).toBe(503);
    expect(await draining.text()).toContain("server_draining");
  });
});

describe("clients of embeddings", () => {
  const texts = ["A first text.", "A second, longer text."];
  const expected = async () => (await embeddings({ input: texts })).data.map(({ embedding }) => embedding as number[]);
  const close = (found: readonly (readonly number[])[], wanted: readonly (readonly number[])[]) =>
    found.forEach((vector, index) => {
      expect(vector).toHaveLength(hiddenSize);
      expect(cosine(vector, wanted[index] ?? [])).toBeGreaterThan(0.999999);
    });

  it("OpenAI's asks for base64 unless it is told otherwise, and reads both", async () => {
    const { embeddings: client } = new OpenAI({
      baseURL: `${server.url}/v1`,
      apiKey: "none",
      maxRetries: 0,
      fetch: server.fetch,
    });
    const wanted = await expected();
    const byDefault = await client.create({ model: "tiny", input: texts });
    close(
      byDefault.data.map(({ embedding }) => embedding),
      wanted,
    );
    expect(byDefault.usage.prompt_tokens).toBeGreaterThan(8);
    const floats = await client.create({ model: "tiny", input: texts, encoding_format: "float" });
    expect(floats.data.map(({ embedding }) => embedding)).toEqual(wanted);
    await expect(client.create({ model: "tiny", input: "Hello", dimensions: 8 })).rejects.toMatchObject({
      status: 400,
      param: "dimensions",
    });
    await expect(client.create({ model: "ada", input: "Hello" })).rejects.toBeInstanceOf(OpenAI.NotFoundError);
  });

  it("LangChain's embeds documents and queries", async () => {
    const client = new OpenAIEmbeddings({
      model: "tiny",
      apiKey: "none",
      maxRetries: 0,
      configuration: { baseURL: `${server.url}/v1`, fetch: server.fetch },
    });
    const wanted = await expected();
    close(await client.embedDocuments(texts), wanted);
    close([await client.embedQuery(texts[0] ?? "")], wanted);
  });

  it("the Vercel AI SDK's embeds one and many", async () => {
    const provider = createOpenAICompatible({
      name: "toast",
      baseURL: `${server.url}/v1`,
      apiKey: "none",
      fetch: server.fetch,
    });
    const model = provider.textEmbeddingModel("tiny");
    const wanted = await expected();
    const { embeddings: many, usage } = await embedMany({ model, values: texts, maxRetries: 0 });
    close(many, wanted);
    expect(usage.tokens).toBeGreaterThan(8);
    close([(await embed({ model, value: texts[0] ?? "", maxRetries: 0 })).embedding], wanted);
  });
});
