import type { Battle, BattleRecord, BattleSource, BattleVote } from "../battle-record.js";
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

/**
 * Battles and votes, which are added and never changed. What a promise has resolved for survives the process and its
 * machine.
 */
export interface BattleStore {
  /** @param ballotHash what a vote's ballot has to hash to; null: no vote is taken. */
  addBattle(battle: Battle, ballotHash: string | null): Promise<void>;
  /** @throws ToastError `already_voted` */
  addVote(battleId: string, vote: BattleVote): Promise<void>;
  importRecords(records: readonly BattleRecord[]): Promise<ImportCount>;
  find(battleId: string): Promise<{ readonly record: BattleRecord; readonly ballotHash: string | null } | null>;
  /** Those that were voted on, in the order of their battles. */
  matches(filter: BattleFilter): Promise<readonly Match[]>;
  /** Of battles that were voted on, sorted. */
  categories(): Promise<readonly string[]>;
  /** Oldest first, read page by page. */
  records(filter: BattleFilter): AsyncIterable<BattleRecord>;
  close(): Promise<void>;
}
