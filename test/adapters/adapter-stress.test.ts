import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type RunningApp, startApp } from "../../src/app.js";
import { readBackboneManifest } from "../../src/model/model-folder.js";
import { createLog } from "../../src/server/edge/request-log.js";
import { parseServeConfig } from "../../src/settings/serve-config.js";
import { workerUrl } from "../contract/open-test-model.js";
import { makeTinyAdapter } from "../convert/tiny-folder.js";
import { toastTiny } from "../support/toast-tiny.js";

// A real model with its own adapter and others beside it, over real sockets.

const converterUrl = new URL("../../dist/convert/convert-worker.js", import.meta.url);
const backbone = await readBackboneManifest(toastTiny);

const lastLayer = 5;
const clients = 18;
const rounds = 2;

/** Adapters that come and go, and the files they are made of. */
let scratch: string;
let sources: string;
let app: RunningApp;
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), "toast-stress-"));
  sources = await mkdtemp(join(tmpdir(), "toast-stress-sources-"));
  const config = parseServeConfig({ model: toastTiny, port: "0", "adapters-dir": scratch }, { DRAIN_SECONDS: "0" });
  app = await startApp(config, { workerUrl, converterUrl, log: createLog("error", "json", () => {}) });
  await app.ready();
});
afterAll(async () => {
  await app.stop();
  await rm(scratch, { recursive: true, force: true });
  await rm(sources, { recursive: true, force: true });
});

/** A trained adapter's two files with random weights, for toast-tiny: each seed steers elsewhere. */
async function makeVariant(seed: number): Promise<readonly [weights: Blob, description: Blob]> {
  const { architecture, backboneSha256 } = backbone;
  const place = { path: sources, tensors: {}, config: architecture };
  const { file } = makeTinyAdapter(place, { seed, describe: { backbone_sha256: backboneSha256 } });
  const [weights, description] = await Promise.all(
    [file, file.replace(".safetensors", ".json")].map(async (path) => new Blob([await readFile(path)])),
  );
  if (weights === undefined || description === undefined) throw new Error("an adapter is two files");
  return [weights, description];
}

/** By seed: making one takes longer than serving it. */
const variants = new Map<number, Promise<readonly [weights: Blob, description: Blob]>>();

function variant(seed: number): Promise<readonly [weights: Blob, description: Blob]> {
  const made = variants.get(seed) ?? makeVariant(seed);
  variants.set(seed, made);
  return made;
}

async function send(name: string, seed: number): Promise<string> {
  const form = new FormData();
  form.set("model", "toast-tiny");
  form.set("name", name);
  const [weights, description] = await variant(seed);
  form.append("file", weights, "a.safetensors");
  form.append("file", description, "a.json");
  const response = await fetch(`${app.url}/v1/adapters`, { method: "POST", body: form });
  const body = (await response.json()) as { id: string };
  expect([response.status, body]).toMatchObject([201, { id: `toast-tiny:${name}` }]);
  return body.id;
}

async function take(name: string): Promise<void> {
  const response = await fetch(`${app.url}/v1/adapters/toast-tiny/${name}`, { method: "DELETE" });
  expect([response.status, await response.json()]).toMatchObject([200, { memory: "freed" }]);
}

interface Question {
  readonly model: string;
  readonly messages: readonly { role: string; content: string }[];
  readonly temperature: number;
  readonly seed: number;
  readonly steering: { readonly strength?: number; readonly layers?: readonly [number, number] };
}

interface Said {
  readonly status: number;
  readonly text: string;
  readonly fingerprint: string;
}

