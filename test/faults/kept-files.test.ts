import { execFile } from "node:child_process";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { readKeyFile } from "../../src/server/edge/key-file.js";
import { noDetails, writeVectorFile } from "../../src/vectors/vector-file.js";
import { convertTestModel } from "../contract/open-test-model.js";
import { main, type ServerProcess, startServer } from "./server-process.js";

const { TOAST_FAULT_ROUNDS } = process.env;
const rounds = Number(TOAST_FAULT_ROUNDS ?? 3);
const width = 64;

let model: Awaited<ReturnType<typeof convertTestModel>>;
let scratch: string;
beforeAll(async () => {
  model = await convertTestModel();
  scratch = await mkdtemp(join(tmpdir(), "toast-kept-"));
});
afterAll(async () => {
  await model.remove();
  await rm(scratch, { recursive: true, force: true });
});

/** A key, or null where its maker was killed or failed. */
function createKey(name: string, role: "--admin" | null, kill: AbortSignal | null): Promise<string | null> {
  const words = [main, "keys", "create", name, ...(role === null ? [] : [role]), "--file", join(scratch, "keys.json")];
  const options = kill === null ? {} : { signal: kill, killSignal: "SIGKILL" as const };
  return new Promise((resolve) => {
    execFile(process.execPath, words, options, (error, out) => {
      resolve(error === null ? (/sk-toast-\S+/.exec(out)?.[0] ?? null) : null);
    });
  });
}

interface Listed {
  readonly name: string;
  readonly fingerprint: string;
}

/** Sends vectors, takes some out again, makes keys, and streams; the server and whoever makes keys are killed in the middle. */
async function workUntilKilled(
  server: ServerProcess,
  headers: Record<string, string>,
  round: number,
  kept: { readonly vectors: Map<string, string>; readonly gone: Set<string>; readonly keys: Set<string> },
) {
  const killing = new AbortController();
  let done = 0;
  const kill = async () => {
    if (killing.signal.aborted) return;
    killing.abort();
    await server.end("SIGKILL");
  };
  const sender = async (who: number) => {
    for (let at = 0; !killing.signal.aborted; at++) {
      const name = `v${round}-${who}-${at}`;
      const path = join(scratch, `${name}.gguf`);
      const directions = new Map([[1, Float32Array.from({ length: width }, (_, i) => Math.sin(i + at + who * 50))]]);
      await writeVectorFile(path, { directions, details: noDetails });
      const form = new FormData();
      form.append("file", new Blob([await readFile(path)]), `${name}.gguf`);
      await rm(path);
      try {
        const sent = await fetch(`${server.url}/v1/vectors`, { method: "POST", headers, body: form });
        if (sent.status !== 201) throw new Error(`${name} was refused: ${sent.status} ${await sent.text()}`);
        kept.vectors.set(name, ((await sent.json()) as Listed).fingerprint);
        done++;
        if (at % 3 === 2) {
          // What is asked for and not answered may be done or not.
          kept.vectors.delete(name);
          const taken = await fetch(`${server.url}/v1/vectors/tiny/${name}`, { method: "DELETE", headers });
          if (taken.ok) kept.gone.add(name);
        }
      } catch (error) {
        if (!killing.signal.aborted) throw error;
      }
      if (done >= 5 + round) await kill();
    }
  };
  const keyMaker = async () => {
    for (let at = 0; !killing.signal.aborted; at++) {
      const name = `k${round}-${at}`;
      if ((await createKey(name, null, killing.signal)) !== null) kept.keys.add(name);
    }
  };
  const reader = async () => {
    while (!killing.signal.aborted) {
      const body = JSON.stringify({ model: "tiny", prompt: "Once", max_tokens: 100, ignore_eos: true, stream: true });
      const json = { ...headers, "content-type": "application/json" };
      await fetch(`${server.url}/v1/completions`, { method: "POST", headers: json, body })
        .then((answer) => answer.text())
        .catch(() => {});
    }
  };
  await Promise.all([sender(0), sender(1), keyMaker(), reader()]);
}

it(`vectors and keys are there, whole and once, after ${rounds} kills in the middle of the work`, {
  timeout: 120_000 + rounds * 60_000,
}, async () => {
  const key = await createKey("root", "--admin", null);
  if (key === null) throw new Error("no key was made");
  const headers = { authorization: `Bearer ${key}` };
  const vectorsDir = join(scratch, "vectors");
  const flags = ["--keys-file", join(scratch, "keys.json"), "--vectors-dir", vectorsDir];
  const kept = { vectors: new Map<string, string>(), gone: new Set<string>(), keys: new Set(["root"]) };
  const check = async (server: ServerProcess) => {
    const listing = (await (await fetch(`${server.url}/v1/vectors`, { headers })).json()) as {
      data: Listed[];
      problems: unknown[];
    };
    expect(listing.problems).toEqual([]);
    const found = new Map(listing.data.map(({ name, fingerprint }) => [name, fingerprint]));
    expect(found.size).toBe(listing.data.length);
    for (const [name, fingerprint] of kept.vectors) expect([name, found.get(name)]).toEqual([name, fingerprint]);
    expect([...kept.gone].filter((name) => found.has(name))).toEqual([]);
    expect((await readdir(vectorsDir)).filter((name) => name.startsWith(".incoming"))).toEqual([]);
    const names = (await readKeyFile(join(scratch, "keys.json"))).map(({ name }) => name);
    expect([...kept.keys].filter((name) => !names.includes(name))).toEqual([]);
  };
  const open = () => startServer({ model: model.folder, dataDir: join(scratch, "data"), flags });
  for (let round = 0; round < rounds; round++) {
    const server = await open();
    try {
      if (round > 0) await check(server);
      await workUntilKilled(server, headers, round, kept);
    } finally {
      await server.end();
    }
  }
  const last = await open();
  await check(last);
  await last.end("SIGTERM");
  console.info(`${kept.vectors.size} vectors and ${kept.keys.size} keys are there, ${kept.gone.size} vectors are gone`);
  expect(kept.vectors.size).toBeGreaterThan(3 * rounds);
});

it("an upload that the disk has no room for is 507, leaves nothing behind, and the model goes on", async () => {
  const dataDir = await mkdtemp(join(scratch, "full-"));
  const server = await startServer({ model: model.folder, dataDir, fileBytes: 16 * 1024 });
  try {
    const send = async (bytes: number) => {
      const form = new FormData();
      form.append("file", new Blob([new Uint8Array(bytes)]), "large.gguf");
      return fetch(`${server.url}/v1/vectors`, { method: "POST", body: form });
    };
    const refused = await send(200_000);
    expect([refused.status, await refused.json()]).toMatchObject([507, { error: { code: "disk_full" } }]);
    expect(await readdir(dataDir, { recursive: true })).not.toContainEqual(expect.stringContaining("large"));
    // Small enough for the disk, and no vector.
    expect((await send(1_000)).status).toBe(400);
    const body = JSON.stringify({ model: "tiny", prompt: "Hello", max_tokens: 2 });
    expect((await fetch(`${server.url}/v1/completions`, { method: "POST", body })).status).toBe(200);
    expect(server.log()).toContain("disk_full");
  } finally {
    await server.end();
  }
});
