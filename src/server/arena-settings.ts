import type { Arena } from "../arena/arena.js";
import type { Pace } from "../arena/battles/two-answers.js";

/** What the arena's routes need beside the server's own. */
export interface ArenaSettings {
  readonly arena: Arena;
  readonly pace: Pace;
  /** Of one client; votes may be twice as many. */
  readonly battlesPerMinute: number;
}