async function ask(question: Question, stream: boolean): Promise<Said> {
  const response = await fetch(`${app.url}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ ...question, stream, max_tokens: 10, ignore_eos: true }),
  });
  const body = await response.text();
  if (response.status !== 200) return { status: response.status, text: body, fingerprint: "" };
  interface Part {
    readonly system_fingerprint: string;
    readonly choices: { readonly message?: { content: string }; readonly delta?: { content?: string } }[];
  }
  const parts = stream
    ? body
        .split("\n\n")
        .filter((frame) => frame.startsWith("data: {"))
        .map((frame) => JSON.parse(frame.slice(6)) as Part)
    : [JSON.parse(body) as Part];
  const texts = parts.map(({ choices }) => choices[0]?.message?.content ?? choices[0]?.delta?.content ?? "");
  return { status: 200, text: texts.join(""), fingerprint: parts[0]?.system_fingerprint ?? "" };
}

const things = ["the sea", "a clock", "bread", "rain", "a letter", "the moon"];

/** Question `index` of a fixed list: adapters, strengths, layers, temperatures and prompts in every mixture. */
function question(index: number, models: readonly string[]): Question {
  const strengths = [1, 0.5, 0, 1.5, undefined];
  const ranges = [undefined, [0, 2], [3, lastLayer], [2, 2]] as const;
  const strength = strengths[index % strengths.length];
  const layers = ranges[index % ranges.length];
  return {
    model: models[index % models.length] ?? "",
    messages: [{ role: "user", content: `Tell me about ${things[index % things.length]}.` }],
    temperature: index % 3 === 0 ? 0 : 0.9,
    seed: index,
    steering: { ...(strength === undefined ? {} : { strength }), ...(layers === undefined ? {} : { layers }) },
  };
}

describe("many adapters of one backbone in one batch", () => {
  it("never touch each other, while adapters come and go: every answer is the one that is given alone", async () => {
    const models = ["toast-tiny:alpaca"];
    for (const seed of [1, 2, 3, 4]) models.push(await send(`v${seed}`, seed));
    const list = Array.from({ length: clients * rounds }, (_, index) => question(index, models));
    const alone: Said[] = [];
    for (const one of list) alone.push(await ask(one, false));
    expect(alone.every(({ status }) => status === 200)).toBe(true);

    // Under one name, now this and now that adapter.
    const guest = { ...question(1, ["toast-tiny:guest"]), steering: {} };
    const guestAlone = new Map<string, string>();
    for (const seed of [5, 6]) {
      await send("guest", seed);
      const said = await ask(guest, false);
      guestAlone.set(said.fingerprint, said.text);
      await take("guest");
    }
    expect(new Set(guestAlone.values()).size).toBe(2);

    let isOver = false;
    const comeAndGo = async () => {
      let changes = 0;
      for (let seed = 5; !isOver || changes < 2; seed = seed === 5 ? 6 : 5) {
        await send("guest", seed);
        await take("guest");
        changes++;
      }
      return changes;
    };
    let refused = 0;
    const guests = async (stream: boolean) => {
      while (!isOver) {
        const said = await ask(guest, stream);
        if (said.status === 200) {
          expect(said.text).toBe(guestAlone.get(said.fingerprint));
        } else {
          refused++;
          expect([404, 503]).toContain(said.status);
        }
      }
    };
    const churn = [comeAndGo(), guests(true), guests(false)];
    const together = await Promise.all(
      Array.from({ length: clients }, async (_, client) => {
        const answers: Said[] = [];
        for (let round = 0; round < rounds; round++) {
          const index = client + round * clients;
          const one = list[index];
          if (one !== undefined) answers.push(await ask(one, (client + round) % 2 === 0));
        }
        return answers;
      }),
    );
    isOver = true;
    await Promise.all(churn);
    for (const [client, answers] of together.entries()) {
      for (const [round, said] of answers.entries()) {
        const index = client + round * clients;
        expect([index, said]).toEqual([index, alone[index]]);
      }
    }
    expect(refused).toBeGreaterThan(0);

    // What was asked for makes a difference, or the test could not fail.
    expect(new Set(alone.map(({ fingerprint }) => fingerprint)).size).toBeGreaterThan(12);
    expect(new Set(alone.map(({ text }) => text)).size).toBeGreaterThan(clients);
    const status = await app.engines[0]?.inspect();
    expect(status).toMatchObject({ waiting: 0, running: 0, lanesInUse: 0, violations: [] });
  }, 180_000);

  it("with strength 0 answer as the base does, bit for bit, fingerprint included", async () => {
    for (const index of [0, 1, 2, 3]) {
      const base = { ...question(index, ["toast-tiny"]), steering: {} };
      const none = { ...base, model: `toast-tiny:v${index + 1}`, steering: { strength: 0 } };
      expect(await ask(none, index % 2 === 0)).toEqual(await ask(base, false));
    }
  });
});
