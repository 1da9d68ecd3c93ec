import { ToastError } from "../errors.js";
import { type Leaderboard, leaderboardOf } from "./ratings/leaderboard.js";
import type { BattleFilter, BattleStore } from "./store/battle-store.js";

export interface ArenaBoard {
  readonly categories: readonly string[];
  readonly leaderboard: Leaderboard;
  /** When its votes were read. */
  readonly computedAt: Date;
  /** Milliseconds that reading and computing held their thread, or waited for the database. */
  readonly tookMs: number;
}

/** What the votes say now. Holds its thread for as long as 1,000 rounds of the bootstrap take. */
export async function boardOf(
  store: Pick<BattleStore, "matches" | "categories">,
  filter: BattleFilter,
): Promise<ArenaBoard> {
  const computedAt = new Date();
  const begun = performance.now();
  const [matches, categories] = await Promise.all([store.matches(filter), store.categories()]);
  const leaderboard = leaderboardOf(matches);
  return { categories, leaderboard, computedAt, tookMs: performance.now() - begun };
}

/** A board without new votes is as good as new for so long; another server may take votes for the same store. */
const keptMs = 60_000;
/** Pauses between computations that votes ask for, in times of what the last one took: a tenth of a core at most. */
const pausePerWork = 9;
const longestPauseMs = 60_000;
const mostKept = 50;
const mostWaiting = 16;

interface Entry {
  board: ArenaBoard | null;
  /** Of the clock; what was counted before it is in the board. */
  readAt: number;
  computing: Promise<ArenaBoard> | null;
}

/**
 * The boards that were computed last, by filter. A board is computed by whoever looks first after a vote, or when it is
 * a minute old; whoever looks while that runs, or in the pause that large boards need, gets the last one, which says
 * when it was made.
 */
export class Boards {
  readonly #compute: (filter: BattleFilter) => Promise<ArenaBoard>;
  readonly #now: () => number;
  /** The least recently looked at first. */
  readonly #entries = new Map<string, Entry>();
  #votedAt = Number.NEGATIVE_INFINITY;
  #restsUntil = Number.NEGATIVE_INFINITY;
  #waiting = 0;

  /** @param now milliseconds, of a clock that never goes back. */
  constructor(compute: (filter: BattleFilter) => Promise<ArenaBoard>, now: () => number = () => performance.now()) {
    this.#compute = compute;
    this.#now = now;
  }

  /** @throws ToastError `store_failed`, `server_overloaded` */
  look(filter: BattleFilter): Promise<ArenaBoard> {
    const key = JSON.stringify([filter.category, filter.source, filter.judge]);
    const entry = this.#entries.get(key) ?? { board: null, readAt: Number.NEGATIVE_INFINITY, computing: null };
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    // A few categories at most are looked at between two votes; a client that makes them up must not fill the memory.
    const [oldest] = this.#entries.keys();
    if (this.#entries.size > mostKept && oldest !== undefined) this.#entries.delete(oldest);
    const { board, computing } = entry;
    if (computing !== null) return board === null ? computing : Promise.resolve(board);
    if (board !== null && (this.#isCurrent(entry) || this.#now() < this.#restsUntil)) return Promise.resolve(board);
    return this.#renew(entry, filter);
  }

  /** Votes came: boards of before them are outdated. */
  outdate(): void {
    this.#votedAt = this.#now();
  }

  #isCurrent({ readAt }: Entry): boolean {
    return readAt > this.#votedAt && this.#now() - readAt < keptMs;
  }

  #renew(entry: Entry, filter: BattleFilter): Promise<ArenaBoard> {
    if (this.#waiting >= mostWaiting) {
      const message = `The leaderboard is being computed for ${mostWaiting} other filters. Try again in a moment.`;
      return Promise.reject(new ToastError("server_overloaded", message));
    }
    this.#waiting++;
    const begun = this.#now();
    entry.computing = this.#compute(filter)
      .then((board) => {
        entry.board = board;
        entry.readAt = begun;
        this.#restsUntil = this.#now() + Math.min(pausePerWork * board.tookMs, longestPauseMs);
        return board;
      })
      .finally(() => {
        entry.computing = null;
        this.#waiting--;
      });
    return entry.computing;
  }
}
