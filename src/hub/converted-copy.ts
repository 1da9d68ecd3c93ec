import { randomBytes } from "node:crypto";
import { readdir, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { conversionVersion, convert } from "../convert/convert.js";
import type { ConvertProgress } from "../convert/convert-progress.js";
import type { BackboneManifest, Quantization } from "../model/manifest.js";
import { readBackboneManifest } from "../model/model-folder.js";
import type { PulledModel } from "./cached-model.js";
import { codeOf, orCacheWriteError } from "./disk.js";
import type { HubSettings } from "./hub-settings.js";

export interface CopyOptions {
  readonly quantize: Quantization;
  /** The served id. */
  readonly modelId: string;
  readonly onProgress?: ((progress: ConvertProgress) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface ConvertedCopy {
  readonly folder: string;
  readonly manifest: BackboneManifest;
  /** Whether it was here already. */
  readonly isOld: boolean;
}

const hourMs = 3_600_000;

/**
 * The converted form of a downloaded model, made once: it is found again by commit, file, quantization, id and version
 * of the converter, and appears whole or not at all.
 * @throws ToastError as `convert`; AbortError.
 */
export async function convertedCopy(
  model: PulledModel,
  { convertedDir }: HubSettings,
  options: CopyOptions,
): Promise<ConvertedCopy> {
  const { quantize, modelId, onProgress, signal } = options;
  const folder = folderOf(model, convertedDir, options);
  const old = await readBackboneManifest(folder).catch(() => null);
  if (old !== null) return { folder, manifest: old, isOld: true };
  await removeLeftovers(folder);
  // A name of its own: in containers that share a disk every process may have the same number.
  const unfinished = `${folder}.${randomBytes(4).toString("hex")}.incomplete`;
  try {
    const { source } = model;
    await convert({ source, out: unfinished, quantize, modelId, adapters: [], onProgress, signal });
    await publish(unfinished, folder);
  } finally {
    await rm(unfinished, { recursive: true, force: true });
  }
  return { folder, manifest: await readBackboneManifest(folder), isOld: false };
}

/** The last part is the id, since people see it while it loads. */
function folderOf({ name, commit, gguf }: PulledModel, root: string, { quantize, modelId }: CopyOptions): string {
  const file = gguf === null ? "" : `-${gguf.replace(/\.gguf$/i, "").replaceAll("/", "--")}`;
  const key = `${commit}${file}-${quantize}-v${conversionVersion}`;
  return join(root, name.repo.replace("/", "--"), key, modelId);
}

/** Another process may have been faster: then its folder, which is the same, stays. A damaged one goes. */
async function publish(unfinished: string, folder: string): Promise<void> {
  try {
    await rename(unfinished, folder);
  } catch (error) {
    if (!["ENOTEMPTY", "EEXIST", "EPERM"].includes(codeOf(error) ?? "")) {
      await orCacheWriteError(folder, Promise.reject(error));
    }
    if ((await readBackboneManifest(folder).catch(() => null)) !== null) return;
    await rm(folder, { recursive: true, force: true });
    await orCacheWriteError(folder, rename(unfinished, folder));
  }
}

/** What conversions left that were killed: nothing in them has changed for an hour. */
async function removeLeftovers(folder: string): Promise<void> {
  const parent = dirname(folder);
  const names = await readdir(parent).catch(() => []);
  for (const name of names.filter((each) => each.startsWith(`${basename(folder)}.`))) {
    const path = join(parent, name);
    const inside = await readdir(path, { recursive: true }).catch(() => []);
    const times = await Promise.all(
      [path, ...inside.map((each) => join(path, each))].map((each) =>
        stat(each).then(
          ({ mtimeMs }) => mtimeMs,
          () => 0,
        ),
      ),
    );
    if (Date.now() - Math.max(...times) > hourMs) await rm(path, { recursive: true, force: true });
  }
}
