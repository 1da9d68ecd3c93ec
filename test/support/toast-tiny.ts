import { fileURLToPath } from "node:url";
import { EngineClient } from "../../src/engine/thread/engine-client.js";
import { workerUrl } from "../contract/open-test-model.js";

/**
 * The small real model of the tests, int8, served as `toast-tiny`, `toast-tiny:alpaca` and `toast-tiny:stories`: 11 million
 * parameters that have read texts, so steering, grammars and drafts have something to work on.
 */
export const toastTiny = fileURLToPath(new URL("../toast-tiny", import.meta.url));

export async function openToastTiny(): Promise<EngineClient> {
  const engine = new EngineClient({ folder: toastTiny, threads: 1, workerUrl });
  await engine.ready();
  return engine;
}
