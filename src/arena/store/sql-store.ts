import { and, asc, eq, gt, inArray, isNotNull, or, type SQL, sql } from "drizzle-orm";
import type { PgDatabase, PgQueryResultHKT } from "drizzle-orm/pg-core";
import { ToastError } from "../../errors.js";
import { type Battle, type BattleRecord, type BattleVote, charactersOf, placesOf } from "../battle-record.js";
import type { Match, Winner } from "../ratings/match.js";
import type { BattleFilter, BattleStore, ImportCount } from "./battle-store.js";
import { battles, votes } from "./schema.js";

/** What both drivers are to Drizzle. */
export type Database = PgDatabase<PgQueryResultHKT>;

/** Rows of an INSERT, and of a page of an export: Postgres takes 65,535 parameters a statement. */
const batchRows = 200;

/** Battles and votes in any Postgres. */
export class SqlStore implements BattleStore {
  readonly #database: Database;
  readonly #close: () => Promise<void>;

  constructor(database: Database, close: () => Promise<void>) {
    this.#database = database;
    this.#close = close;
  }

  async addBattle(battle: Battle, ballotHash: string | null): Promise<void> {
    await this.#database.insert(battles).values(battleRow(battle, ballotHash));
  }

  async addVote(battleId: string, vote: BattleVote): Promise<void> {
    const added = await this.#database
      .insert(votes)
      .values({ battleId, ...vote })
      .onConflictDoNothing()
      .returning({ id: votes.battleId });
    if (added.length === 0) {
      throw new ToastError("already_voted", "This battle has its vote already; each battle takes one.");
    }
  }

  async importRecords(records: readonly BattleRecord[]): Promise<ImportCount> {
    return this.insertMissing(records.map((record) => ({ record, ballotHash: null })));
  }

  /** Adds what is not there, by id, all or nothing; keeps what is. */
  async insertMissing(
    entries: readonly { readonly record: BattleRecord; readonly ballotHash: string | null }[],
  ): Promise<ImportCount> {
    let imported = 0;
    await this.#database.transaction(async (transaction) => {
      for (let from = 0; from < entries.length; from += batchRows) {
        const batch = entries.slice(from, from + batchRows);
        const added = await transaction
          .insert(battles)
          .values(batch.map(({ record, ballotHash }) => battleRow(record, ballotHash)))
          .onConflictDoNothing()
          .returning({ id: battles.id });
        imported += added.length;
        const voted = batch.flatMap(({ record: { id, vote } }) => (vote === null ? [] : [{ battleId: id, ...vote }]));
        if (voted.length > 0) await transaction.insert(votes).values(voted).onConflictDoNothing();
      }
    });
    return { imported, known: entries.length - imported };
  }

  /** @returns those of the ids that have a battle, and those that have a vote. */
  async known(ids: readonly string[]): Promise<{ battles: ReadonlySet<string>; votes: ReadonlySet<string> }> {
    const found = { battles: new Set<string>(), votes: new Set<string>() };
    for (let from = 0; from < ids.length; from += 10_000) {
      const rows = await this.#database
        .select({ id: battles.id, voted: votes.battleId })
        .from(battles)
        .leftJoin(votes, eq(votes.battleId, battles.id))
        .where(inArray(battles.id, ids.slice(from, from + 10_000)));
      for (const { id, voted } of rows) {
        found.battles.add(id);
        if (voted !== null) found.votes.add(id);
      }
    }
    return found;
  }

  async find(battleId: string) {
    const rows = await this.#select(eq(battles.id, battleId), 1);
    const row = rows[0];
    return row === undefined ? null : { record: recordOf(row), ballotHash: row.battle.ballotHash };
  }

  async matches(filter: BattleFilter): Promise<readonly Match[]> {
    const rows = await this.#database
      .select({
        left: battles.leftContestant,
        right: battles.rightContestant,
        leftCharacters: battles.leftCharacters,
        rightCharacters: battles.rightCharacters,
        winner: votes.winner,
        // A judge's own words stay where they are.
        places: sql<unknown>`${votes.details} -> 'places'`,
      })
      .from(battles)
      .innerJoin(votes, eq(votes.battleId, battles.id))
      .where(conditionOf(filter))
      .orderBy(asc(battles.createdAt), asc(battles.id));
    return rows.map(({ winner, places, ...match }) => ({
      ...match,
      winner: winner as Winner,
      places: placesOf({ winner: winner as Winner, details: { places } }),
    }));
  }

  async categories(): Promise<readonly string[]> {
    const rows = await this.#database
      .selectDistinct({ category: battles.category })
      .from(battles)
      .innerJoin(votes, eq(votes.battleId, battles.id))
      .where(isNotNull(battles.category))
      .orderBy(asc(battles.category));
    return rows.flatMap(({ category }) => (category === null ? [] : [category]));
  }

  async *records(filter: BattleFilter): AsyncGenerator<BattleRecord, void, undefined> {
    let after: SQL | undefined;
    for (;;) {
      const rows = await this.#select(and(conditionOf(filter), after), batchRows);
      for (const row of rows) yield recordOf(row);
      const last = rows.at(-1)?.battle;
      if (last === undefined || rows.length < batchRows) return;
      after = or(
        gt(battles.createdAt, last.createdAt),
        and(eq(battles.createdAt, last.createdAt), gt(battles.id, last.id)),
      );
    }
  }

  close(): Promise<void> {
    return this.#close();
  }

  #select(condition: SQL | undefined, limit: number) {
    return this.#database
      .select({ battle: battles, vote: votes })
      .from(battles)
      .leftJoin(votes, eq(votes.battleId, battles.id))
      .where(condition)
      .orderBy(asc(battles.createdAt), asc(battles.id))
      .limit(limit);
  }
}

function conditionOf({ category, source, judge }: BattleFilter): SQL | undefined {
  return and(
    category === undefined ? undefined : eq(battles.category, category),
    source === undefined ? undefined : eq(battles.source, source),
    judge === undefined ? undefined : eq(votes.judge, judge),
  );
}

function battleRow(battle: Battle, ballotHash: string | null): typeof battles.$inferInsert {
  return {
    id: battle.id,
    source: battle.source,
    createdAt: battle.createdAt,
    category: battle.category,
    messages: battle.messages,
    parameters: battle.parameters,
    seed: battle.seed,
    leftContestant: battle.left.contestant,
    rightContestant: battle.right.contestant,
    leftCharacters: charactersOf(battle.left),
    rightCharacters: charactersOf(battle.right),
    left: battle.left,
    right: battle.right,
    ballotHash,
  };
}

interface Row {
  readonly battle: typeof battles.$inferSelect;
  readonly vote: typeof votes.$inferSelect | null;
}

function recordOf({ battle, vote }: Row): BattleRecord {
  return {
    id: battle.id,
    source: battle.source as BattleRecord["source"],
    createdAt: battle.createdAt,
    category: battle.category,
    messages: battle.messages as BattleRecord["messages"],
    parameters: battle.parameters,
    seed: battle.seed,
    left: battle.left,
    right: battle.right,
    vote:
      vote === null
        ? null
        : { winner: vote.winner as Winner, judge: vote.judge, votedAt: vote.votedAt, details: vote.details ?? null },
  };
}
