import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Engine } from "../../src/engine/engine.js";
import type { EngineClient } from "../../src/engine/thread/engine-client.js";
import { buildApp } from "../server/build-app.js";
import { ScriptedEngine, scriptedModel } from "../server/scripted-engine.js";
import { openTestModel } from "./open-test-model.js";
import { checkTraffic } from "./own-document.js";
import { type MutatedRequest, mutatedRequest } from "./request-mutations.js";

/**
 * 10,000 mutated requests against the routes, in process: the parser is what they are for. Most meet a scripted engine,
 * which costs nothing; a fifth meets a real one with real memory to leak. Seeded, so that a failure can be had again;
 * FUZZ_SEED looks elsewhere, FUZZ_REQUESTS sends more or fewer.
 */
const { FUZZ_SEED = "20", FUZZ_REQUESTS = "10000" } = process.env;
const seed = Number(FUZZ_SEED);
const realRuns = Math.ceil(Number(FUZZ_REQUESTS) / 5);
const scriptedRuns = Number(FUZZ_REQUESTS) - realRuns;
/** For 10,000 nine seconds on a quiet machine with two cores; a busy one may take its time. */
const patienceMs = Math.max(600_000, Number(FUZZ_REQUESTS) * 60);
/** Sent at the same time. */
const abreast = 16;

let engine: EngineClient;
let closeModel: () => Promise<void>;

beforeAll(async () => {
  ({ engine, close: closeModel } = await openTestModel());
});
afterAll(() => closeModel());

/** Sends all, reads every answer to its end, holds each against the description. @returns how many had each status. */
async function sendAll(requests: readonly MutatedRequest[], target: Engine): Promise<Record<number, number>> {
  const { app, running, logged } = buildApp({ engines: [target], maxBodyBytes: 1_000_000 });
  const statuses: Record<number, number> = {};
  const queue = requests.values();
  await Promise.all(
    Array.from({ length: abreast }, async () => {
      for (const { path, body } of queue) {
        const headers = { "content-type": "application/json" };
        const answer = await app.request(path, { method: "POST", body, headers });
        const text = await answer.text();
        statuses[answer.status] = (statuses[answer.status] ?? 0) + 1;
        const what = `${answer.status} for ${path} ${body.slice(0, 2000)}`;
        if (answer.status >= 500) throw new Error(`${what}: ${text}`);
        const contentType = answer.headers.get("content-type") ?? "";
        try {
          checkTraffic({ method: "POST", path, requestBody: body, status: answer.status, contentType, text });
        } catch (cause) {
          throw new Error(`${what}: ${(cause as Error).message.slice(0, 2000)}`, { cause });
        }
        expect([what, text.includes('"code":"internal_error"')]).toEqual([what, false]);
        // What a server tells of its machine.
        if (/(?:^|[\s"'(])\/(?:home|root|tmp|usr|var|work)\//.test(text)) throw new Error(`${what}: ${text}`);
      }
    }),
  );
  expect(logged).toEqual([]);
  await expect.poll(() => running.count).toBe(0);
  return statuses;
}

describe("mutated requests", () => {
  const requests = fc.sample(mutatedRequest, { numRuns: scriptedRuns + realRuns, seed });

  it(
    "are answered or refused, never with a failure of the server's own, and as the description says",
    async () => {
      const scripted = new ScriptedEngine({ ...scriptedModel, layers: 2, vocabSize: 300 });
      const statuses = await sendAll(requests.slice(0, scriptedRuns), scripted);
      expect(scripted.running).toBe(0);
      // Neither all accepted nor all refused, or nothing would have been tried.
      expect(statuses[200]).toBeGreaterThan(scriptedRuns / 20);
      expect(statuses[400]).toBeGreaterThan(scriptedRuns / 20);
    },
    patienceMs,
  );

  it(
    "leave a real engine with nothing running, waiting or held",
    async () => {
      const statuses = await sendAll(requests.slice(scriptedRuns), engine);
      expect(statuses[200]).toBeGreaterThan(realRuns / 20);
      await expect
        .poll(() => engine.inspect())
        .toMatchObject({ waiting: 0, running: 0, lanesInUse: 0, cacheBytes: 0, violations: [] });
    },
    patienceMs,
  );
});
