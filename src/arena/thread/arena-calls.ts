import type { ErrorData } from "../../errors.js";
import type { ArenaBoard } from "../boards.js";
import type { BattleFilter, BattleStore } from "../store/battle-store.js";

/** What the arena's thread is asked for: its store's methods, and whole boards. */
export interface ArenaCalls extends Omit<BattleStore, "close"> {
  /** Resolves once the store is open. */
  opened(): Promise<void>;
  board(filter: BattleFilter): Promise<ArenaBoard>;
}

export type CallName = keyof ArenaCalls;

export type ToArena =
  | { readonly kind: "call"; readonly id: number; readonly name: CallName; readonly args: readonly unknown[] }
  | { readonly kind: "close" };

export type FromArena =
  | { readonly kind: "done"; readonly id: number; readonly value: unknown }
  /** `data`: null where it is no ToastError. `cause`: for the log. */
  | { readonly kind: "failed"; readonly id: number; readonly data: ErrorData | null; readonly cause: Error | null };
