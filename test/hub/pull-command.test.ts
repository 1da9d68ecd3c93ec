import { spawn } from "node:child_process";
import { mkdir, readdir, readFile, stat, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { conversionVersion } from "../../src/convert/convert.js";
import { openPlace, type Place, tinyRepo } from "./pull-folder.js";

const main = fileURLToPath(new URL("../../dist/main.js", import.meta.url));
const repo = "tiny-org/tiny-model";

// Each test starts several processes, which a busy machine takes its time for.
vi.setConfig({ testTimeout: 180_000 });

/** The built program, with nothing of this machine's environment. */
function start(environment: Readonly<Record<string, string>>, ...words: string[]) {
  const child = spawn(process.execPath, [main, ...words], { env: { ...environment, DRAIN_SECONDS: "0" } });
  onTestFinished(() => void child.kill("SIGKILL"));
  const text = { out: "", err: "" };
  child.stdout.on("data", (chunk: Buffer) => {
    text.out += chunk.toString();
  });
  child.stderr.on("data", (chunk: Buffer) => {
    text.err += chunk.toString();
  });
  const exit = new Promise<number | string | null>((resolve) =>
    child.once("close", (code, signal) => resolve(code ?? signal)),
  );
  return { child, text, exit };
}

/** Serves, asks for a few tokens, stops. @returns the answer, and the ids that are served. */
async function answerOf(environment: Readonly<Record<string, string>>, model: string) {
  const server = start(environment, "serve", "--model", model, "--port", "0", "--threads", "1");
  await expect.poll(() => server.text.out, { timeout: 120_000 }).toMatch(/Serving on (\S+)/);
  const url = /Serving on (\S+)/.exec(server.text.out)?.[1] ?? "";
  const response = await fetch(`${url}/v1/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model: "tiny-model", prompt: "the river", max_tokens: 8, temperature: 0 }),
  });
  const answer = (await response.json()) as { choices: { text: string }[] };
  server.child.kill("SIGTERM");
  expect(await server.exit).toBe(0);
  return { status: response.status, text: answer.choices[0]?.text, err: server.text.err };
}

function copies({ home }: Place): Promise<string[]> {
  return readdir(join(home, "toast-serve", "tiny-org--tiny-model"));
}

describe("toast-serve pull", () => {
  it("downloads and converts a model, which is then served by its name, without the hub", async () => {
    const place = await openPlace();
    const commit = place.hub.commit(repo, tinyRepo());
    const pulled = start(place.environment, "pull", repo);
    expect(await pulled.exit).toBe(0);
    expect(pulled.text.out).toBe(
      `${repo} at ${commit.slice(0, 12)}, 275 kB
  downloaded: ${join(place.home, "hub", "models--tiny-org--tiny-model", "snapshots", commit)}
  converted:  ${join(place.home, "toast-serve", "tiny-org--tiny-model", `${commit}-int8-v${conversionVersion}`, "tiny-model")} (int8)
  licence:    apache-2.0
Serve it: toast-serve serve --model ${repo}
`,
    );
    expect(pulled.text.err).toContain("Pulling: 0 %, asking 127.0.0.1");
    expect(pulled.text.err).toMatch(/Pulling: 100 %, downloading tiny-org\/tiny-model: 275 kB of 275 kB/);

    const before = place.hub.seen.length;
    const answer = await answerOf(place.environment, repo);
    expect(answer).toMatchObject({ status: 200, text: expect.stringMatching(/\S/) });
    expect(answer.err).not.toContain("Converting");
    expect(place.hub.seen).toHaveLength(before);
  });

  it("is what 'serve --model' does by itself the first time, and 'convert' for another folder", async () => {
    const place = await openPlace();
    place.hub.commit(repo, tinyRepo());
    const { status, err } = await answerOf(place.environment, `${repo}@main`);
    expect(status).toBe(200);
    expect(err).toContain("Pulling: ");
    expect(err).toContain("Converting: ");
    expect(await copies(place)).toHaveLength(1);

    const out = join(place.home, "mine");
    const converted = start(place.environment, "convert", repo, "--out", out, "--quantize", "none");
    expect(await converted.exit).toBe(0);
    expect(JSON.parse(await readFile(join(out, "manifest.json"), "utf8"))).toMatchObject({
      id: "tiny-model",
      quantization: "none",
    });
  });

  it("keeps each way of converting apart, and serves the unusual ones by their folder", async () => {
    const place = await openPlace();
    place.hub.commit(repo, tinyRepo());
    const words = ["pull", repo, "--quantize", "none", "--model-id", "other"];
    const pulled = start(place.environment, ...words);
    expect(await pulled.exit).toBe(0);
    const folder = /Serve it: toast-serve serve --model (\S+)/.exec(pulled.text.out)?.[1] ?? "";
    expect(JSON.parse(await readFile(join(folder, "manifest.json"), "utf8"))).toMatchObject({
      id: "other",
      quantization: "none",
    });
    const only = start(place.environment, "pull", repo, "--download-only");
    expect(await only.exit).toBe(0);
    expect(only.text.out).toContain(`Convert it: toast-serve convert ${repo} --out <folder>`);
    expect(await copies(place)).toHaveLength(1);
  });

  it("told to stop, says that it can go on, and goes on", async () => {
    const place = await openPlace();
    place.hub.commit(repo, tinyRepo());
    place.hub.fault = ({ host }) => (host === "cdn" ? { slowly: 100 } : null);
    const stopped = start(place.environment, "pull", repo);
    await expect.poll(() => stopped.text.err, { timeout: 90_000 }).toContain("Pulling: 25 %");
    stopped.child.kill("SIGINT");
    expect(await stopped.exit).toBe(130);
    expect(stopped.text.err).toContain("Stopped. What was downloaded stays; the same command goes on from there.");

    place.hub.fault = () => null;
    const next = start(place.environment, "pull", repo);
    expect(await next.exit).toBe(0);
    expect(place.hub.downloads("safetensors").at(-1)?.headers.range).toMatch(/^bytes=\d{5,}-$/);
  });

  it("killed in the middle, goes on when nobody touches its file any more", async () => {
    const place = await openPlace();
    place.hub.commit(repo, tinyRepo());
    place.hub.fault = ({ host }) => (host === "cdn" ? { slowly: 100 } : null);
    const killed = start(place.environment, "pull", repo);
    await expect.poll(() => killed.text.err, { timeout: 90_000 }).toContain("Pulling: 25 %");
    killed.child.kill("SIGKILL");
    await killed.exit;
    place.hub.fault = () => null;
    const next = start(place.environment, "pull", repo);
    expect(await next.exit).toBe(0);
    expect(next.text.err).toContain("another process is downloading model.safetensors");
    expect(place.hub.downloads("safetensors").at(-1)?.headers.range).toMatch(/^bytes=\d{5,}-$/);
  });

  it("of two processes at once downloads once, and both end well", async () => {
    const place = await openPlace();
    place.hub.commit(repo, tinyRepo());
    place.hub.fault = ({ host }) => (host === "cdn" ? { slowly: 200 } : null);
    const both = [start(place.environment, "pull", repo), start(place.environment, "pull", repo)];
    for (const { exit, text } of both) {
      expect({ code: await exit, err: text.err }).toMatchObject({ code: 0 });
      expect(text.out).toContain(`Serve it: toast-serve serve --model ${repo}`);
    }
    expect(place.hub.downloads("safetensors").filter(({ host }) => host === "cdn")).toHaveLength(1);
    const [copy = ""] = await copies(place);
    const folder = join(place.home, "toast-serve", "tiny-org--tiny-model", copy);
    expect(await readdir(folder)).toEqual(["tiny-model"]);
  });

  it("makes a damaged copy anew, and clears what killed conversions left", async () => {
    const place = await openPlace();
    const commit = place.hub.commit(repo, tinyRepo());
    const copy = join(place.home, "toast-serve", "tiny-org--tiny-model", `${commit}-int8-v${conversionVersion}`);
    await mkdir(join(copy, "tiny-model"), { recursive: true });
    await writeFile(join(copy, "tiny-model", "manifest.json"), "{");
    const [old, young] = ["tiny-model.00000000.incomplete.partial-7", "tiny-model.11111111.incomplete"];
    for (const name of [old, young]) await mkdir(join(copy, name));
    await utimes(join(copy, old), new Date(0), new Date(0));
    expect(await start(place.environment, "pull", repo).exit).toBe(0);
    expect((await readdir(copy)).sort()).toEqual(["tiny-model", young]);
    expect((await stat(join(copy, "tiny-model", "decoder.onnx"))).isFile()).toBe(true);
  });
});

describe("a name among the settings", () => {
  it("stands in a config file as it is, beside paths that start at the file", async () => {
    const place = await openPlace();
    const file = join(place.home, "toast.jsonc");
    await writeFile(file, '{"model": ["tiny-org/tiny-model@v1", "./mine", "hub"]}');
    await mkdir(join(place.home, "hub"));
    const shown = start(place.environment, "serve", "--config", file, "--print-config");
    expect(await shown.exit).toBe(0);
    expect(shown.text.out).toContain(
      `"model": ["tiny-org/tiny-model@v1","${join(place.home, "mine")}","${join(place.home, "hub")}"]`,
    );
  });

  it("that is none on the hub either is told of as both", async () => {
    const place = await openPlace();
    const served = start(place.environment, "serve", "--model", "models/typo", "--port", "0");
    expect(await served.exit).toBe(1);
    expect(served.text.err).toContain("has no model models/typo, or does not show it");
    expect(served.text.err).toContain("There is no folder models/typo here either.");
  });

  it.each([
    [["pull", "tiny"], "'tiny' is no name of a model on a hub: it must be org/name"],
    [["pull", "a/b/c.gguf", "d.gguf"], "Name the file once"],
    [["pull", "a/b", "--quantize", "int3"], "Allowed choices are none, int8"],
  ])("that makes no sense ends with 2: %j", async (words, message) => {
    const { exit, text } = start({}, ...words);
    expect(await exit).toBe(2);
    expect(text.err).toContain(message);
  });
});
