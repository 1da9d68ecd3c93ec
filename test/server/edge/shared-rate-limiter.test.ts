import pg from "pg";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { CallerLimiter, RateLimits } from "../../../src/server/edge/rate-limiter.js";
import { createLog } from "../../../src/server/edge/request-log.js";
import { type SharedLimits, shareLimits } from "../../../src/server/edge/shared-rate-limiter.js";
import { findPostgres, startPostgres, type TestPostgres } from "../../arena/store/start-postgres.js";

const bin = findPostgres();
const { TOAST_REQUIRE_POSTGRES: required } = process.env;

describe.skipIf(bin === null && required === undefined)("limits that servers share", () => {
  let postgres: TestPostgres;
  let opened: SharedLimits[] = [];
  const lines: Record<string, unknown>[] = [];
  const log = createLog("warn", "json", (line) => lines.push(JSON.parse(line) as Record<string, unknown>));
  beforeAll(async () => {
    postgres = await startPostgres(bin ?? "");
  }, 60_000);
  afterAll(() => postgres.stop());
  afterEach(async () => {
    await Promise.all(opened.map((shared) => shared.close()));
    opened = [];
    lines.length = 0;
  });

  /** As so many servers have it, each with a pool of its own. */
  const serversWith = (name: string, limits: Partial<RateLimits>, count = 2): readonly CallerLimiter[] =>
    Array.from({ length: count }, () => {
      const shared = shareLimits(postgres.url, log);
      opened.push(shared);
      return shared.limiterOf(name, { requestsPerMinute: null, tokensPerMinute: null, maxConcurrent: null, ...limits });
    });

  it("count a caller's requests together, wherever they go, from the first moment on", async () => {
    const servers = serversWith("together", { requestsPerMinute: 10 }, 4);
    const admissions = await Promise.all(
      Array.from({ length: 24 }, (_, at) => (servers[at % 4] as CallerLimiter).admit("alice")),
    );
    expect(admissions.filter(({ kind }) => kind === "admitted")).toHaveLength(10);
    const refused = admissions.find(({ kind }) => kind === "refused");
    expect(refused).toMatchObject({
      message: expect.stringMatching(
        /^Rate limit reached for requests per min: Limit 10\. Please try again in (\d|\.)+m?s/,
      ) as string,
      headers: { "x-ratelimit-limit-requests": "10", "x-ratelimit-remaining-requests": "0" },
    });
    const { retryAfterSeconds } = refused as { readonly retryAfterSeconds: number };
    expect(retryAfterSeconds).toBeGreaterThan(0);
    expect(retryAfterSeconds).toBeLessThanOrEqual(60);
    expect((await (servers[0] as CallerLimiter).admit("bob")).kind).toBe("admitted");
    expect(lines).toEqual([]);
  });

  it("charge tokens to all, and have who owes wait for as long as they take to come again", async () => {
    const [one, two] = serversWith("tokens", { tokensPerMinute: 600 }) as [CallerLimiter, CallerLimiter];
    expect(await one.admit("alice")).toMatchObject({
      kind: "admitted",
      headers: { "x-ratelimit-limit-tokens": "600" },
    });
    one.charge("alice", 500);
    await expect
      .poll(async () => (await two.admit("alice")).headers)
      .toMatchObject({ "x-ratelimit-remaining-tokens": "100" });
    two.charge("alice", 400);
    two.charge("alice", 300);
    // The minute, and 600 tokens beyond the limit: another one.
    await expect
      .poll(async () => {
        const admission = await one.admit("alice");
        return admission.kind === "refused" ? admission.retryAfterSeconds : 0;
      })
      .toBeGreaterThan(100);
    expect((await one.admit("bob")).kind).toBe("admitted");
  });

  it("count what runs at the same time in each server", async () => {
    const [one, two] = serversWith("running", { requestsPerMinute: 100, maxConcurrent: 1 }) as [
      CallerLimiter,
      CallerLimiter,
    ];
    const first = await one.admit("alice");
    expect((await one.admit("alice")).kind).toBe("refused");
    expect((await two.admit("alice")).kind).toBe("admitted");
    if (first.kind === "admitted") first.release();
    expect((await one.admit("alice")).kind).toBe("admitted");
  });

  it("give back the place of a request that the minute refuses", async () => {
    const [one] = serversWith("place", { requestsPerMinute: 1, maxConcurrent: 1 }) as [CallerLimiter];
    const first = await one.admit("alice");
    if (first.kind === "admitted") first.release();
    for (let at = 0; at < 2; at++) {
      expect(await one.admit("alice")).toMatchObject({
        kind: "refused",
        message: expect.stringContaining("per min") as string,
      });
    }
  });

  it("keep no names and addresses in the database", async () => {
    const [one] = serversWith("names", { requestsPerMinute: 5 }) as [CallerLimiter];
    await one.admit("key alice");
    const client = new pg.Client(postgres.url);
    await client.connect();
    const { rows } = await client.query<{ key: string }>("select key from rate_limits where key like 'names%'");
    await client.end();
    expect(rows).toHaveLength(1);
    expect(rows[0]?.key).not.toContain("alice");
  });

  it("are counted by each server while the database is away, say so once, and are shared again", async () => {
    const [one, two] = serversWith("away", { requestsPerMinute: 2 }) as [CallerLimiter, CallerLimiter];
    await one.admit("alice");
    await postgres.halt();
    for (const server of [one, two]) {
      const kinds = [];
      for (let at = 0; at < 3; at++) kinds.push((await server.admit("alice")).kind);
      expect(kinds).toEqual(["admitted", "admitted", "refused"]);
    }
    expect(lines).toHaveLength(2);
    expect(JSON.stringify(lines)).not.toContain("alice");
    await postgres.resume();
    await expect.poll(() => sharedAgain(one, two), { timeout: 20_000, interval: 1_000 }).toBe(true);
  }, 60_000);

  let probe = 0;
  /** Whether a caller of two requests is refused the third, wherever he asks. */
  async function sharedAgain(one: CallerLimiter, two: CallerLimiter): Promise<boolean> {
    const caller = `probe ${probe++}`;
    await one.admit(caller);
    await two.admit(caller);
    return (await one.admit(caller)).kind === "refused";
  }
});
