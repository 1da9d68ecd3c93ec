import { mkdir, statfs } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { drizzle } from "drizzle-orm/sqlite-proxy";
import { migrate } from "drizzle-orm/sqlite-proxy/migrator";
import Sqlite from "libsql";
import { ToastError } from "../../errors.js";
import type { BattleStore } from "./battle-store.js";
import { migrationsFolder } from "./migrations-folder.js";
import { adoptJournal } from "./old-journal.js";
import { type Database, SqlStore, type Tables } from "./sql-store.js";
import { battles, places, turns, votes } from "./sqlite-schema.js";
import { folderFault } from "./store-faults.js";

/** How long a statement waits for another process that writes. */
const busyMs = 5_000;

/** Is written to see whether it can be: "TOAS", which tells `file` and people whose database it is. */
const applicationId = 0x544f4153;

/**
 * Battles in a SQLite database, `battles.sqlite` in a folder, which several processes of one machine may share: SQLite
 * locks it for as long as a write takes, and keys forbid doubles.
 *
 * A commit is on the disk when it is acknowledged (a write-ahead log, synced for each), and one that fails leaves
 * nothing behind. The driver computes in the thread that calls it, and waits there for locks and disks: a server opens
 * its store in a thread of its own (`../thread/`).
 * Nothing is written to a database that has its tables, so what is on a full disk can be looked at.
 * @throws ToastError `store_failed`
 */
export async function openSqliteStore(folder: string): Promise<BattleStore> {
  try {
    await mkdir(folder, { recursive: true });
    await refuseNetwork(folder);
    const database = new Sqlite(join(folder, "battles.sqlite"), { timeout: busyMs });
    try {
      await prepare(database);
      const store = storeOf(database);
      await adoptJournal(folder, (entries) => store.insertMissing(entries));
      return store;
    } catch (error) {
      database.close();
      throw error;
    }
  } catch (error) {
    throw folderFault(error);
  }
}

async function prepare(database: Sqlite.Database): Promise<void> {
  // The one statement that does not wait for others by itself.
  await whileBusy(() => database.exec("PRAGMA journal_mode = WAL"));
  database.exec(`PRAGMA busy_timeout = ${busyMs}; PRAGMA synchronous = FULL; PRAGMA fullfsync = ON`);
  database.exec("PRAGMA foreign_keys = ON");
  // Servers that start together migrate one after the other.
  await whileBusy(() => database.exec("BEGIN IMMEDIATE"));
  try {
    await migrate(
      proxyOf(database),
      (statements) => {
        for (const statement of statements) database.exec(statement);
        return Promise.resolve();
      },
      { migrationsFolder: migrationsFolder("sqlite") },
    );
    database.exec("COMMIT");
  } catch (error) {
    if (database.inTransaction) database.exec("ROLLBACK");
    throw error;
  }
}

async function whileBusy(act: () => void): Promise<void> {
  const deadline = Date.now() + busyMs;
  for (;;) {
    try {
      act();
      return;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code?.startsWith("SQLITE_BUSY") !== true || Date.now() > deadline) throw error;
      await wait(20);
    }
  }
}

function storeOf(database: Sqlite.Database): SqlStore {
  let last: Promise<unknown> = Promise.resolve();
  // One connection has one transaction at a time: a vote must not get into that of an import.
  const run = <Value>(work: () => Promise<Value>): Promise<Value> => {
    const done = last.then(work).catch((error: unknown) => {
      throw folderFault(error);
    });
    last = done.catch(() => {});
    return done;
  };
  return new SqlStore({
    // Drizzle's types know no "any of my databases"; all that SqlStore calls is the same in both.
    database: proxyOf(database) as unknown as Database,
    tables: { battles, turns, votes, places } as unknown as Tables,
    run,
    tryWrite: () => Promise.resolve(database.exec(`PRAGMA application_id = ${applicationId}`)),
    close: async () => {
      await last;
      database.close();
    },
  });
}

function proxyOf(database: Sqlite.Database) {
  return drizzle((statement, parameters, method) => {
    // SQLite has ended a transaction itself that met a full disk.
    if (statement === "rollback" && !database.inTransaction) return Promise.resolve({ rows: [] });
    const prepared = database.prepare(statement);
    if (!prepared.reader) {
      prepared.run(parameters);
      return Promise.resolve({ rows: [] });
    }
    const rows = prepared.raw().all(parameters) as unknown[][];
    return Promise.resolve({ rows: method === "get" ? (rows[0] ?? []) : rows });
  });
}

/** @throws ToastError `store_failed` */
async function refuseNetwork(folder: string): Promise<void> {
  const kind = networkFileSystem((await statfs(folder)).type);
  if (kind === null || process.platform !== "linux") return;
  throw new ToastError(
    "store_failed",
    `The arena's data folder (in --data-dir) is on a network file system (${kind}), where SQLite's locks do not hold between machines. Name a --data-dir on a disk of this machine, or share a Postgres server (DATABASE_URL).`,
  );
}

/** @param type of a file system, as Linux's `statfs` names it. @see `man 2 statfs` */
export function networkFileSystem(type: number): string | null {
  switch (type >>> 0) {
    case 0x6969:
      return "NFS";
    case 0x517b:
    case 0xfe534d42:
    case 0xff534d42:
      return "SMB";
    case 0x5346414f:
      return "AFS";
    case 0x00c36400:
      return "Ceph";
    default:
      return null;
  }
}
