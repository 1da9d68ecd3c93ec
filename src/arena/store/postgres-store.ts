import { drizzle } from "drizzle-orm/node-postgres";
import { migrate } from "drizzle-orm/node-postgres/migrator";
import pg from "pg";
import type { BattleStore } from "./battle-store.js";
import { migrationsFolder } from "./migrations-folder.js";
import * as tables from "./postgres-schema.js";
import { SqlStore } from "./sql-store.js";
import { postgresFault } from "./store-faults.js";

/** Any number: servers that start together migrate one after the other. */
const migrationLock = 2305_15542;

/**
 * Battles in a Postgres server, which several of ours may share.
 * @param url as in `postgres://user:password@host:5432/database`.
 * @throws ToastError `store_failed`
 */
export async function openPostgresStore(url: string): Promise<BattleStore> {
  const pool = new pg.Pool({
    connectionString: url,
    max: 10,
    connectionTimeoutMillis: 10_000,
    // A server that hangs is as good as one that is away.
    query_timeout: 30_000,
    // A vote is acknowledged when it is on the server's disk, whatever the server's default is.
    options: "-c synchronous_commit=on",
  });
  // A connection that is lost while it is idle must not end the process; the next query opens another.
  pool.on("error", () => {});
  const run = async <Value>(work: () => Promise<Value>): Promise<Value> => {
    try {
      return await work();
    } catch (error) {
      throw postgresFault(error);
    }
  };
  try {
    await run(() => migrated(pool));
  } catch (error) {
    await pool.end();
    throw error;
  }
  return new SqlStore({
    database: drizzle({ client: pool }),
    tables,
    run,
    tryWrite: () => refuseReadOnly(pool),
    close: () => pool.end(),
  });
}

/** A standby, or a server that an operator has set so. Whether its disk is full cannot be asked. */
async function refuseReadOnly(pool: pg.Pool): Promise<void> {
  const { rows } = await pool.query<{ transaction_read_only: string }>("show transaction_read_only");
  if (rows[0]?.transaction_read_only !== "on") return;
  throw Object.assign(new Error("transactions are read-only"), { code: "25006" });
}

async function migrated(pool: pg.Pool): Promise<void> {
  const client = await pool.connect();
  // A connection that is lost while it is held says so here as well as to whoever waits for it.
  client.on("error", () => {});
  try {
    await client.query("select pg_advisory_lock($1)", [migrationLock]);
    await migrate(drizzle({ client }), { migrationsFolder: migrationsFolder("postgres") });
  } finally {
    await client.query("select pg_advisory_unlock($1)", [migrationLock]).catch(() => {});
    client.release();
  }
}
