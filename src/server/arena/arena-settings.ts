import type { Arena } from "../../arena/arena.js";
import type { Pace } from "../../arena/battles/two-answers.js";
import { type CallerLimiter, RateLimiter, type RateLimits } from "../edge/rate-limiter.js";

/** What the arena's routes need beside the server's own. */
export interface ArenaSettings {
  readonly arena: Arena;
  readonly pace: Pace;
  readonly limits: ArenaLimits;
}

/** Of one client in a minute. */
export interface ArenaLimits {
  readonly battles: CallerLimiter;
  readonly votes: CallerLimiter;
}

/**
 * @param battlesPerMinute votes may be twice as many.
 * @param limiterOf default: limiters that count in this process.
 */
export function arenaLimits(
  battlesPerMinute: number,
  limiterOf: (name: string, limits: RateLimits) => CallerLimiter = (_, limits) => new RateLimiter(limits),
): ArenaLimits {
  const perMinute = (name: string, requestsPerMinute: number) =>
    limiterOf(name, { requestsPerMinute, tokensPerMinute: null, maxConcurrent: null });
  return { battles: perMinute("battles", battlesPerMinute), votes: perMinute("votes", 2 * battlesPerMinute) };
}
