import { and, asc, eq, gt, inArray, isNotNull, or, type SQL, type SQLWrapper, sql } from "drizzle-orm";
import type { PgDatabase, PgQueryResultHKT } from "drizzle-orm/pg-core";
import { ToastError } from "../../errors.js";
import {
  type Battle,
  type BattleRecord,
  type BattleTurn,
  type BattleVote,
  charactersOf,
  placesOf,
} from "../battle-record.js";
import type { Match, Winner } from "../ratings/match.js";
import { type BattleFilter, type BattleStore, type ImportCount, pageRows, type StoredBattle } from "./battle-store.js";
import type * as tables from "./postgres-schema.js";

/** What a driver is to Drizzle. */
export type Database = PgDatabase<PgQueryResultHKT>;
export type Tables = typeof tables;

export interface SqlStoreOptions {
  /** SQLite's has another type and the same methods; the same for its tables. */
  readonly database: Database;
  readonly tables: Tables;
  /** Runs statements that belong together, in the order that the driver needs; says what their failures are told as. */
  readonly run: <Value>(work: () => Promise<Value>) => Promise<Value>;
  readonly tryWrite: () => Promise<unknown>;
  readonly close: () => Promise<void>;
}

/** Rows of an INSERT: SQLite takes 32,766 parameters a statement, Postgres 65,535. */
const batchRows = 200;

/** Battles, their turns and votes in any database that Drizzle speaks to: the same statements for both kinds. */
export class SqlStore implements BattleStore {
  readonly #database: Database;
  readonly #tables: Tables;
  readonly #run: SqlStoreOptions["run"];
  readonly #tryWrite: () => Promise<unknown>;
  readonly #close: () => Promise<void>;

  constructor({ database, tables, run, tryWrite, close }: SqlStoreOptions) {
    this.#database = database;
    this.#tables = tables;
    this.#run = run;
    this.#tryWrite = tryWrite;
    this.#close = close;
  }

  async tryWrite(): Promise<void> {
    await this.#run(this.#tryWrite);
  }

  async addBattle(battle: Battle, ballotHash: string | null): Promise<void> {
    await this.#run(() => this.#database.insert(this.#tables.battles).values(battleRow(battle, ballotHash)));
  }

