import type { Battle, BattleRecord, BattleSource, BattleTurn, BattleVote } from "../battle-record.js";
import type { Match } from "../ratings/match.js";

export interface BattleFilter {
  readonly category?: string | undefined;
  readonly source?: BattleSource | undefined;
  readonly judge?: string | undefined;
}

export interface ImportCount {
  readonly imported: number;
  /** Battles that were there already; nothing of them is changed, but a vote they lacked is taken. */
  readonly known: number;
}

export interface StoredBattle {
  readonly record: BattleRecord;
  /** What a vote's ballot has to hash to; null: no vote is taken. */
  readonly ballotHash: string | null;
}

/**
 * Battles and votes, which are added and never changed. What a promise has resolved for survives the process and its
 * machine; of what it was rejected for nothing is left. All methods throw ToastError `store_failed` when the place
 * where it lies is full, locked, away or not to be written; what was stored before can still be read on a full disk.
 */
export interface BattleStore {
  /** Whether something can be stored now: tried, in as far as that can be undone. */
  tryWrite(): Promise<void>;
  /** @param ballotHash what a vote's ballot has to hash to; null: no vote is taken. */
  addBattle(battle: Battle, ballotHash: string | null): Promise<void>;
  /**
   * @param number of the turn: 2 for the first one behind the battle's own.
   * @throws ToastError `already_voted`, or `battle_changed` where there is a turn of that number.
   */
  addTurn(battleId: string, number: number, turn: BattleTurn): Promise<void>;
  /** @throws ToastError `already_voted` */
  addVote(battleId: string, vote: BattleVote): Promise<void>;
  importRecords(records: readonly BattleRecord[]): Promise<ImportCount>;
  find(battleId: string): Promise<StoredBattle | null>;
  /** Those that were voted on, in the order of their battles. */
  matches(filter: BattleFilter): Promise<readonly Match[]>;
  /** Of battles that were voted on, sorted. */
  categories(): Promise<readonly string[]>;
  /** Oldest first, from the one behind `after` on (null: from the first); at most {@link pageRows}. */
  page(filter: BattleFilter, after: BattleRecord | null): Promise<readonly BattleRecord[]>;
  close(): Promise<void>;
}

/** Records that are read at a time. */
export const pageRows = 200;

/** All records, oldest first, read page by page. */
export async function* recordsOf(
  store: Pick<BattleStore, "page">,
  filter: BattleFilter,
): AsyncGenerator<BattleRecord, void, undefined> {
  let after: BattleRecord | null = null;
  for (;;) {
    const records: readonly BattleRecord[] = await store.page(filter, after);
    yield* records;
    after = records.at(-1) ?? null;
    if (records.length < pageRows) return;
  }
}
