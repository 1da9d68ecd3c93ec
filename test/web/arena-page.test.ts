import type { Browser, BrowserContext, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { toastTiny } from "../support/toast-tiny.js";
import { findingsOf } from "./findings.js";
import { openBrowser } from "./open-browser.js";
import { type Program, startProgram } from "./start-program.js";

// Battles in the built page, against the built program with toast-tiny and its adapter.

vi.setConfig({ testTimeout: 240_000, hookTimeout: 120_000 });
/** A browser that got no turn for seconds fails what it waited for: once is bad luck, twice is a fault. */
const again = { retry: 1 };

const settings = { sampling: { temperature: 0.7, max_tokens: 16 } };

let browser: Browser;
let program: Program;
const contexts: BrowserContext[] = [];
let errors: string[] = [];

beforeAll(async () => {
  const flags = ["--model", toastTiny, "--threads", "1", "--battle-pace", "2000", "--battles-per-minute", "600"];
  [browser, program] = await Promise.all([openBrowser(), startProgram(...flags)]);
});
afterAll(async () => {
  await browser?.close();
  await program?.kill();
});
afterEach(async () => {
  await Promise.all(contexts.splice(0).map((context) => context.close()));
  errors = [];
});

async function visit(looks: { readonly width?: number; readonly height?: number; readonly dark?: boolean } = {}) {
  const context = await browser.newContext({
    viewport: { width: looks.width ?? 1440, height: looks.height ?? 900 },
    colorScheme: looks.dark ? "dark" : "light",
  });
  contexts.push(context);
  context.setDefaultTimeout(100_000);
  const page = await context.newPage();
  page.on("pageerror", (error) => errors.push(error.message));
  page.on("console", (message) => {
    if (message.type() === "error") errors.push(message.text());
  });
  await page.addInitScript(`localStorage.setItem("toast-serve:settings", ${JSON.stringify(JSON.stringify(settings))})`);
  await page.goto(`${program.url}/#/arena`);
  await page.getByLabel("Two drawn by lot").waitFor();
  return page;
}

const button = (page: Page, name: string) => page.getByRole("button", { name, exact: true });
const tie = (page: Page) => page.getByRole("button", { name: /^Tie/ });
const sideways = (page: Page) => page.evaluate("document.documentElement.scrollWidth - innerWidth");

interface Exported {
  readonly messages: readonly { readonly content: string }[];
  readonly turns: readonly { readonly prompt: string }[];
  readonly left: { readonly contestant: string };
  readonly right: { readonly contestant: string };
  readonly vote: { readonly winner: string } | null;
}

async function exported(): Promise<readonly Exported[]> {
  const text = await (await fetch(`${program.url}/v1/arena/battles`)).text();
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as Exported);
}

