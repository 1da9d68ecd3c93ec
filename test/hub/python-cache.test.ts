import { execFile, spawnSync } from "node:child_process";
import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, it, vi } from "vitest";
import { openPlace, tinyRepo } from "./pull-folder.js";

// Python takes its time to begin.
vi.setConfig({ testTimeout: 180_000 });

const run = promisify(execFile);
const repo = "tiny-org/tiny";
const wanted = ["README.md", "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"];

/** A Python that has huggingface_hub: the one that the Python tests are run by. */
const { TOAST_HUB_PYTHON: given, PATH } = process.env;
const python = given ?? "python3";
const hasPackage = spawnSync(python, ["-c", "import huggingface_hub"]).status === 0;
if (!hasPackage) {
  if (given !== undefined) throw new Error(`${python} has no huggingface_hub.`);
  console.warn(
    `SKIPPED: ${python} has no huggingface_hub, so nothing is shared with it. The Python tests run this file too.`,
  );
}

async function runPython(environment: Readonly<Record<string, string>>, script: string): Promise<unknown> {
  const env = { ...environment, PATH, HF_HUB_DISABLE_XET: "1", HF_HUB_DISABLE_TELEMETRY: "1" };
  const { stdout } = await run(python, ["-c", script], { env });
  return JSON.parse(stdout.trim().split("\n").at(-1) ?? "");
}

describe.skipIf(!hasPackage)("the cache that is shared with Python's huggingface_hub", () => {
  it.each([
    ["a snapshot", `h.snapshot_download("${repo}", allow_patterns=${JSON.stringify(wanted)})`],
    ["file by file", `[h.hf_hub_download("${repo}", name) for name in ${JSON.stringify(wanted)}]`],
  ])("has what Python downloaded: %s", async (_, download) => {
    const { hub, environment, pull } = await openPlace();
    const commit = hub.commit(repo, tinyRepo());
    await runPython(environment, `import json, huggingface_hub as h; ${download}; print(json.dumps(1))`);
    const fetched = hub.downloads().length;
    expect(fetched).toBeGreaterThan(0);
    expect(await pull(repo, {}, { HF_HUB_OFFLINE: "1" })).toMatchObject({ commit });
    const { source } = await pull(repo);
    expect(hub.downloads()).toHaveLength(fetched);
    expect((await readdir(source)).sort()).toEqual(wanted);
  });

  it("has what we downloaded, for Python", async () => {
    const { hub, home, environment, pull } = await openPlace();
    const commit = hub.commit(repo, tinyRepo());
    const { source } = await pull(repo);
    const fetched = hub.downloads().length;
    const script = `
import json, huggingface_hub as h
folder = h.snapshot_download("${repo}", local_files_only=True)
cached = h.try_to_load_from_cache("${repo}", "model.safetensors")
again = h.hf_hub_download("${repo}", "config.json")
info = h.scan_cache_dir()
revision = next(iter(next(iter(info.repos)).revisions))
files = sorted(f.file_name for f in revision.files)
print(json.dumps([folder, cached, again, [str(w) for w in info.warnings], revision.commit_hash, sorted(revision.refs), files]))`;
    expect(await runPython(environment, script)).toEqual([
      source,
      join(source, "model.safetensors"),
      join(source, "config.json"),
      [],
      commit,
      ["main"],
      wanted,
    ]);
    expect(hub.downloads()).toHaveLength(fetched);
    expect(await readdir(join(home, "hub"))).toContain("models--tiny-org--tiny");
  });

  it("is filled by both at once", async () => {
    const { hub, environment, pull } = await openPlace();
    hub.commit(repo, tinyRepo());
    hub.fault = ({ host }) => (host === "cdn" ? { slowly: 500 } : null);
    const script = `import json, huggingface_hub as h; print(json.dumps(h.hf_hub_download("${repo}", "model.safetensors")))`;
    const [theirs, ours] = await Promise.all([runPython(environment, script), pull(repo)]);
    expect(theirs).toBe(join(ours.source, "model.safetensors"));
    const bytes = await readFile(join(ours.source, "model.safetensors"));
    expect(bytes.equals(tinyRepo()["model.safetensors"] ?? Buffer.alloc(0))).toBe(true);
    expect((await stat(join(ours.source, "config.json"))).isFile()).toBe(true);
  });
});
