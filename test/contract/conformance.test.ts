import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { clientCounts, conformancePage } from "./conformance-reporter.js";
import { wireRows } from "./conformance-rows.js";

const page = readFileSync(new URL("../../CONFORMANCE.md", import.meta.url), "utf8");

describe("CONFORMANCE.md", () => {
  it("tells of every row, and that it holds", () => {
    const states = [...page.matchAll(/^\| (\d+) \| .+ \| (\w+) \| [1-9]\d* in /gm)].map(([, row, state]) => [
      row,
      state,
    ]);
    expect(states).toEqual(wireRows.map((_, at) => [String(at + 1), "holds"]));
  });

  it("would say of a row that it fails, or that nobody looks", () => {
    const test = { row: 1, name: "x", source: "test/contract/a.test.ts", passed: true };
    const made = conformancePage([test, { ...test, name: "y", passed: false }], "");
    expect(made).toMatch(/^\| 1 \| .+ \| fails \| 2 in \[a\.test\.ts\]\(test\/contract\/a\.test\.ts\) \|$/m);
    expect(made).toMatch(/^\| 2 \| .+ \| untested \| 0 in {2}\|$/m);
  });

  it("keeps the counts of clients that another command writes into it", () => {
    const counts = "| client | checks |\n| --- | --- |\n";
    const made = conformancePage([], counts);
    expect(clientCounts(made)).toBe(counts);
    expect(conformancePage([], clientCounts(made))).toBe(made);
    expect(clientCounts(page)).toMatch(/^\| \[`openai==/m);
    expect(clientCounts("# Another page")).toBe("");
  });
});
