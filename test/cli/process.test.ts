import { spawn } from "node:child_process";
import { cp, mkdir, mkdtemp, readdir, readFile, rm, truncate } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const main = fileURLToPath(new URL("../../dist/main.js", import.meta.url));
const tiny = fileURLToPath(new URL("../tiny/gqa", import.meta.url));

let scratch: string;
let folder: string;
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), "toast-process-"));
  folder = join(scratch, "models", "tiny");
});
afterAll(() => rm(scratch, { recursive: true, force: true }));

/** Starts the built program; `line` waits for the first line of its output that matches. */
function start(...words: string[]) {
  const child = spawn(process.execPath, [main, ...words], { env: {} });
  let out = "";
  let err = "";
  child.stdout.on("data", (chunk: Buffer) => {
    out += chunk.toString();
  });
  child.stderr.on("data", (chunk: Buffer) => {
    err += chunk.toString();
  });
  const exit = new Promise<number | string | null>((resolve) =>
    child.once("exit", (code, signal) => resolve(code ?? signal)),
  );
  return {
    child,
    exit,
    text: () => ({ out, err }),
    async line(pattern: RegExp): Promise<string> {
      await expect.poll(() => out, { timeout: 30_000 }).toMatch(pattern);
      return pattern.exec(out)?.[1] ?? "";
    },
  };
}

/** @throws where a line is no record */
function logOf(text: string): readonly object[] {
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as object);
}

