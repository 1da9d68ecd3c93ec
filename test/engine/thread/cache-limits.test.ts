import { expect, it } from "vitest";
import { cacheLimits } from "../../../src/engine/thread/engine-client.js";

it("caches take a quarter of the machine's memory, or of what a container may have, half of it for later requests", () => {
  expect(cacheLimits(8_000, 0)).toEqual({ cacheBytes: 2_000, prefixBytes: 1_000 });
  expect(cacheLimits(8_000, 4_000)).toEqual({ cacheBytes: 1_000, prefixBytes: 500 });
  // As Linux says that there is no bound.
  expect(cacheLimits(8_000, 2 ** 64)).toEqual({ cacheBytes: 2_000, prefixBytes: 1_000 });
});
