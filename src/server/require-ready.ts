import { serverLoading } from "../errors.js";
import type { EngineRegistry } from "./engine-registry.js";

/** @throws ToastError `server_loading` */
export function requireReady({ phase }: EngineRegistry): void {
  if (phase.kind === "loading") throw serverLoading(phase.stage);
}