  async addTurn(battleId: string, number: number, turn: BattleTurn): Promise<void> {
    const { turns, votes } = this.#tables;
    const done = await this.#run(() =>
      this.#database.transaction(async (transaction) => {
        const voted = await transaction.select({ id: votes.battleId }).from(votes).where(eq(votes.battleId, battleId));
        if (voted.length > 0) return "voted";
        const added = await transaction
          .insert(turns)
          .values(turnRow(battleId, number, turn))
          .onConflictDoNothing()
          .returning({ number: turns.number });
        return added.length === 0 ? "taken" : "added";
      }),
    );
    if (done === "voted") {
      throw new ToastError("already_voted", "This battle has its vote already: it takes no further turn.");
    }
    if (done === "taken") {
      throw new ToastError("battle_changed", "This battle has gone on elsewhere meanwhile: this turn was not stored.");
    }
  }

  async addVote(battleId: string, vote: BattleVote): Promise<void> {
    const { votes } = this.#tables;
    const added = await this.#run(() =>
      this.#database
        .insert(votes)
        .values({ battleId, ...vote })
        .onConflictDoNothing()
        .returning({ id: votes.battleId }),
    );
    if (added.length === 0) {
      throw new ToastError("already_voted", "This battle has its vote already; each battle takes one.");
    }
  }

  importRecords(records: readonly BattleRecord[]): Promise<ImportCount> {
    return this.insertMissing(records.map((record) => ({ record, ballotHash: null })));
  }

  /** Adds what is not there, by id, all or nothing; keeps what is. */
  async insertMissing(entries: readonly StoredBattle[]): Promise<ImportCount> {
    const { battles, turns, votes } = this.#tables;
    const imported = await this.#run(() =>
      this.#database.transaction(async (transaction) => {
        let added = 0;
        for (let from = 0; from < entries.length; from += batchRows) {
          const batch = entries.slice(from, from + batchRows);
          const rows = await transaction
            .insert(battles)
            .values(batch.map(({ record, ballotHash }) => battleRow(record, ballotHash)))
            .onConflictDoNothing()
            .returning({ id: battles.id });
          added += rows.length;
          const fresh = new Set(rows.map(({ id }) => id));
          const said = batch.flatMap(({ record }) => (fresh.has(record.id) ? turnRows(record) : []));
          for (let at = 0; at < said.length; at += batchRows) {
            await transaction.insert(turns).values(said.slice(at, at + batchRows));
          }
          const voted = batch.flatMap(({ record: { id, vote } }) => (vote === null ? [] : [{ battleId: id, ...vote }]));
          if (voted.length > 0) await transaction.insert(votes).values(voted).onConflictDoNothing();
        }
        return added;
      }),
    );
    return { imported, known: entries.length - imported };
  }

  async find(battleId: string): Promise<StoredBattle | null> {
    const [row] = await this.#run(() => this.#select(eq(this.#tables.battles.id, battleId), 1));
    return row === undefined ? null : { record: recordOf(row), ballotHash: row.battle.ballotHash };
  }

  async matches(filter: BattleFilter): Promise<readonly Match[]> {
    const { battles, turns, votes, places } = this.#tables;
    const whole = (first: SQLWrapper, later: SQLWrapper) =>
      sql<
        number | null
      >`${first} + coalesce((select sum(${later}) from ${turns} where ${turns.battleId} = ${battles.id}), 0)`.mapWith(
        Number,
      );
    const rows = await this.#run(() =>
      this.#database
        .select({
          left: battles.leftContestant,
          right: battles.rightContestant,
          leftCharacters: whole(battles.leftCharacters, turns.leftCharacters),
          rightCharacters: whole(battles.rightCharacters, turns.rightCharacters),
          winner: votes.winner,
          places,
        })
        .from(battles)
        .innerJoin(votes, eq(votes.battleId, battles.id))
        .where(this.#conditionOf(filter))
        .orderBy(asc(battles.createdAt), asc(battles.id)),
    );
    return rows.map(({ winner, places, ...match }) => ({
      ...match,
      winner: winner as Winner,
      places: placesOf({ winner: winner as Winner, details: { places } }),
    }));
  }

  async categories(): Promise<readonly string[]> {
    const { battles, votes } = this.#tables;
    const rows = await this.#run(() =>
      this.#database
        .selectDistinct({ category: battles.category })
        .from(battles)
        .innerJoin(votes, eq(votes.battleId, battles.id))
        .where(isNotNull(battles.category))
        .orderBy(asc(battles.category)),
    );
    return rows.flatMap(({ category }) => (category === null ? [] : [category]));
  }

  async page(filter: BattleFilter, after: BattleRecord | null): Promise<readonly BattleRecord[]> {
    const { battles } = this.#tables;
    const behind =
      after === null
        ? undefined
        : or(
            gt(battles.createdAt, after.createdAt),
            and(eq(battles.createdAt, after.createdAt), gt(battles.id, after.id)),
          );
    const rows = await this.#run(() => this.#select(and(this.#conditionOf(filter), behind), pageRows));
    return rows.map(recordOf);
  }

  close(): Promise<void> {
    return this.#close();
  }

  async #select(condition: SQL | undefined, limit: number): Promise<readonly Row[]> {
    const { battles, turns, votes } = this.#tables;
    const rows = await this.#database
      .select({ battle: battles, vote: votes })
      .from(battles)
      .leftJoin(votes, eq(votes.battleId, battles.id))
      .where(condition)
      .orderBy(asc(battles.createdAt), asc(battles.id))
      .limit(limit);
    if (rows.length === 0) return [];
    const ids = rows.map(({ battle }) => battle.id);
    const said = await this.#database
      .select()
      .from(turns)
      .where(inArray(turns.battleId, ids))
      .orderBy(asc(turns.battleId), asc(turns.number));
    const byBattle = new Map<string, (typeof said)[number][]>(ids.map((id) => [id, []]));
    for (const turn of said) byBattle.get(turn.battleId)?.push(turn);
    return rows.map((row) => ({ ...row, turns: byBattle.get(row.battle.id) ?? [] }));
  }

  #conditionOf({ category, source, judge }: BattleFilter): SQL | undefined {
    const { battles, votes } = this.#tables;
    return and(
      category === undefined ? undefined : eq(battles.category, category),
      source === undefined ? undefined : eq(battles.source, source),
      judge === undefined ? undefined : eq(votes.judge, judge),
    );
  }
}

function battleRow(battle: Battle, ballotHash: string | null): Tables["battles"]["$inferInsert"] {
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

function turnRows({ id, turns }: Battle): Tables["turns"]["$inferInsert"][] {
  return turns.map((turn, at) => turnRow(id, at + 2, turn));
}

function turnRow(battleId: string, number: number, turn: BattleTurn): Tables["turns"]["$inferInsert"] {
  return {
    battleId,
    number,
    ...turn,
    leftCharacters: charactersOf(turn.left),
    rightCharacters: charactersOf(turn.right),
  };
}

interface Row {
  readonly battle: Tables["battles"]["$inferSelect"];
  readonly turns: readonly Tables["turns"]["$inferSelect"][];
  readonly vote: Tables["votes"]["$inferSelect"] | null;
}

function recordOf({ battle, turns, vote }: Row): BattleRecord {
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
    turns: turns.map(({ createdAt, prompt, left, right }) => ({ createdAt, prompt, left, right })),
    vote:
      vote === null
        ? null
        : { winner: vote.winner as Winner, judge: vote.judge, votedAt: vote.votedAt, details: vote.details ?? null },
  };
}
