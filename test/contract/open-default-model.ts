import { fileURLToPath } from "node:url";
import { EngineClient } from "../../src/engine/thread/engine-client.js";
import { workerUrl } from "./open-test-model.js";

/** The model that is served by default: `toast-tiny` and `toast-tiny:alpaca`. Small, but it has read texts. */
export async function openDefaultModel(): Promise<EngineClient> {
  const folder = fileURLToPath(new URL("../../models/toast-tiny", import.meta.url));
  const engine = new EngineClient({ folder, threads: 1, workerUrl });
  await engine.ready();
  return engine;
}
