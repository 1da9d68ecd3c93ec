import { createHash } from "node:crypto";
import pg from "pg";
import { RateLimiterPostgres, RateLimiterRes } from "rate-limiter-flexible";
import {
  type Admission,
  type CallerLimiter,
  headerLine,
  RateLimiter,
  type RateLimits,
  rateRefusal,
} from "./rate-limiter.js";
import type { Log } from "./request-log.js";

/** A request waits no longer than this for a database that hangs. */
const patienceMs = 2_000;
/** How long a database that failed is left alone; each server counts by itself meanwhile. */
const awayMs = 5_000;
const minuteSeconds = 60;
const table = "rate_limits";
/** Another one than the arena's. */
const tableLock = 2305_15543;

/** One database, and the limiters that count in it. */
export interface SharedLimits {
  /** @param name tells its counts from those of other limiters; the same in every server. */
  limiterOf(name: string, limits: RateLimits): CallerLimiter;
  close(): Promise<void>;
}

/** Connects when the first caller is counted. @param url of a Postgres server, the arena's. */
export function shareLimits(url: string, log: Log): SharedLimits {
  const pool = new pg.Pool({
    connectionString: url,
    max: 4,
    connectionTimeoutMillis: patienceMs,
    query_timeout: patienceMs,
  });
  // A connection that is lost while it is idle must not end the process; the next query opens another.
  pool.on("error", () => {});
  return {
    limiterOf: (name, limits) =>
      limits.requestsPerMinute === null && limits.tokensPerMinute === null
        ? new RateLimiter(limits)
        : new SharedRateLimiter(name, limits, pool, log),
    close: () => pool.end(),
  };
}

interface Counters {
  readonly requests: RateLimiterPostgres | null;
  readonly tokens: RateLimiterPostgres | null;
}

/**
 * {@link RateLimiter} over several servers: requests and tokens are counted in Postgres, by the minute that begins with
 * a caller's first. What runs at the same time is counted by each server for itself, and so is everything as long as
 * the database does not answer: a model is served whatever becomes of it.
 */
class SharedRateLimiter implements CallerLimiter {
  readonly limits: RateLimits;
  readonly #name: string;
  readonly #pool: pg.Pool;
  readonly #log: Log;
  readonly #running: RateLimiter;
  readonly #alone: RateLimiter;
  #counters: Promise<Counters> | null = null;
  #awayUntil = Number.NEGATIVE_INFINITY;
  /** One after the other: each goes on from the minute that the one before has left. */
  #charges: Promise<unknown> = Promise.resolve();

  constructor(name: string, limits: RateLimits, pool: pg.Pool, log: Log) {
    this.#name = name;
    this.limits = limits;
    this.#pool = pool;
    this.#log = log;
    this.#running = new RateLimiter({ ...limits, requestsPerMinute: null, tokensPerMinute: null });
    this.#alone = new RateLimiter({ ...limits, maxConcurrent: null });
  }

  async admit(caller: string): Promise<Admission> {
    const place = this.#running.admit(caller);
    if (place.kind === "refused") return place;
    const admission =
      (await this.#counted((counters) => this.#admitCounted(counters, keyOf(caller)))) ?? this.#alone.admit(caller);
    if (admission.kind === "admitted") return { ...admission, release: place.release };
    place.release();
    return admission;
  }

  charge(caller: string, tokens: number): void {
    if (this.limits.tokensPerMinute === null || tokens === 0) return;
    this.#charges = this.#charges.then(async () => {
      const charged = await this.#counted((counters) => charge(counters, keyOf(caller), tokens));
      if (charged === null) this.#alone.charge(caller, tokens);
    });
  }

  async #admitCounted({ requests, tokens }: Counters, key: string): Promise<Admission> {
    const used = tokens === null ? null : await tokens.get(key);
    const tokensLeft = tokens === null ? null : tokens.points - (used?.consumedPoints ?? 0);
    const headersOf = (taken: RateLimiterRes | null) => ({
      ...(requests === null || taken === null
        ? {}
        : headerLine("requests", requests.points, taken.remainingPoints, taken.msBeforeNext)),
      ...(tokens === null || tokensLeft === null
        ? {}
        : headerLine("tokens", tokens.points, tokensLeft, used?.msBeforeNext ?? 0)),
    });
    if (tokens !== null && used !== null && tokensLeft !== null && tokensLeft < 1) {
      const known = requests === null ? null : await requests.get(key);
      return { ...rateRefusal("tokens", tokens.points, used.msBeforeNext), headers: headersOf(known) };
    }
    if (requests === null) return { kind: "admitted", headers: headersOf(null), release() {} };
    try {
      return { kind: "admitted", headers: headersOf(await requests.consume(key)), release() {} };
    } catch (refused) {
      if (!(refused instanceof RateLimiterRes)) throw refused;
      return { ...rateRefusal("requests", requests.points, refused.msBeforeNext), headers: headersOf(refused) };
    }
  }

  /** @returns null where the database does not answer, or has not a moment ago. */
  async #counted<Result>(work: (counters: Counters) => Promise<Result>): Promise<Result | null> {
    if (performance.now() < this.#awayUntil) return null;
    try {
      this.#counters ??= this.#open();
      return await work(await this.#counters);
    } catch (error) {
      this.#counters = null;
      this.#awayUntil = performance.now() + awayMs;
      const { message, code } = error as { readonly message: string; readonly code?: string };
      this.#log.warn(
        { reason: code ?? message },
        `The database does not count ${this.#name} now: this server does so by itself.`,
      );
      return null;
    }
  }

  async #open(): Promise<Counters> {
    await makeTable(this.#pool);
    const { requestsPerMinute, tokensPerMinute } = this.limits;
    return { requests: this.#counter("requests", requestsPerMinute), tokens: this.#counter("tokens", tokensPerMinute) };
  }

  #counter(unit: string, points: number | null): RateLimiterPostgres | null {
    if (points === null) return null;
    return new RateLimiterPostgres({
      storeClient: this.#pool,
      tableName: table,
      tableCreated: true,
      keyPrefix: `${this.#name} ${unit}`,
      points,
      duration: minuteSeconds,
    });
  }
}

/** In the columns that the library knows. Servers that start together take turns: at once, all but one would fail. */
async function makeTable(pool: pg.Pool): Promise<void> {
  const client = await pool.connect();
  try {
    await client.query("begin");
    await client.query("select pg_advisory_xact_lock($1)", [tableLock]);
    await client.query(
      `create table if not exists ${table} (key varchar(255) primary key, points integer not null default 0, expire bigint)`,
    );
    await client.query("commit");
    client.release();
  } catch (error) {
    // With what it had begun.
    client.release(true);
    throw error;
  }
}

/** Tokens beyond the limit make the minute longer by what they would take to come again. */
async function charge({ tokens }: Counters, key: string, count: number): Promise<true> {
  if (tokens === null) return true;
  const { consumedPoints, msBeforeNext } = await tokens.penalty(key, count);
  const beyond = Math.min(count, consumedPoints - tokens.points);
  if (beyond > 0) {
    await tokens.set(key, consumedPoints, msBeforeNext / 1000 + (beyond * minuteSeconds) / tokens.points);
  }
  return true;
}

/** Names of keys and addresses of people stay out of the database. */
function keyOf(caller: string): string {
  return createHash("sha256").update(caller).digest("base64url");
}
