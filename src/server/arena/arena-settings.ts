import type { Arena } from "../../arena/arena.js";
import type { Pace } from "../../arena/battles/two-answers.js";
import { RateLimiter } from "../edge/rate-limiter.js";

/** What the arena's routes need beside the server's own. */
export interface ArenaSettings {
  readonly arena: Arena;
  readonly pace: Pace;
  readonly limits: ArenaLimits;
}

/** Of one client in a minute. */
export interface ArenaLimits {
  readonly battles: RateLimiter;
  readonly votes: RateLimiter;
}

/** @param battlesPerMinute votes may be twice as many. */
export function arenaLimits(battlesPerMinute: number): ArenaLimits {
  const perMinute = (requestsPerMinute: number) =>
    new RateLimiter({ requestsPerMinute, tokensPerMinute: null, maxConcurrent: null });
  return { battles: perMinute(battlesPerMinute), votes: perMinute(2 * battlesPerMinute) };
}
