import { describe, expect, it } from "vitest";
import { cacheWriteError } from "../../src/hub/disk.js";
import { networkFailure, responseFailure } from "../../src/hub/hub-failures.js";
import { TransientFailure } from "../../src/hub/retry.js";

const target = { endpoint: "https://hub.example", repo: "org/name", revision: "main", hasToken: false };

function failure(status: number, headers: Record<string, string> = {}, fromHub = true) {
  const all = new Map(Object.entries(headers));
  const response = { status, url: "https://hub.example/x", headers: { get: (name: string) => all.get(name) ?? null } };
  return responseFailure(response, target, fromHub);
}

describe("a response that is no success", () => {
  it.each([408, 429, 500, 502, 503, 504])("may be another one in a moment: %d", (status) => {
    expect(failure(status)).toBeInstanceOf(TransientFailure);
  });

  it.each([400, 401, 403, 404, 451])("stays what it is: %d", (status) => {
    expect(failure(status)).not.toBeInstanceOf(TransientFailure);
  });

  it("says when to come back: in seconds, as a date, by the hub's own window", () => {
    const afterMs = (headers: Record<string, string>) => {
      const found = failure(429, headers);
      return found instanceof TransientFailure ? found.afterMs : "final";
    };
    expect(afterMs({ "retry-after": "7" })).toBe(7000);
    const date = new Date(Date.now() + 60_000).toUTCString();
    expect(afterMs({ "retry-after": date })).toBeGreaterThan(50_000);
    expect(afterMs({ "retry-after": new Date(0).toUTCString() })).toBe(0);
    expect(afterMs({ ratelimit: '"api";r=0;t=42' })).toBe(42_000);
    expect(afterMs({ ratelimit: '"api";r=10;t=42' })).toBeNull();
    expect(afterMs({})).toBeNull();
  });

  it("is no matter of access when the host of downloads refuses: its address may have expired", () => {
    const found = failure(403, {}, false);
    expect(found).toBeInstanceOf(TransientFailure);
    expect(found.message).toContain("where https://hub.example sends downloads, refused one (403)");
  });

  it("is told in the server's words, without what a terminal would obey", () => {
    expect(failure(403, { "x-error-message": "No\x1b[31m way\x07.\r\n" }).message).toContain(": “No [31m way”.");
    expect(failure(403, { "x-error-message": "x".repeat(9999) }).message.length).toBeLessThan(700);
  });
});

describe("no response", () => {
  it("is told by its innermost code, and what to do", () => {
    const refused = Object.assign(new Error("connect"), { code: "ECONNREFUSED" });
    const wrapped = new TypeError("fetch failed", { cause: new AggregateError([refused], "all") });
    const { final, tries } = networkFailure("https://hub.example/x", wrapped, target.endpoint);
    expect(final.message).toMatch(/^https:\/\/hub\.example cannot be reached \(ECONNREFUSED\)\. Check the network/);
    expect(tries).toBe(2);
    const certificate = Object.assign(new Error("tls"), { code: "SELF_SIGNED_CERT_IN_CHAIN" });
    const untrusted = networkFailure("https://cdn.example/x", certificate, target.endpoint);
    expect(untrusted.message).toContain("cdn.example (where https://hub.example sends downloads)");
    expect(untrusted.final.message).toContain("NODE_EXTRA_CA_CERTS");
    expect(untrusted.tries).toBe(1);
  });
});

describe("a write that failed", () => {
  it.each([
    ["ENOSPC", "disk_full", "The disk is full: /cache/x could not be written further. What is downloaded stays"],
    ["EDQUOT", "disk_full", "make room and give the same command again"],
    ["EROFS", "write_failed", "could not be written (EROFS). Name a folder that may be written with HF_HOME"],
    ["EIO", "write_failed", "/cache/x could not be written (EIO)."],
  ])("is told with what to do: %s", (code, kind, message) => {
    const error = cacheWriteError("/cache/x", Object.assign(new Error("write"), { code }));
    expect(error.code).toBe(kind);
    expect(error.message).toContain(message);
  });
});
