import { stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { ToastError } from "../errors.js";
import { manifestFileName, readAdapterManifest } from "../model/model-folder.js";
import type { AdapterArrivalFiles } from "./adapter-builder.js";
import { type AdapterFiles, descriptionOf } from "./adapter-files.js";

/** What a client sends: where its files lie by now, and what it says of them. */
export interface AdapterArrival {
  readonly model: string;
  /** Null: what the files are called. */
  readonly name: string | null;
  /** Of the file with the weights, lower-case hex; null: not said. */
  readonly sha256: string | null;
  readonly files: AdapterArrivalFiles;
}

export async function nameOf(files: AdapterArrivalFiles): Promise<string> {
  return files.kind === "trained" ? files.name : (await readAdapterManifest(files.folder)).name;
}

/**
 * Files that lie inside the adapters folder already.
 * @throws ToastError `invalid_request` with the param `path`
 */
export async function filesAt(folder: AdapterFiles, path: string): Promise<AdapterArrivalFiles> {
  const real = await folder.inside(path);
  if (real.endsWith(".safetensors")) {
    await folder.inside(descriptionOf(real));
    return { kind: "trained", weights: real, name: basename(real, ".safetensors") };
  }
  if ((await stat(real)).isDirectory()) {
    // Its files may be links that lead outside.
    const { files } = await readAdapterManifest(real);
    for (const name of [manifestFileName, files.graph.name, files.weights.name]) await folder.inside(join(real, name));
    return { kind: "converted", folder: real, origin: "server" };
  }
  const message = "'path' must be a .safetensors file or the folder of a converted adapter.";
  throw new ToastError("invalid_request", message, { param: "path" });
}
