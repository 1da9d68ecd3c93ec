import { describe, expect, it } from "vitest";
import {
  type AccessPolicy,
  accessTable,
  addressGroup,
  hostAllowed,
  isLoopback,
  originAllowed,
} from "../../../src/server/edge/access-policy.js";
import { routes } from "../../../src/server/routes.js";

const local: AccessPolicy = { localOnly: true, corsOrigins: null, allowedHosts: [], metricsAccess: "open" };
const networked: AccessPolicy = { ...local, localOnly: false };

describe("accessTable", () => {
  const accessOf = accessTable(routes);
  it.each([
    ["GET", "/", "open"],
    ["GET", "/health", "open"],
    ["HEAD", "/livez", "open"],
    ["GET", "/readyz", "open"],
    ["GET", "/openapi.json", "open"],
    ["GET", "/assets/app.js", "open"],
    ["POST", "/health", "user"],
    ["GET", "/metrics", "metrics"],
    ["GET", "/v1/models", "user"],
    ["POST", "/v1/chat/completions", "user"],
    ["GET", "/v1/adapters", "admin"],
    ["GET", "/v1/adapters/tiny/poet", "admin"],
    ["POST", "/v1/arena/import", "admin"],
    ["GET", "/v1/arena/battles", "admin"],
    ["POST", "/v1/arena/battles", "user"],
    ["POST", "/v1/arena/battles/b1/vote", "user"],
    ["GET", "/v1/arena/leaderboard", "user"],
    ["POST", "/v1/adapters", "admin"],
    ["POST", "/v1/adapters/", "admin"],
    ["DELETE", "/v1/adapters/poet", "admin"],
    ["PUT", "/v1/adapters/a/b", "admin"],
    ["POST", "/v1/adaptersx", "user"],
    ["HEAD", "/v1/arena/battles", "admin"],
    ["PUT", "/v1/arena/battles", "user"],
    ["GET", "/v1/models/a/b\n:c", "user"],
    ["GET", "/docs", "open"],
    ["GET", "/docs/start.js", "open"],
    ["GET", "/what/else/there/is", "user"],
    ["GET", "/healthz/../v1", "user"],
  ])("%s %s is %s", (method, path, access) => {
    expect(accessOf(method, path)).toBe(access);
  });
});

describe("isLoopback", () => {
  it.each(["127.0.0.1", "127.8.9.1", "localhost", "LOCALHOST", "toast.localhost", "::1", "[::1]", "::ffff:127.0.0.1"])(
    "knows %s",
    (host) => expect(isLoopback(host)).toBe(true),
  );
  it.each(["0.0.0.0", "::", "", "10.0.0.1", "localhost.evil.example", "127.0.0.1.evil.example", "127.evil.example"])(
    "does not take %j for it",
    (host) => expect(isLoopback(host)).toBe(false),
  );
});

describe("hostAllowed", () => {
  it.each<[string, AccessPolicy, boolean, boolean]>([
    ["127.0.0.1:8000", local, false, true],
    ["localhost:8000", local, false, true],
    ["[::1]:8000", local, false, true],
    // A name that was made to point here.
    ["evil.example:8000", local, false, false],
    ["evil.example", local, false, false],
    // With keys a page gains nothing by that, and without a named host nobody knows the right one.
    ["evil.example", local, true, true],
    ["toast.example", networked, false, true],
    ["toast.example", { ...networked, allowedHosts: ["toast.example"] }, false, true],
    ["TOAST.example:443", { ...networked, allowedHosts: ["toast.example"] }, true, true],
    ["evil.example", { ...networked, allowedHosts: ["toast.example"] }, true, false],
    ["127.0.0.1", { ...networked, allowedHosts: ["toast.example"] }, true, true],
    ["evil.example", { ...local, allowedHosts: ["*"] }, false, true],
  ])("%s, %j, keyed: %s → %s", (host, policy, keyed, allowed) => {
    expect(hostAllowed(host, policy, keyed)).toBe(allowed);
  });
});

describe("originAllowed", () => {
  const listed: AccessPolicy = { ...networked, corsOrigins: ["https://chat.example"] };
  it.each<[string, AccessPolicy, boolean, boolean]>([
    ["http://localhost:5173", local, false, true],
    ["http://[::1]:80", local, false, true],
    ["https://page.example", local, false, false],
    ["null", local, false, false],
    ["not an origin", local, false, false],
    ["https://page.example", local, true, true],
    ["null", local, true, true],
    ["https://Chat.example", listed, true, true],
    ["https://other.example", listed, true, false],
    ["http://chat.example", listed, true, false],
    // A list is the whole list, but for this server's own page.
    ["http://localhost:5173", listed, true, false],
    ["http://toast.example:8000", listed, true, true],
    ["https://any.example", { ...networked, corsOrigins: ["*"] }, false, true],
  ])("%s, %j, keyed: %s → %s", (origin, policy, keyed, allowed) => {
    expect(originAllowed(origin, "toast.example:8000", policy, keyed)).toBe(allowed);
  });
});

describe("addressGroup", () => {
  it.each([
    ["203.0.113.9", "203.0.113.9"],
    ["::ffff:203.0.113.9", "203.0.113.9"],
    ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"],
    ["2001:db8:1:2::9", "2001:db8:1:2::/64"],
    ["2001:db8::1", "2001:db8:0:0::/64"],
    ["::1", "0:0:0:0::/64"],
    ["fe80::1%eth0", "fe80:0:0:0::/64"],
    ["unknown", "unknown"],
  ])("of %s is %s", (address, group) => {
    expect(addressGroup(address)).toBe(group);
  });
});
