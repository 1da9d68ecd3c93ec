import { drizzle } from "drizzle-orm/node-postgres";
import { migrate } from "drizzle-orm/node-postgres/migrator";
import pg from "pg";
import { ToastError } from "../../errors.js";
import type { BattleStore } from "./battle-store.js";
import { migrationsFolder } from "./migrations-folder.js";
import { SqlStore } from "./sql-store.js";

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
    // A vote is acknowledged when it is on the server's disk, whatever the server's default is.
    options: "-c synchronous_commit=on",
  });
  // A connection that is lost while it is idle must not end the process; the next query opens another.
  pool.on("error", () => {});
  try {
    const client = await pool.connect();
    try {
      await client.query("select pg_advisory_lock($1)", [migrationLock]);
      await migrate(drizzle({ client }), { migrationsFolder });
    } finally {
      await client.query("select pg_advisory_unlock($1)", [migrationLock]).catch(() => {});
      client.release();
    }
  } catch (cause) {
    await pool.end();
    const reason =
      cause instanceof Error ? cause.message || String((cause as NodeJS.ErrnoException).code) : String(cause);
    throw new ToastError("store_failed", `The arena's database (DATABASE_URL) cannot be used: ${reason}.`, { cause });
  }
  return new SqlStore(drizzle({ client: pool }), () => pool.end());
}
