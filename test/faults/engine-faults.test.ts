import { mkdir, mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { convertTestModel } from "../contract/open-test-model.js";
import { toastTiny } from "../support/toast-tiny.js";
import { type ServerProcess, startServer } from "./server-process.js";

/** Of nothing else that is said here; no line of a log may hold it. */
const secret = "PROMPT-THAT-IS-NOBODYS-BUSINESS";
const { TOAST_FAULT_ROUNDS } = process.env;
const preload = fileURLToPath(new URL("./ending-engine.mjs", import.meta.url));

let scratch: string;
let server: ServerProcess;
/** What the server calls its model. */
let id: string;

beforeEach(async () => {
  scratch = await mkdtemp(join(tmpdir(), "toast-engine-faults-"));
  await mkdir(join(scratch, "data"));
});
afterEach(async () => {
  await server.end();
  await rm(scratch, { recursive: true, force: true });
  expect(server.log()).not.toContain(secret);
});

const start = async (model: string, modelId: string, flags: readonly string[] = []) => {
  id = modelId;
  const environment = { NODE_OPTIONS: `--import ${preload}`, END_ENGINE: join(scratch, "end") };
  server = await startServer({ model, dataDir: join(scratch, "data"), environment, flags });
};
const endEngine = () => writeFile(join(scratch, "end"), "");
const probe = async (path: string) => (await fetch(server.url + path)).status;
const complete = (fields: object = {}, key = "none", signal?: AbortSignal) =>
  fetch(`${server.url}/v1/completions`, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: `Bearer ${key}` },
    ...(signal === undefined ? {} : { signal }),
    body: JSON.stringify({ model: id, prompt: secret, max_tokens: 8, temperature: 0, ignore_eos: true, ...fields }),
  });
const textOf = async () => ((await (await complete()).json()) as { choices: { text: string }[] }).choices[0]?.text;
const stops = async () =>
  /^toast_serve_engine_stops_total\{model_name="[^"]+"\} (\d+)$/m.exec(
    await (await fetch(`${server.url}/metrics`)).text(),
  )?.[1];
const residentMb = async () => {
  const status = await readFile(`/proc/${server.pid}/status`, "utf8");
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) / 1024;
};

it("an engine that ends is started again: its streams end with an error that says so, the next ones are as before", async () => {
  const rounds = Number(TOAST_FAULT_ROUNDS ?? 3);
  await start(toastTiny, "toast-tiny");
  const before = await textOf();
  const memory: number[] = [];
  expect(await stops()).toBe("0");
  for (let round = 1; round <= rounds; round++) {
    const stream = await complete({ stream: true, max_tokens: 500 });
    expect(stream.status).toBe(200);
    await endEngine();
    const frames = (await stream.text()).split("\n\n").filter((frame) => frame !== "");
    expect(JSON.parse(frames.at(-2)?.slice("data: ".length) ?? "")).toMatchObject({
      error: {
        code: "engine_stopped",
        type: "server_error",
        message: expect.stringContaining("Send the request again"),
      },
    });
    expect(frames.at(-1)).toBe("data: [DONE]");
    // Either it waits, and says so with the time to come back, or the new one is there.
    const refused = await complete();
    if (refused.status !== 200) {
      expect([refused.status, refused.headers.get("retry-after")]).toEqual([503, "2"]);
      expect(await refused.text()).toContain("engine_stopped");
    }
    expect(await probe("/livez")).toBe(200);
    await expect.poll(() => probe("/readyz"), { timeout: 120_000 }).toBe(200);
    expect(await textOf()).toBe(before);
    expect(await stops()).toBe(String(round));
    memory.push(await residentMb());
  }
  // What an ended thread had is given back; the allocator's leavings are not 100 MB.
  expect((memory.at(-1) ?? 0) - (memory[0] ?? 0)).toBeLessThan(100);
  expect(server.log()).toContain("This engine ends here.");
});

describe("while one caller asks for all there is", () => {
  const [greedy, modest] = ["key-of-the-greedy-one", "key-of-the-modest-one"];
  const all = { prompt: "Once upon a time", max_tokens: 900, stream: true, temperature: 1 };

  /** @returns milliseconds of the slowest of ten small requests of somebody else. */
  async function slowestSmall(): Promise<number> {
    const took: number[] = [];
    for (let time = 0; time < 10; time++) {
      const begun = performance.now();
      const answer = await complete({}, modest);
      expect(answer.status).toBe(200);
      await answer.text();
      took.push(performance.now() - begun);
      const ready = performance.now();
      expect(await probe("/readyz")).toBe(200);
      expect(performance.now() - ready).toBeLessThan(2_000);
    }
    console.info(`small requests took ${took.map((ms) => Math.round(ms)).join(", ")} ms`);
    return Math.max(...took);
  }

  it.each([
    ["128 answers in one request", 1, { n: 128 }],
    ["64 streams", 64, {}],
  ])("%s do not keep another's 8 tokens waiting", async (_, streams, fields) => {
    const keys = ["--api-key", greedy, "--api-key", modest, "--max-request-tokens", "200000"];
    await start(toastTiny, "toast-tiny", keys);
    const controller = new AbortController();
    const asked = Array.from({ length: streams }, () => complete({ ...all, ...fields }, greedy, controller.signal));
    for (const answer of asked) answer.catch(() => {});
    // The first of them has its text, so lanes are taken.
    const first = (await asked[0])?.body?.getReader();
    await first?.read();
    expect(await slowestSmall()).toBeLessThan(10_000);
    controller.abort();
  });
});

it("an engine that cannot be started again: not live, not ready, and a sentence without a path", async () => {
  const model = await convertTestModel();
  await start(model.folder, "tiny");
  await rename(model.folder, `${model.folder}-away`);
  await endEngine();
  await expect.poll(() => probe("/readyz")).toBe(503);
  // Its starts are half a second to eight apart.
  await expect.poll(() => probe("/livez"), { timeout: 120_000, interval: 500 }).toBe(503);
  const said = await (await fetch(`${server.url}/livez`)).text();
  expect(said).toContain("The engine of tiny stopped and could not be started again.");
  for (const text of [said, await (await complete()).text()]) expect(text).not.toContain(model.folder);
  await rename(`${model.folder}-away`, model.folder);
  await model.remove();
});
