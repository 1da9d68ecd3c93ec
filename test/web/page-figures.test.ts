import axe from "axe-core";
import type { Browser, CDPSession, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { toastTiny } from "../support/toast-tiny.js";
import { openBrowser } from "./open-browser.js";
import { type Program, startProgram } from "./start-program.js";

// What the built page weighs and how accessible each view is, from a real server. `npm run measure:page` prints the figures,
// and measures the time until the page can be used, which no test holds: it is the machine's as much as the page's.

vi.setConfig({ testTimeout: 240_000, hookTimeout: 120_000 });

const { PAGE_FIGURES: wanted } = process.env;
const views = ["chat", "vectors", "steering", "compare", "arena", "leaderboard"] as const;
/** JavaScript and all, compressed, until the chat can be used. */
const mostScriptBytes = 90_000;

let browser: Browser;
let program: Program;
const figures: string[] = [];
beforeAll(async () => {
  [browser, program] = await Promise.all([openBrowser(), startProgram("--model", toastTiny, "--threads", "1")]);
});
afterAll(async () => {
  await browser?.close();
  await program?.kill();
  if (wanted !== undefined) process.stdout.write(`\n${figures.map((line) => `  ${line}\n`).join("")}\n`);
});

async function newPage(dark = false): Promise<{ readonly page: Page; readonly session: CDPSession }> {
  const context = await browser.newContext({
    viewport: { width: 1440, height: 900 },
    colorScheme: dark ? "dark" : "light",
  });
  context.setDefaultTimeout(60_000);
  const page = await context.newPage();
  return { page, session: await context.newCDPSession(page) };
}

/** A message can be written, and the model that answers is known. */
async function isUsable(page: Page): Promise<void> {
  await page.getByLabel("Message", { exact: true }).waitFor();
  await page.locator('option[value*="toast-tiny"]').first().waitFor({ state: "attached" });
}

/** Notes in the page itself when it could be used first, and when its last long task ended. */
const noting = `
  window.usableAt = 0;
  window.lastLongTask = 0;
  new PerformanceObserver((list) => {
    for (const { startTime, duration } of list.getEntries()) window.lastLongTask = startTime + duration;
  }).observe({ type: "longtask", buffered: true });
  new MutationObserver(() => {
    if (window.usableAt > 0 || document.querySelector('option[value*="toast-tiny"]') === null) return;
    window.usableAt = performance.now();
  }).observe(document, { childList: true, subtree: true });
`;

describe("the first load", () => {
  it("is no more than 90 KB of JavaScript, compressed, as the wire has it", async () => {
    const { page, session } = await newPage();
    const kinds = new Map<string, string>();
    const bytes = new Map<string, number>();
    await session.send("Network.enable");
    session.on("Network.responseReceived", ({ requestId, type }) => kinds.set(requestId, type));
    session.on("Network.loadingFinished", ({ requestId, encodedDataLength }) =>
      bytes.set(requestId, encodedDataLength),
    );
    await page.goto(program.url);
    await isUsable(page);
    await page.waitForLoadState("networkidle");
    const sum = (kind?: string) =>
      [...bytes].reduce((all, [id, size]) => all + (kind === undefined || kinds.get(id) === kind ? size : 0), 0);
    figures.push(
      `first load: ${sum()} bytes in ${bytes.size} answers, headers with them: ${sum("Script")} JavaScript, ` +
        `${sum("Stylesheet")} styles, ${sum("Document")} HTML, ${sum("Fetch")} of the API`,
    );
    expect(sum("Script")).toBeGreaterThan(10_000);
    expect(sum("Script")).toBeLessThanOrEqual(mostScriptBytes);
    await page.context().close();
  });

  it.runIf(wanted !== undefined)("is told how long it takes on a processor slowed four times", async () => {
    const times: number[] = [];
    for (let round = 0; round < 5; round++) {
      const { page, session } = await newPage();
      await session.send("Emulation.setCPUThrottlingRate", { rate: 4 });
      await page.addInitScript(noting);
      await page.goto(program.url);
      await isUsable(page);
      // Long tasks that come later are the page's too.
      await page.waitForTimeout(2_000);
      times.push(Number(await page.evaluate("Math.max(window.usableAt, window.lastLongTask)")));
      await page.context().close();
    }
    const [least, , median, , most] = times.toSorted((one, other) => one - other).map(Math.round);
    figures.push(
      `time to interactive at 4× slowed processor: ${median} ms (${least} to ${most}, five loads, nothing cached)`,
    );
    expect(times).toHaveLength(5);
  });
});

describe("every view", () => {
  it.each([{ dark: false }, { dark: true }])("has no finding of axe at all (dark: $dark)", async ({ dark }) => {
    const { page } = await newPage(dark);
    await page.goto(program.url);
    await isUsable(page);
    const found: string[] = [];
    for (const view of views) {
      await page.goto(`${program.url}/#/${view}`);
      await page.getByRole("heading", { level: 1 }).waitFor();
      await page.waitForLoadState("networkidle");
      await page.evaluate(axe.source);
      const { violations, passes } = (await page.evaluate("axe.run()")) as axe.AxeResults;
      figures.push(
        `axe, ${view}, ${dark ? "dark" : "light"}: ${violations.length} findings, ${passes.length} rules passed`,
      );
      found.push(...violations.map(({ id, nodes }) => `${view}: ${id} at ${nodes.map(({ target }) => target).join()}`));
    }
    expect(found).toEqual([]);
    await page.context().close();
  });
});
