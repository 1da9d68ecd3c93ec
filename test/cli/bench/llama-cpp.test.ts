import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { LlamaCpp } from "../../../src/cli/bench/llama-cpp.js";

let folder: string;
let model: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "toast-peer-"));
  model = join(folder, "model.gguf");
  await writeFile(model, "GGUF");
});
afterAll(() => rm(folder, { recursive: true }));

/** Programs that print what llama.cpp's print (build 0c1e570), with the words that they were given as the figure. */
async function programs(single: string, batched: string): Promise<void> {
  for (const [name, script] of [
    ["llama-bench", single],
    ["llama-batched-bench", batched],
  ] as const) {
    await writeFile(join(folder, name), `#!/bin/sh\n${script}\n`);
    await chmod(join(folder, name), 0o755);
  }
}

describe("llama.cpp beside the engine", () => {
  const stop = new AbortController().signal;

  it("is asked for one stream, several streams and a prompt, and its figures are read", async () => {
    await programs(
      `printf '[{"n_prompt": 0, "avg_ts": %s}]' "$#"; echo "$@" > "${folder}/single"`,
      `echo 'n_kv_max = 1024'; printf '{"pl": 2, "speed_tg": 224.5}\\n'; echo "$@" > "${folder}/batched"`,
    );
    const peer = await LlamaCpp.open({ folder, model, threads: 2 });
    expect(await peer.decode(1, 48, stop)).toBe(12);
    expect(await peer.decode(8, 48, stop)).toBe(224.5);
    expect(await peer.prefill(512, stop)).toBe(12);
  });

  it.each([
    ["another form of results", "echo '[{}]'", "in a form that is not known here"],
    ["a failure", "echo 'error: cannot load' >&2; exit 1", "failed: error: cannot load"],
  ])("says of %s what it was", async (_, script, sentence) => {
    await programs(script, script);
    const peer = await LlamaCpp.open({ folder, model, threads: undefined });
    const failed = expect.objectContaining({ code: "peer_failed", message: expect.stringContaining(sentence) });
    await expect(peer.decode(1, 8, stop)).rejects.toEqual(failed);
  });

  it("says which program or file is missing", async () => {
    await programs("true", "true");
    await expect(LlamaCpp.open({ folder: "/nowhere", model, threads: 1 })).rejects.toThrow(
      "--peer /nowhere has no program llama-bench",
    );
    await expect(LlamaCpp.open({ folder, model: "/nowhere.gguf", threads: 1 })).rejects.toThrow("cannot be read");
  });
});
