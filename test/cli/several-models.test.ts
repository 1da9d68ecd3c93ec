import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startApp } from "../../src/app.js";
import { parseServeConfig } from "../../src/settings/serve-config.js";
import { convertTestModel, workerUrl } from "../contract/open-test-model.js";

let scratch: string;
let good: string;
let twin: string;
let damaged: string;
let remove: () => Promise<void>;
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), "toast-several-"));
  const model = await convertTestModel();
  remove = model.remove;
  good = model.folder;
  twin = join(scratch, "twin");
  damaged = join(scratch, "damaged");
  await cp(good, twin, { recursive: true });
  await cp(good, damaged, { recursive: true });
  const manifest = await readFile(join(damaged, "manifest.json"), "utf8");
  await writeFile(join(damaged, "manifest.json"), manifest.replace('"tiny"', '"damaged"'));
  await writeFile(join(damaged, "decoder.onnx.data"), "x");
});
afterAll(async () => {
  await remove();
  await rm(scratch, { recursive: true, force: true });
});

function start(...folders: readonly string[]) {
  return startApp(parseServeConfig({ model: folders, port: "0", threads: "1" }, { DRAIN_SECONDS: "0" }), { workerUrl });
}

describe("several model folders", () => {
  it("with one id are refused before anything is loaded", async () => {
    await expect(start(good, twin)).rejects.toThrow(`${good} and ${twin} both have the model id 'tiny'.`);
  });

  it("serve what can be loaded, and say what cannot", async () => {
    const app = await start(damaged, good);
    try {
      expect((await app.ready()).map(({ id }) => id)).toEqual(["tiny", "tiny:alpaca"]);
      expect(app.failures).toHaveLength(1);
      expect(app.failures[0]).toContain("decoder.onnx.data has 1 bytes");
      expect((await fetch(`${app.url}/health`)).status).toBe(200);
    } finally {
      await app.stop();
    }
  });

  it("fail when none can be loaded", async () => {
    const app = await start(damaged);
    try {
      await expect(app.ready()).rejects.toThrow("decoder.onnx.data has 1 bytes");
      expect((await fetch(`${app.url}/health`)).status).toBe(503);
    } finally {
      await app.stop();
    }
  });
});
