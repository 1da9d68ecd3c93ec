import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    reporters: ["default", "./test/contract/conformance-reporter.ts"],
    // Real models run in most files; two at a time is what two cores carry.
    maxWorkers: 2,
    // A busy machine takes its time; what is waited for comes, or the test fails.
    testTimeout: 180_000,
    hookTimeout: 240_000,
    expect: { poll: { timeout: 10_000 } },
  },
});
