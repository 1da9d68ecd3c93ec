import { mkdir, open, readdir, rename, rm, rmdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { ToastError } from "../errors.js";
import { OutputFile, writeError } from "./output-file.js";

/**
 * Lets `build` fill a folder beside `path`, then gives it that name: whoever looks at `path` sees all of it or nothing.
 * @throws ToastError `output_exists` when something is there by the time it is done, `disk_full`, `write_failed`, and
 *   what `build` throws; the unfinished folder is then gone.
 */
export async function createFolder<T>(path: string, build: (unfinished: string) => Promise<T>): Promise<T> {
  return inScratchFolder(path, async (unfinished) => {
    const result = await build(unfinished);
    // On some systems a folder can only be renamed to where nothing is.
    if (await isEmptyFolder(path)) await orWriteError(path, rmdir(path));
    await publishFolder(unfinished, path);
    return result;
  });
}

/** A folder named after `path`, for the time of `use`; readers of model folders pass over its name. */
export async function inScratchFolder<T>(path: string, use: (scratch: string) => Promise<T>): Promise<T> {
  const scratch = `${path}.partial-${process.pid}`;
  // In a container every run may have the same process id: a run that was killed must not be in the way of the next.
  await removeFolder(scratch);
  try {
    await makeFolder(scratch);
    return await use(scratch);
  } finally {
    await removeFolder(scratch);
  }
}

export async function removeFolder(path: string): Promise<void> {
  await rm(path, { recursive: true, force: true });
}

/** Flushes a finished folder and renames it. @throws as `createFolder`. */
export async function publishFolder(unfinished: string, path: string): Promise<void> {
  await syncFolder(unfinished);
  try {
    await rename(unfinished, path);
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : null;
    if (code === "ENOTEMPTY" || code === "EEXIST" || code === "ENOTDIR") {
      throw new ToastError("output_exists", `${path} has appeared meanwhile; it was left as it is.`, { cause: error });
    }
    throw writeError(path, error);
  }
  await syncFolder(dirname(path));
}

/** A folder that is there and has nothing in it. */
export async function isEmptyFolder(path: string): Promise<boolean> {
  const entries = await readdir(path).catch(() => null);
  return entries !== null && entries.length === 0;
}

export async function writeJson(folder: string, name: string, value: unknown): Promise<void> {
  const text = `${JSON.stringify(value, null, 2)}\n`;
  await OutputFile.create(join(folder, name), (file) => file.append(new TextEncoder().encode(text)));
}

export async function makeFolder(path: string): Promise<void> {
  await orWriteError(path, mkdir(path, { recursive: true }));
}

/** Makes names in the folder last. Windows cannot flush a folder, and needs not. */
async function syncFolder(path: string): Promise<void> {
  if (process.platform === "win32") return;
  const handle = await orWriteError(path, open(path, "r"));
  try {
    await orWriteError(path, handle.sync());
  } finally {
    await handle.close();
  }
}

async function orWriteError<T>(path: string, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    throw writeError(path, error);
  }
}
