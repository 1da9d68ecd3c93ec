import { rename } from "node:fs/promises";
import { join } from "node:path";
import { PGlite } from "@electric-sql/pglite";
import { drizzle } from "drizzle-orm/pglite";
import { migrate } from "drizzle-orm/pglite/migrator";
import { z } from "zod";
import { type Battle, type BattleRecord, type BattleVote, recordFromWire, toWire } from "../battle-record.js";
import type { BattleStore } from "./battle-store.js";
import { lockFolder } from "./folder-lock.js";
import { Journal } from "./journal.js";
import { migrationsFolder } from "./migrations-folder.js";
import { SqlStore } from "./sql-store.js";

const entrySchema = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("battle"), record: z.unknown(), ballotHash: z.string().nullable() }),
  z.object({ kind: z.literal("vote"), battleId: z.string(), vote: z.unknown() }),
]);

/**
 * Battles in PGlite, Postgres inside this process, in a folder. PGlite runs with fsync off (`-F`) and its file system
 * has no fsync at all, so what it calls committed is in the kernel's hands: safe from kill -9, not from a power cut,
 * which may even leave it unreadable. So each battle and vote also goes into a journal that is synced before anything
 * is acknowledged (`journal.jsonl`); at the start what the database lacks is replayed, and a database that cannot be
 * opened is put aside and built again.
 * @throws ToastError `store_failed`
 */
export async function openEmbeddedStore(folder: string): Promise<BattleStore> {
  const unlock = await lockFolder(folder);
  try {
    const kept = new Map<string, KeptBattle>();
    const journal = await Journal.open(join(folder, "journal.jsonl"), (entry) => keep(kept, entry));
    const store = await openDatabase(join(folder, "postgres"));
    await replay(store, kept);
    return new JournaledStore(store, journal, unlock);
  } catch (error) {
    await unlock();
    throw error;
  }
}

interface KeptBattle {
  readonly record: BattleRecord;
  readonly ballotHash: string | null;
}

function keep(kept: Map<string, KeptBattle>, value: unknown): void {
  const entry = entrySchema.parse(value);
  if (entry.kind === "battle") {
    const record = recordFromWire(entry.record, "The arena's journal");
    kept.set(record.id, { record, ballotHash: entry.ballotHash });
    return;
  }
  const battle = kept.get(entry.battleId);
  if (battle === undefined || battle.record.vote !== null) return;
  const { vote } = recordFromWire({ ...toWire(battle.record), vote: entry.vote }, "The arena's journal");
  kept.set(entry.battleId, { ...battle, record: { ...battle.record, vote } });
}

async function openDatabase(folder: string): Promise<SqlStore> {
  try {
    return await startPostgres(folder);
  } catch {
    // The journal has everything; the damaged files are kept for whoever wants to look at them.
    await rename(folder, `${folder}-damaged-${new Date().toISOString().replaceAll(":", "-")}`).catch(() => {});
    return startPostgres(folder);
  }
}

async function startPostgres(folder: string): Promise<SqlStore> {
  const client = await PGlite.create(folder);
  try {
    const database = drizzle({ client });
    await migrate(database, { migrationsFolder });
    return new SqlStore(database, () => client.close());
  } catch (error) {
    await client.close();
    throw error;
  }
}

async function replay(store: SqlStore, kept: ReadonlyMap<string, KeptBattle>): Promise<void> {
  const known = await store.known([...kept.keys()]);
  const missing = [...kept.values()].filter(
    ({ record }) => !known.battles.has(record.id) || (record.vote !== null && !known.votes.has(record.id)),
  );
  await store.insertMissing(missing);
}

/**
 * The database decides what may be added, the journal makes it last, and only then the caller hears of it. What is in
 * the database alone was never acknowledged.
 */
class JournaledStore implements BattleStore {
  readonly #store: SqlStore;
  readonly #journal: Journal;
  readonly #unlock: () => Promise<void>;

  constructor(store: SqlStore, journal: Journal, unlock: () => Promise<void>) {
    this.#store = store;
    this.#journal = journal;
    this.#unlock = unlock;
  }

  async addBattle(battle: Battle, ballotHash: string | null): Promise<void> {
    await this.#store.addBattle(battle, ballotHash);
    await this.#journal.append({ kind: "battle", record: toWire({ ...battle, vote: null }), ballotHash });
  }

  async addVote(battleId: string, vote: BattleVote): Promise<void> {
    await this.#store.addVote(battleId, vote);
    await this.#journal.append({ kind: "vote", battleId, vote: toWire(vote) });
  }

  async importRecords(records: readonly BattleRecord[]) {
    const before = await this.#store.known(records.map(({ id }) => id));
    const count = await this.#store.importRecords(records);
    const added = records.filter(({ id }) => !before.battles.has(id));
    const voted = records.filter(({ id, vote }) => before.battles.has(id) && vote !== null && !before.votes.has(id));
    await Promise.all([
      ...added.map((record) => this.#journal.append({ kind: "battle", record: toWire(record), ballotHash: null })),
      ...voted.map(({ id, vote }) => this.#journal.append({ kind: "vote", battleId: id, vote: toWire(vote ?? {}) })),
    ]);
    return count;
  }

  find(battleId: string) {
    return this.#store.find(battleId);
  }

  matches(filter: Parameters<BattleStore["matches"]>[0]) {
    return this.#store.matches(filter);
  }

  categories() {
    return this.#store.categories();
  }

  records(filter: Parameters<BattleStore["records"]>[0]) {
    return this.#store.records(filter);
  }

  async close(): Promise<void> {
    await this.#journal.close();
    await this.#store.close();
    await this.#unlock();
  }
}
