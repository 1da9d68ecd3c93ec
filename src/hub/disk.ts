import { statfs } from "node:fs/promises";
import { dirname } from "node:path";
import { isDiskFull } from "../disk-full.js";
import { ToastError } from "../errors.js";
import { formatBytes } from "./transfer.js";

/**
 * Before a download: is there room for it? A file system that does not say is believed to have it.
 * @throws ToastError `disk_full`
 */
export async function checkRoom(folder: string, bytes: number): Promise<void> {
  const free = await freeBytes(folder);
  if (free === null || free >= bytes) return;
  const sentence = `There is no room: ${formatBytes(bytes)} are to be downloaded to ${folder}, where ${formatBytes(free)} are free. Make room, or name another disk's folder with HF_HUB_CACHE.`;
  throw new ToastError("disk_full", sentence);
}

/** Of the nearest folder that exists. */
async function freeBytes(folder: string): Promise<number | null> {
  try {
    const { bavail, bsize } = await statfs(folder);
    return bavail * bsize;
  } catch {
    const parent = dirname(folder);
    return parent === folder ? null : freeBytes(parent);
  }
}

/** The sentence for a failed write into the cache. */
export function cacheWriteError(path: string, error: unknown): ToastError {
  const code = codeOf(error) ?? "unknown";
  if (isDiskFull(error)) {
    const sentence = `The disk is full: ${path} could not be written further. What is downloaded stays; make room and give the same command again.`;
    return new ToastError("disk_full", sentence, { cause: error });
  }
  const hint = ["EACCES", "EPERM", "EROFS"].includes(code)
    ? " Name a folder that may be written with HF_HOME, or with HF_HUB_CACHE and TOAST_CACHE."
    : "";
  return new ToastError("write_failed", `${path} could not be written (${code}).${hint}`, { cause: error });
}

/** @throws ToastError as `cacheWriteError` */
export async function orCacheWriteError<T>(path: string, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    throw cacheWriteError(path, error);
  }
}

export function codeOf(error: unknown): string | null {
  return error instanceof Error && "code" in error ? String(error.code) : null;
}
