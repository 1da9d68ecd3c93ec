import { basename } from "node:path";
import { type EnginePhase, modelIn } from "../engine/engine.js";
import type { AdapterInfo, ModelInfo } from "../engine/model-info.js";
import type { AdapterToLoad } from "../engine/thread/messages.js";
import { serverLoading, ToastError } from "../errors.js";
import { readBackboneManifest } from "../model/model-folder.js";

/** An engine with the folder of its model. */
export interface ModelHost {
  /** The model folder. */
  readonly folder: string;
  readonly phase: EnginePhase;
}

/** An engine, as far as adapters go. */
export interface AdapterHost extends ModelHost {
  loadAdapter(adapter: AdapterToLoad): Promise<void>;
  unloadAdapter(name: string): Promise<void>;
}

/** @throws ToastError `engine_failed` */
export function modelOf({ phase, folder }: ModelHost): ModelInfo {
  const model = modelIn(phase);
  if (model === null) throw new ToastError("engine_failed", `The engine of ${basename(folder)} has stopped.`);
  return model;
}

export function adapterOf({ phase }: AdapterHost, name: string): AdapterInfo | undefined {
  return modelIn(phase)?.adapters.find((info) => info.name === name);
}

/**
 * The host of a model's id.
 * @throws ToastError `server_loading`, `model_not_found`
 */
export function hostOf<Host extends ModelHost>(hosts: readonly Host[], model: string): Host {
  const host = readyHosts(hosts).find((one) => modelOf(one).id === model);
  if (host !== undefined) return host;
  if (hosts.some(({ phase }) => phase.kind === "loading")) throw serverLoading();
  const served = readyHosts(hosts).map((one) => modelOf(one).id);
  const message = `The model '${model.slice(0, 100)}' is not served here. Served: ${served.join(", ")}.`;
  throw new ToastError("model_not_found", message, { param: "model" });
}

/** @throws ToastError `adapter_mismatch` when no model here has that backbone */
export async function hostsOfBackbone(hosts: readonly AdapterHost[], sha256: string): Promise<readonly AdapterHost[]> {
  const ready = readyHosts(hosts);
  const manifests = await Promise.all(ready.map(({ folder }) => readBackboneManifest(folder)));
  const matching = ready.filter((_, index) => manifests[index]?.backboneSha256 === sha256);
  if (matching.length > 0) return matching;
  throw new ToastError(
    "adapter_mismatch",
    `It was made for backbone ${sha256.slice(0, 12)}, which no model that is served here has.`,
  );
}

/** Those that serve, and those that are being started again: what they are told waits until they are there. */
export function readyHosts<Host extends ModelHost>(hosts: readonly Host[]): readonly Host[] {
  return hosts.filter(({ phase }) => modelIn(phase) !== null);
}
