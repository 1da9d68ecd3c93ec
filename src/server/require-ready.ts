import type { EngineRegistry } from "../engine/engine-registry.js";
import { serverLoading } from "../errors.js";

/** @throws ToastError `server_loading` */
export function requireReady({ phase }: EngineRegistry): void {
  if (phase.kind === "loading") throw serverLoading(phase.stage);
}
