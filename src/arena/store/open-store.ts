import { access, mkdtemp, open, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { BattleStore } from "./battle-store.js";
import { folderFault } from "./store-faults.js";

export interface StoreLocation {
  /** Null: embedded, inside `dataDir`. */
  readonly databaseUrl: string | null;
  readonly dataDir: string;
}

/**
 * The driver of the other kind is not loaded: a thread has its memory once more.
 * @throws ToastError `store_failed`
 */
export async function openStore({ databaseUrl, dataDir }: StoreLocation): Promise<BattleStore> {
  if (databaseUrl === null) {
    const { openSqliteStore } = await import("./sqlite-store.js");
    return openSqliteStore(join(dataDir, "arena"));
  }
  const { openPostgresStore } = await import("./postgres-store.js");
  return openPostgresStore(databaseUrl);
}

/** What a database that is begun and has its first battles needs. */
const probeBytes = 256 * 1024;

/**
 * Says at the start whether the store will take what it is given. Where there is no database yet none is made: a file
 * is written where it would lie, and taken away again.
 * @param tryOpened opens the store for good, and tries it.
 * @throws ToastError `store_failed`
 */
export async function tryStore({ databaseUrl, dataDir }: StoreLocation, tryOpened: () => Promise<void>): Promise<void> {
  const folder = join(dataDir, "arena");
  if (databaseUrl !== null || (await exists(folder))) return tryOpened();
  try {
    await writeProbe(await nearestFolder(folder));
  } catch (error) {
    throw folderFault(error);
  }
}

async function nearestFolder(folder: string): Promise<string> {
  return (await exists(folder)) || dirname(folder) === folder ? folder : nearestFolder(dirname(folder));
}

async function writeProbe(folder: string): Promise<void> {
  const probe = await mkdtemp(join(folder, ".toast-probe-"));
  try {
    const file = await open(join(probe, "probe"), "w");
    try {
      await file.writeFile(Buffer.alloc(probeBytes));
      await file.sync();
    } finally {
      await file.close();
    }
  } finally {
    await rm(probe, { recursive: true, force: true });
  }
}

/** What may not be looked at is there all the same. */
function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    (error: NodeJS.ErrnoException) => error.code !== "ENOENT",
  );
}
