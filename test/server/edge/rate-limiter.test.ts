import { describe, expect, it } from "vitest";
import { duration, RateLimiter, type RateLimits } from "../../../src/server/edge/rate-limiter.js";
import { TokenBucket } from "../../../src/server/edge/token-bucket.js";

describe("TokenBucket", () => {
  it("allows a burst of a minute's units, then as many as time brings", () => {
    const bucket = new TokenBucket(60, 0);
    bucket.take(60, 0);
    expect([bucket.level(0), bucket.level(500), bucket.level(1_000)]).toEqual([0, 0.5, 1]);
    expect(bucket.msUntil(1, 1_000)).toBe(0);
    expect(bucket.msUntil(10, 1_000)).toBe(9_000);
  });

  it("never holds more than a minute's units, and never promises more", () => {
    const bucket = new TokenBucket(60, 0);
    expect(bucket.level(3_600_000)).toBe(60);
    expect(bucket.msUntil(1_000, 3_600_000)).toBe(0);
  });

  it("makes up for what was taken beyond its bottom", () => {
    const bucket = new TokenBucket(60, 0);
    bucket.take(90, 0);
    expect(bucket.msUntil(1, 0)).toBe(31_000);
    expect(bucket.level(30_000)).toBe(0);
  });
});

describe("RateLimiter", () => {
  function limiterOf(limits: Partial<RateLimits>) {
    const clock = { now: 0 };
    const all = { requestsPerMinute: null, tokensPerMinute: null, maxConcurrent: null, ...limits };
    return { clock, limiter: new RateLimiter(all, () => clock.now) };
  }

  it("limits nothing, and says nothing, unless told to", () => {
    const { limiter } = limiterOf({});
    for (let request = 0; request < 1_000; request++) {
      expect(limiter.admit("a")).toMatchObject({ kind: "admitted", headers: {} });
    }
  });

  it("counts each caller's requests apart, and says when to come back", () => {
    const { limiter, clock } = limiterOf({ requestsPerMinute: 2 });
    expect(limiter.admit("a")).toMatchObject({
      headers: {
        "x-ratelimit-limit-requests": "2",
        "x-ratelimit-remaining-requests": "1",
        "x-ratelimit-reset-requests": "30s",
      },
    });
    limiter.admit("a");
    const refused = limiter.admit("a");
    expect(refused).toMatchObject({ kind: "refused", retryAfterSeconds: 30 });
    expect(refused).toHaveProperty(
      "message",
      "Rate limit reached for requests per min: Limit 2. Please try again in 30s.",
    );
    expect(limiter.admit("b").kind).toBe("admitted");
    clock.now = 30_000;
    expect(limiter.admit("a").kind).toBe("admitted");
    expect(limiter.admit("a").kind).toBe("refused");
  });

  it("charges tokens when they are known, and lets nobody in who owes some", () => {
    const { limiter, clock } = limiterOf({ tokensPerMinute: 600 });
    expect(limiter.admit("a")).toMatchObject({ headers: { "x-ratelimit-remaining-tokens": "600" } });
    limiter.charge("a", 700);
    expect(limiter.admit("a")).toMatchObject({
      kind: "refused",
      retryAfterSeconds: 11,
      headers: { "x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "1m10s" },
    });
    clock.now = 10_100;
    expect(limiter.admit("a").kind).toBe("admitted");
  });

  it("counts running requests until they are released, once each", () => {
    const { limiter } = limiterOf({ maxConcurrent: 2 });
    const first = limiter.admit("a");
    limiter.admit("a");
    expect(limiter.admit("a")).toMatchObject({ kind: "refused", retryAfterSeconds: 1 });
    if (first.kind === "admitted") {
      first.release();
      first.release();
    }
    expect(limiter.admit("a").kind).toBe("admitted");
    expect(limiter.admit("a").kind).toBe("refused");
  });

  it("forgets callers that are owed nothing when there are many, and nobody else", () => {
    const { limiter, clock } = limiterOf({ requestsPerMinute: 1 });
    limiter.admit("early");
    clock.now = 59_000;
    limiter.admit("late");
    for (let caller = 0; caller < 10_000; caller++) limiter.admit(`caller ${caller}`);
    clock.now = 60_000;
    limiter.admit("one more");
    expect(limiter.admit("late").kind).toBe("refused");
    expect(limiter.admit("early").kind).toBe("admitted");
  });
});

describe("duration", () => {
  it.each([
    [0, "0s"],
    [0.2, "1ms"],
    [999, "999ms"],
    [1_000, "1s"],
    [7_660, "7.66s"],
    [59_999.5, "1m0s"],
    [360_000, "6m0s"],
    [70_000, "1m10s"],
  ])("writes %d ms as %s", (milliseconds, text) => {
    expect(duration(milliseconds)).toBe(text);
  });
});