// One after the other: the first makes the folder that the others use.
describe("the built program", () => {
  it("ends quietly when its reader has seen enough", async () => {
    const { child, exit, text } = start("bench", "--help");
    child.stdout.destroy();
    expect(await exit).toBe(0);
    expect(text().err).toBe("");
  });

  it("converts a Hugging Face folder and an adapter", async () => {
    const words = ["--adapter", join(tiny, "adapter.safetensors"), "--name", "alpaca", "--chat-template", "alpaca"];
    const run = start("convert", tiny, "--out", folder, "--model-id", "tiny", ...words);
    expect(await run.exit).toBe(0);
    expect(run.text().out).toContain("tiny:alpaca");
    expect(await readdir(join(scratch, "models"))).toEqual(["tiny"]);
  });

  it("serves: says what and where, its curl line works, SIGTERM ends it", async () => {
    const run = start("serve", "--models-dir", join(scratch, "models"), "--port", "0");
    const url = await run.line(/Serving on (\S+)/);
    const line = await run.line(/\n( {2}curl -N .*)\n/);
    const body = /-d '(.*)'$/.exec(line)?.[1] ?? "";
    const headers = { "content-type": "application/json" };
    const answer = await fetch(`${url}/v1/chat/completions`, { method: "POST", headers, body });
    expect((await answer.text()).trimEnd().endsWith("data: [DONE]")).toBe(true);
    expect(await (await fetch(`${url}/health`)).json()).toMatchObject({ status: "ready" });
    // The loading was told line by line, since nobody watches.
    expect(run.text().err).toMatch(/Loading: \d+ %, tiny: /);
    run.child.kill("SIGTERM");
    expect(await run.exit).toBe(0);
  });

  it("serves a model beside damaged adapters, and says in its log which are left out", async () => {
    const damaged = join(scratch, "damaged", "tiny");
    await cp(folder, damaged, { recursive: true });
    const adapters = join(damaged, "adapters");
    await cp(join(adapters, "alpaca"), join(adapters, "other"), { recursive: true });
    await mkdir(join(adapters, "empty"));
    const { files } = JSON.parse(await readFile(join(adapters, "alpaca", "manifest.json"), "utf8")) as {
      files: { weights: { name: string } };
    };
    await truncate(join(adapters, "alpaca", files.weights.name), 100);
    const run = start("serve", "--model", damaged, "--port", "0", "--data-dir", join(scratch, "data"));
    await run.line(/Serving on (\S+)/);
    expect(run.text().out).not.toContain("tiny:");
    const said = logOf(run.text().err);
    for (const name of ["alpaca", "empty", "other"]) {
      const sentence = expect.stringContaining(`The adapter ${name} of tiny is not served: `) as string;
      expect(said).toContainEqual(expect.objectContaining({ level: "error", msg: sentence }));
    }
    run.child.kill("SIGTERM");
    expect(await run.exit).toBe(0);
  });

  it.each([
    ["a model that is not there", ["--model", "nothing"], 1, "no converted model"],
    ["a setting that is none", ["--threads", "many"], 2, "got 'many'"],
    ["a config file that is not there", ["--config", "no.yaml"], 2, "no.yaml"],
    ["an address that is not this machine's", ["--models-dir", "models", "--host", "192.0.2.1"], 2, "Cannot listen"],
  ])("says in its log that it cannot start, for %s", async (_, words, code, sentence) => {
    const run = start(
      "serve",
      "--port",
      "0",
      ...words.map((word) => (/^(nothing|models)$/.test(word) ? join(scratch, word) : word)),
    );
    expect(await run.exit).toBe(code);
    expect(logOf(run.text().err).at(-1)).toMatchObject({
      level: "fatal",
      msg: expect.stringContaining(sentence) as string,
    });
  });

  it("talks to a model folder: a question comes through a pipe, the answer alone is printed", async () => {
    const words = ["chat", folder, "--adapter", "alpaca", "--temperature", "0", "--max-tokens", "5"];
    const piped = start(...words);
    piped.child.stdin.end("Tell me a story.\n");
    expect(await piped.exit).toBe(0);
    const { out, err } = piped.text();
    expect(out.trim()).not.toBe("");
    expect(err).toBe("");
    const asked = start(...words, "--prompt", "Tell me a story.");
    expect(await asked.exit).toBe(0);
    expect(asked.text().out).toBe(out);
  });

  it("ends a stream on SIGTERM at its deadline, with an error and [DONE]", async () => {
    const run = start("serve", "--model", folder, "--port", "0", "--drain-seconds", "0");
    const url = await run.line(/Serving on (\S+)/);
    const messages = [{ role: "user", content: "Hi" }];
    const body = JSON.stringify({ model: "tiny:alpaca", stream: true, messages, max_tokens: 350 });
    const answers = Array.from({ length: 8 }, () => fetch(`${url}/v1/chat/completions`, { method: "POST", body }));
    const responses = await Promise.all(answers);
    run.child.kill("SIGTERM");
    const texts = await Promise.all(responses.map((response) => response.text()));
    expect(texts.every((text) => text.endsWith("data: [DONE]\n\n"))).toBe(true);
    expect(texts.some((text) => text.includes('"code":"server_draining"'))).toBe(true);
    expect(await run.exit).toBe(0);
  });

  const endless = JSON.stringify({
    model: "tiny:alpaca",
    stream: true,
    messages: [{ role: "user", content: "Hi" }],
    max_tokens: 350,
    ignore_eos: true,
  });

  it("drains on SIGTERM: /readyz is 503 at once, the running answer ends, then it exits with 0", async () => {
    const run = start("serve", "--model", folder, "--port", "0", "--drain-seconds", "60");
    const url = await run.line(/Serving on (\S+)/);
    expect(await (await fetch(`${url}/readyz`)).json()).toMatchObject({ status: "ready" });
    const answers = await Promise.all(
      [1, 2].map(() => fetch(`${url}/v1/chat/completions`, { method: "POST", body: endless })),
    );
    run.child.kill("SIGTERM");
    await expect.poll(() => run.text().err, { interval: 5 }).toContain("Stopping");
    const [ready, live] = await Promise.all([fetch(`${url}/readyz`), fetch(`${url}/livez`)]);
    expect([ready.status, live.status]).toEqual([503, 200]);
    expect(await ready.json()).toMatchObject({ status: "draining" });
    for (const answer of answers) {
      const text = await answer.text();
      expect(text).toContain('"finish_reason":"length"');
      expect(text.endsWith("data: [DONE]\n\n")).toBe(true);
    }
    expect(await run.exit).toBe(0);
    // Nobody watches: each line of standard error is a record.
    const records = run
      .text()
      .err.trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    const done = records.filter(({ route }) => route === "/v1/chat/completions");
    expect(done.map(({ completionTokens }) => completionTokens)).toEqual([350, 350]);
  });

  it("ends at once on a second signal", async () => {
    const run = start("serve", "--model", folder, "--port", "0", "--drain-seconds", "60");
    const url = await run.line(/Serving on (\S+)/);
    const answer = await fetch(`${url}/v1/chat/completions`, { method: "POST", body: endless });
    run.child.kill("SIGTERM");
    await expect.poll(() => run.text().err).toContain("Stopping");
    run.child.kill("SIGTERM");
    expect(await run.exit).toBe("SIGTERM");
    await expect(answer.text()).rejects.toThrow();
  });

  it("asks for a key of its keys file, and follows the file while it runs", async () => {
    const file = join(scratch, "keys.json");
    const keyOf = async (...words: string[]) => {
      const run = start("keys", ...words, "--file", file);
      expect(await run.exit).toBe(0);
      return run.text().out.trim();
    };
    const key = await keyOf("create", "alice");
    const run = start("serve", "--model", folder, "--port", "0", "--keys-file", file);
    const url = await run.line(/Serving on (\S+)/);
    const statusWith = async (authorization: string) =>
      (await fetch(`${url}/v1/models`, { headers: { authorization } })).status;
    expect([await statusWith(`Bearer ${key}`), await statusWith("Bearer sk-wrong")]).toEqual([200, 401]);
    await keyOf("revoke", "alice");
    await expect.poll(() => statusWith(`Bearer ${key}`), { timeout: 10_000, interval: 200 }).toBe(401);
    run.child.kill("SIGTERM");
    expect(await run.exit).toBe(0);
  });

  it("stops in the middle of loading", async () => {
    const run = start("serve", "--model", folder, "--port", "0");
    await expect.poll(() => run.text().err, { timeout: 30_000, interval: 5 }).toMatch(/Loading/);
    run.child.kill("SIGINT");
    expect(await run.exit).toBe(0);
  });

  it("exits with 2 and a sentence when its port is taken", async () => {
    const first = start("serve", "--model", folder, "--port", "0");
    const url = await first.line(/Serving on (\S+)/);
    const second = start("serve", "--model", folder, "--port", new URL(url).port);
    expect(await second.exit).toBe(2);
    expect(second.text().err).toContain("another program listens there; choose another --port");
    first.child.kill("SIGTERM");
    expect(await first.exit).toBe(0);
  });
});