describe("a battle of two that were chosen", again, () => {
  it("is between the strengths that were set, blind, over several turns, and is one vote", async () => {
    const before = (await exported()).length;
    const page = await visit();
    await page.getByLabel("Two of my choice").check();
    await page.getByLabel("One", { exact: true }).selectOption("toast-tiny:alpaca");
    await page.getByLabel("The other", { exact: true }).selectOption("toast-tiny:alpaca");
    // The same twice is no battle.
    await page.getByText("Both are the same").waitFor();
    expect(await button(page, "Start a blind battle").isDisabled()).toBe(true);
    await page
      .getByLabel(/^Steering strength/)
      .nth(1)
      .fill("0.5");
    await page.getByLabel("Prompt", { exact: true }).fill("How do I make tea?");
    expect(await findingsOf(page)).toEqual([]);
    await button(page, "Start a blind battle").click();
    await tie(page).waitFor();
    expect(await page.locator("main").textContent()).not.toMatch(/toast-tiny/);

    const more = page.getByLabel("Ask both something more");
    await more.click();
    // Letters that would be votes elsewhere.
    await page.keyboard.type("But then?");
    await page.keyboard.press("ArrowLeft");
    await page.keyboard.press("Enter");
    await page.getByRole("region", { name: "Left answer, turn 2" }).waitFor();
    await tie(page).waitFor();
    expect(await page.locator(".battle-prompt").allTextContents()).toEqual(["How do I make tea?", "But then?"]);
    expect(await findingsOf(page)).toEqual([]);
    await page.getByRole("button", { name: /^Right is better/ }).click();
    await page.getByText("You voted right is better.").waitFor();
    const heads = await page
      .getByRole("region", { name: /^(Left|Right) answer/ })
      .locator("h2")
      .allTextContents();
    expect(heads).toHaveLength(4);
    expect(new Set(heads.map((head) => head.replace("better", ""))).size).toBe(2);
    expect(await page.locator(".column-steered").count()).toBe(4);

    const records = await exported();
    expect(records).toHaveLength(before + 1);
    const record = records.at(-1);
    expect([record?.left.contestant, record?.right.contestant].toSorted()).toEqual([
      "toast-tiny:alpaca",
      "toast-tiny:alpaca@0.5",
    ]);
    expect(record?.messages[0]?.content).toBe("How do I make tea?");
    expect(record?.turns.map(({ prompt }) => prompt)).toEqual(["But then?"]);
    expect(record?.vote?.winner).toBe("right");
    await page.getByRole("link", { name: "Leaderboard", exact: true }).click();
    const rows = page.getByRole("region", { name: "Ratings", exact: true }).getByRole("row");
    await rows.filter({ hasText: "toast-tiny:alpaca@0.5" }).waitFor();
    expect(await rows.filter({ hasText: "toast-tiny:alpaca@0.5" }).textContent()).toMatch(/[01] \/ [01] \/ 0 \/ 0/);
    expect(errors).toEqual([]);
  });
});

describe("a battle that is skipped", again, () => {
  it("gets no vote, in the middle of it or at its end, and another begins on another prompt", async () => {
    const page = await visit();
    await button(page, "Start a blind battle").click();
    const prompt = () => page.locator(".battle-prompt").first().textContent();
    await tie(page).waitFor();
    const first = await prompt();
    const known = await exported();
    await button(page, "Skip").click();
    await page.getByRole("region", { name: "Left answer" }).waitFor();
    expect(await prompt()).not.toBe(first);
    // While both are writing, too.
    await button(page, "Skip").click();
    await tie(page).waitFor();
    const votes = async () => (await exported()).filter(({ vote }) => vote !== null).length;
    expect(await votes()).toBe(known.filter(({ vote }) => vote !== null).length);
    expect(errors).toEqual([]);
  });
});

describe("the arena for everybody", again, () => {
  it.each([
    { width: 1440, dark: true },
    { width: 390, height: 844 },
    { width: 320, height: 568, dark: true },
  ])("fits and is accessible: the pair's dials, a battle, its end (%o)", async (looks) => {
    const page = await visit(looks);
    await page.getByLabel("Two of my choice").check();
    expect(await sideways(page)).toBe(0);
    expect(await findingsOf(page)).toEqual([]);
    await page.getByLabel("Prompt", { exact: true }).fill(`${"word".repeat(100)} 你好 مرحبا 🙂`);
    await button(page, "Start a blind battle").click();
    await tie(page).waitFor();
    expect(await sideways(page)).toBe(0);
    expect(await findingsOf(page)).toEqual([]);
    await tie(page).click();
    await page.getByText("You voted tie.").waitFor();
    expect(await sideways(page)).toBe(0);
    expect(await findingsOf(page)).toEqual([]);
    await page.goto(`${program.url}/#/leaderboard`);
    await page.getByRole("region", { name: "Win matrix" }).waitFor();
    expect(await sideways(page)).toBe(0);
    expect(await findingsOf(page)).toEqual([]);
    expect(errors).toEqual([]);
  });
});
