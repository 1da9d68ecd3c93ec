import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, it } from "vitest";
import { seededRandom } from "../../src/arena/ratings/random.js";
import { convert } from "../../src/convert/convert.js";
import { EngineClient } from "../../src/engine/thread/engine-client.js";
import { builtinTemplates } from "../../src/text/builtin-templates.js";
import { workerUrl } from "./open-test-model.js";
import { startTestServer, type TestServer } from "./start-test-server.js";

/**
 * Requests that are computed together must not hear of each other: whatever steers the others, each response is what
 * its request gets alone, to the last bit of its log probabilities. `CROSS_TALK_REQUESTS=10000` is the long form.
 */
const { CROSS_TALK_REQUESTS: wanted = "400" } = process.env;
const total = Number(wanted);
/** Each request comes this often, in other company: the first time, and with parts of its prompt in the cache. */
const times = 4;
const atOnce = 32;

const adapterNames = ["alpaca", "stories"];
const vectorNames = ["happy", "formal", "pirate"];

/** int8, which promises the same bits alone and in a batch. */
let scratch: string;
let folder: string;
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), "toast-cross-talk-"));
  folder = join(scratch, "tiny");
  const source = fileURLToPath(new URL("../tiny/gqa", import.meta.url));
  const adapters = adapterNames.map((name) => ({ file: join(source, "adapter.safetensors"), name }));
  const chatTemplate = builtinTemplates.alpaca;
  await convert({ source, out: folder, quantize: "int8", modelId: "tiny", adapters, chatTemplate });
});
afterAll(() => rm(scratch, { recursive: true, force: true }));

interface Served {
  readonly engine: EngineClient;
  readonly server: TestServer;
  close(): Promise<void>;
}

async function serve(limits: { readonly cacheBytes: number; readonly prefixBytes: number }): Promise<Served> {
  const engine = new EngineClient({ folder, threads: 1, workerUrl, limits });
  const { hiddenSize, layers } = await engine.ready();
  for (const [index, name] of vectorNames.entries()) {
    const direction = (layer: number) =>
      Float32Array.from({ length: hiddenSize }, (_, i) => Math.sin((index + 2) * (layer + 1) * (i + 1)));
    const directions = new Map(Array.from({ length: layers }, (_, layer) => [layer, direction(layer)]));
    await engine.addVector({ name, directions }, "add");
  }
  const server = await startTestServer([engine]);
  const close = async () => {
    await server.shutdown(0);
    await engine.close();
  };
  return { engine, server, close };
}

interface Asked {
  readonly path: string;
  readonly body: object;
}

const subjects = ["a dog", "the sea", "old letters", "rain in April", "a train", "bread and butter", "the moon"];
const shared = "The town has a river, a bridge, two schools and a market where people meet every morning. ";

/** The `number`th request: base, vectors, adapter or both, any endpoint with log probabilities, any length. */
function requestOf(number: number): Asked {
  const random = seededRandom(number + 1);
  const below = (limit: number) => Math.floor(random() * limit);
  const one = <Item>(items: readonly Item[]) => items[below(items.length)] as Item;
  const vector = () => ({
    name: one(vectorNames),
    strength: one([-2, -1, -0.5, 0, 0.25, 0.8, 1, 2]),
    ...(random() < 0.3
      ? {
          layers: one([
            [0, 0],
            [0, 1],
            [1, 1],
          ]),
        }
      : {}),
  });
  const vectors = Array.from({ length: below(4) }, vector);
  const steering = {
    ...(vectors.length === 0 ? {} : { vectors }),
    ...(random() < 0.5 ? { adapter: one(adapterNames), strength: one([0, 0.5, 1, 1.5]) } : {}),
  };
  const sampling = {
    model: "tiny",
    seed: below(1000),
    temperature: one([0, 0.7, 1]),
    max_tokens: 1 + below(12),
    n: one([1, 1, 1, 2]),
    ...(Object.keys(steering).length === 0 ? {} : { steering }),
  };
  // Longer than a chunk now and then, so that prompts begin alike and are found in the cache.
  const opening = one(["", "", shared, shared.repeat(4)]);
  const words = `${opening}Tell me about ${one(subjects)} (${number}).`;
  if (random() < 0.3) {
    return { path: "/v1/completions", body: { ...sampling, prompt: `${number}. ${words}`, logprobs: 2 } };
  }
  const messages = [{ role: "user", content: words }];
  return { path: "/v1/chat/completions", body: { ...sampling, messages, logprobs: true, top_logprobs: 2 } };
}

/** What the client gets, but for ids, times and how much of the prompt was in the cache. */
async function ask({ url }: TestServer, { path, body }: Asked): Promise<string> {
  const response = await fetch(url + path, { method: "POST", body: JSON.stringify(body) });
  const { choices, steering, system_fingerprint: fingerprint, usage, error } = JSON.parse(await response.text());
  const tokens = [usage?.prompt_tokens, usage?.completion_tokens];
  return JSON.stringify({ status: response.status, error, choices, steering, fingerprint, tokens });
}

/** Works off the numbers, so many at once. */
async function each(numbers: readonly number[], together: number, work: (number: number) => Promise<void>) {
  const rest = [...numbers];
  const worker = async () => {
    for (let next = rest.shift(); next !== undefined; next = rest.shift()) await work(next);
  };
  await Promise.all(Array.from({ length: together }, worker));
}

it(`${total} requests in company get what each gets alone, bit for bit`, { timeout: 3 * 3_600_000 }, async () => {
  const distinct = Array.from({ length: Math.ceil(total / times) }, (_, number) => number);
  const alone = new Map<number, string>();
  // Nothing is kept of a request for the next.
  const single = await serve({ cacheBytes: 2 ** 30, prefixBytes: 0 });
  await each(distinct, 1, async (number) => {
    alone.set(number, await ask(single.server, requestOf(number)));
  });
  await single.close();
  expect([...alone.values()].filter((response) => !response.startsWith('{"status":200'))).toEqual([]);
  // Steering does something, or responses would be equal whatever the company did.
  expect(new Set(alone.values()).size).toBe(distinct.length);

  // Less memory than the company wants: requests wait for room, and what is kept of prompts comes and goes.
  const crowded = await serve({ cacheBytes: 2 ** 20, prefixBytes: 2 ** 19 });
  const random = seededRandom(7);
  const order = Array.from({ length: total }, (_, index) => ({ number: index % distinct.length, at: random() }))
    .toSorted((a, b) => a.at - b.at)
    .map(({ number }) => number);
  const different: object[] = [];
  await each(order, atOnce, async (number) => {
    const response = await ask(crowded.server, requestOf(number));
    if (response === alone.get(number)) return;
    different.push({ request: requestOf(number), response, alone: alone.get(number) });
  });
  const { rows, preemptions, prefixTokens, violations } = await crowded.engine.inspect();
  await crowded.close();
  const company = { total, distinct: distinct.length, different: different.length, rows, preemptions, prefixTokens };
  process.stdout.write(`${JSON.stringify(company)}\n`);
  expect(different.slice(0, 3)).toEqual([]);
  expect(violations).toEqual([]);
  expect(prefixTokens.hit).toBeGreaterThan(0);
});
