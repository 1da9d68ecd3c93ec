import { rename } from "node:fs/promises";
import { join } from "node:path";
import { BroadcastChannel } from "node:worker_threads";
import { afterEach, beforeEach, expect, it } from "vitest";
import type { GenerationEvent } from "../../../src/engine/engine.js";
import { type GenerationRequest, ordinaryText } from "../../../src/engine/generation-request.js";
import type { ModelInfo } from "../../../src/engine/model-info.js";
import { type EngineLoss, SupervisedEngine } from "../../../src/engine/thread/supervised-engine.js";
import { convertTestModel } from "../../contract/open-test-model.js";

const workerUrl = new URL("./ending-worker.mjs", import.meta.url);
let folder: string;
let remove: () => Promise<void>;
let engine: SupervisedEngine;
let losses: EngineLoss[];
const channel = new BroadcastChannel("end-engine");

beforeEach(async () => {
  ({ folder, remove } = await convertTestModel());
  losses = [];
  const restarts = { firstDelayMs: 10, longestDelayMs: 40, mostFailures: 2, calmMs: 60_000 };
  const onLoss = (loss: EngineLoss) => losses.push(loss);
  engine = new SupervisedEngine({ folder, threads: 1, workerUrl, restarts, onLoss });
  await engine.ready();
});
afterEach(async () => {
  await engine.close();
  await remove();
});

const request: GenerationRequest = {
  prompt: { kind: "text", text: "The dog finds a friend", addSpecialTokens: true },
  steering: { kind: "plain" },
  sampling: {
    temperature: 0,
    topP: 1,
    topK: null,
    minP: 0,
    presencePenalty: 0,
    frequencyPenalty: 0,
    repetitionPenalty: 1,
    logitBias: [],
    seed: 0,
  },
  choices: 1,
  maxTokens: 6,
  stopStrings: [],
  ignoreEos: true,
  ...ordinaryText,
};
const signal = new AbortController().signal;
const generate = (overrides: Partial<GenerationRequest> = {}) => engine.generate({ ...request, ...overrides }, signal);
async function textOf(overrides: Partial<GenerationRequest> = {}): Promise<string> {
  const events: GenerationEvent[] = [];
  for await (const event of (await generate(overrides)).events) events.push(event);
  return events.map((event) => (event.kind === "delta" ? event.text : "")).join("");
}
const model = (): ModelInfo => {
  if (engine.phase.kind !== "ready" && engine.phase.kind !== "restarting") throw new Error("there is no model");
  return engine.phase.model;
};
const end = async (how: string) => {
  channel.postMessage(how);
  await expect.poll(() => engine.phase.kind, { interval: 1 }).not.toBe("ready");
};
const served = () => expect.poll(() => engine.phase.kind, { timeout: 60_000 }).toBe("ready");
const adapterOf = (name: string) =>
  ({ kind: "steered", adapter: name, strength: 1, layers: [0, 1], vectors: [] }) as const;

it.each(["throw", "exit"])(
  "an engine whose thread ends (%s) fails its requests with a retryable error and serves again",
  async (how) => {
    const before = await textOf();
    const running = await generate({ maxTokens: 400 });
    const reading = (async () => {
      for await (const _ of running.events);
    })();
    // Looked at below: it may fail before.
    reading.catch(() => {});
    await end(how);
    await expect(reading).rejects.toMatchObject({ code: "engine_stopped" });
    expect(engine.phase).toMatchObject({ kind: "restarting", model: { id: "tiny" } });
    await expect(generate()).rejects.toMatchObject({
      code: "engine_stopped",
      message: "The engine of tiny stopped and is being started again. Send the request again in a moment.",
    });
    await expect(engine.inspect()).rejects.toMatchObject({ code: "engine_stopped" });
    await served();
    expect(await textOf()).toBe(before);
    expect(losses.map(({ kind }) => kind)).toEqual(["stopped", "restarted"]);
  },
);

it("brings adapters and vectors back as they were, and not those that were taken away", async () => {
  const directions = new Map([[1, Float32Array.from({ length: model().hiddenSize }, (_, i) => Math.sin(i) * 3)]]);
  const alpaca = join(folder, "adapters", "alpaca");
  for (const name of ["later", "gone"]) await engine.loadAdapter({ name, folder: alpaca, mode: "add" });
  for (const name of ["wave", "still"]) await engine.addVector({ name, directions }, "add");
  const use = { kind: "vectors", vectors: [{ name: "wave", strength: 1, layers: [0, 1] }] } as const;
  const before = [await textOf({ steering: adapterOf("later") }), await textOf({ steering: use })];
  await engine.unloadAdapter("alpaca");
  await engine.removeVector("still");
  await end("throw");
  // What is taken away while there is no engine does not come back either.
  await engine.unloadAdapter("gone");
  await served();
  expect(model().adapters.map(({ name }) => name)).toEqual(["later"]);
  expect(model().vectors.map(({ name }) => name)).toEqual(["wave"]);
  expect([await textOf({ steering: adapterOf("later") }), await textOf({ steering: use })]).toEqual(before);
});

it("what changes adapters or vectors waits for the new thread", async () => {
  await end("throw");
  await engine.loadAdapter({ name: "later", folder: join(folder, "adapters", "alpaca"), mode: "add" });
  expect(engine.phase.kind).toBe("ready");
  expect(model().adapters.map(({ name }) => name)).toContain("later");
});

it("an engine that ends again and again is started later and later", async () => {
  for (let round = 0; round < 4; round++) {
    await end("throw");
    await served();
  }
  const delays = losses.flatMap((loss) => (loss.kind === "stopped" ? [loss.delayMs] : []));
  expect(delays).toEqual([10, 20, 40, 40]);
});

it("an engine that cannot be started again is given up with a sentence; its cause is for the log", async () => {
  await rename(folder, `${folder}-away`);
  await end("throw");
  await expect.poll(() => engine.phase.kind, { timeout: 60_000 }).toBe("failed");
  await rename(`${folder}-away`, folder);
  const message = "The engine of tiny stopped and could not be started again. The server's log says why.";
  expect(engine.phase).toMatchObject({ kind: "failed", message, model: { id: "tiny" } });
  await expect(generate()).rejects.toMatchObject({ code: "engine_failed", message });
  expect(losses.map(({ kind }) => kind)).toEqual(["stopped", "stopped", "givenUp"]);
  expect(losses[0]).toMatchObject({ error: { message: "ended by throw" } });
});

it("closes while it waits to start again", async () => {
  await end("throw");
  await engine.close();
  await expect(generate()).rejects.toMatchObject({ code: "server_draining" });
});
