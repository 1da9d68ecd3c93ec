import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { convert } from "../../src/convert/convert.js";
import { EngineClient } from "../../src/engine/thread/engine-client.js";
import { builtinTemplates } from "../../src/text/builtin-templates.js";

const source = fileURLToPath(new URL("../tiny/gqa", import.meta.url));

/** The worker runs compiled code; `npm test` builds it first. */
export const workerUrl = new URL("../../dist/engine/thread/worker.js", import.meta.url);

/** A small model with an adapter, converted as a user would convert it; its folder goes with `remove`. */
export async function convertTestModel(): Promise<{ folder: string; remove: () => Promise<void> }> {
  const scratch = await mkdtemp(join(tmpdir(), "toast-contract-"));
  const folder = join(scratch, "tiny");
  await convert({
    source,
    out: folder,
    quantize: "none",
    modelId: "tiny",
    adapters: [{ file: join(source, "adapter.safetensors"), name: "alpaca" }],
    chatTemplate: builtinTemplates.alpaca,
  });
  return { folder, remove: () => rm(scratch, { recursive: true, force: true }) };
}

/** A real engine over a real model, served as `tiny` and `tiny:alpaca`. */
export async function openTestModel(): Promise<{ engine: EngineClient; close: () => Promise<void> }> {
  const { folder, remove } = await convertTestModel();
  const engine = new EngineClient({ folder, threads: 1, workerUrl });
  await engine.ready();
  return {
    engine,
    async close() {
      await engine.close();
      await remove();
    },
  };
}
