import { describe, expect, it } from "vitest";
import { formatBytes, formatTransfer, Transfer } from "../../src/hub/transfer.js";

describe("a transfer", () => {
  it("tells speed and time left of what comes, not of what was there", () => {
    let now = 0;
    const transfer = new Transfer(100_000_000, () => now);
    transfer.skip(40_000_000);
    expect(transfer.state).toEqual({ done: 40e6, total: 100e6, bytesPerSecond: null, secondsLeft: null });
    for (let second = 1; second <= 10; second++) {
      now += 1000;
      transfer.receive(2_000_000);
    }
    expect(transfer.state).toEqual({ done: 60e6, total: 100e6, bytesPerSecond: 2e6, secondsLeft: 20 });
    expect(formatTransfer(transfer.state)).toBe("60 MB of 100 MB, 2.0 MB/s, 20 s left");
  });

  it("forgets how fast it was a while ago", () => {
    let now = 0;
    const transfer = new Transfer(1e9, () => now);
    for (let second = 1; second <= 60; second++) {
      now += 1000;
      transfer.receive(second <= 30 ? 10_000_000 : 1_000_000);
    }
    expect(transfer.state.bytesPerSecond).toBe(1_000_000);
    now += 60_000;
    expect(transfer.state.bytesPerSecond).toBeLessThan(200_000);
  });

  it.each([
    [0, "0 B"],
    [999, "999 B"],
    [1000, "1.0 kB"],
    [9949, "9.9 kB"],
    [9960, "10 kB"],
    [999_600, "1.0 MB"],
    [4_920_000_000, "4.9 GB"],
    [123_456_789_012_345, "123 TB"],
  ])("writes %d bytes as %s", (bytes, text) => {
    expect(formatBytes(bytes)).toBe(text);
  });
});
