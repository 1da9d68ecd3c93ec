import { readFile } from "node:fs/promises";
import type { Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { findingsOf } from "../findings.js";
import { ask, eventually, ScriptedPage, sideways } from "../scripted-page.js";

// The list of conversations in the built page: what is deleted, looked for, brought in and out.

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

let scripted: ScriptedPage;
beforeAll(async () => {
  scripted = await ScriptedPage.start();
});
afterAll(async () => {
  await scripted?.end();
});
afterEach(() => {
  scripted.engine.script = {};
  expect(scripted.errors.splice(0)).toEqual([]);
});

const button = (page: Page, name: string) => page.getByRole("button", { name, exact: true });
const entries = (page: Page) => page.locator(".history .entry-title bdi").allTextContents();
const questions = (page: Page) => page.locator(".message.user .said").allTextContents();
const stored = (page: Page) =>
  page.evaluate("Object.keys(localStorage).filter((key) => key.startsWith('toast-serve:conversation:')).length");

const day = 86_400_000;

/** Somebody's page with conversations, one for each day that is given. */
async function visitWith(
  daysAgo: Readonly<Record<string, number>>,
  options: Parameters<ScriptedPage["visit"]>[1] = {},
): Promise<Page> {
  const page = await scripted.visit("", options);
  for (const [title, days] of Object.entries(daysAgo)) {
    const id = title.toLowerCase();
    const question = {
      role: "user",
      id: `${id}-q`,
      parent: null,
      turn: id,
      content: `About ${title}?`,
      attachments: [],
    };
    const said = { role: "assistant", parent: question.id, turn: id, model: "tiny", state: "done", seed: 1 };
    const messages = [
      question,
      { ...said, id: `${id}-1`, content: `The first of ${title} is amber.` },
      { ...said, id: `${id}-2`, content: `The second of ${title} is blue.` },
    ];
    const one = { id, title, updatedAt: Date.now() - days * day, messages, shown: {}, cuts: [] };
    await page.evaluate(
      ([key = "", value = ""]) => localStorage.setItem(key, value),
      [`toast-serve:conversation:${id}`, JSON.stringify(one)],
    );
  }
  await page.reload();
  await page.locator("header").first().waitFor();
  return page;
}

describe("a conversation that was deleted", () => {
  it("comes back by Undo, opened as it was; without, it is gone after a reload", async () => {
    const page = await visitWith({ Tea: 0, Bread: 0 });
    await button(page, "Tea").click();
    await page.getByLabel("More for Tea").click();
    await button(page, "Delete").click();
    expect(await entries(page)).toEqual(["Bread"]);
    expect(await stored(page)).toBe(1);
    await eventually(() => page.evaluate("document.activeElement.textContent")).toBe("Undo");
    expect(await findingsOf(page)).toEqual([]);
    await page.keyboard.press("Enter");
    expect(await entries(page)).toEqual(expect.arrayContaining(["Tea", "Bread"]));
    expect(await questions(page)).toEqual(["About Tea?"]);
    expect(await stored(page)).toBe(2);
    await page.getByLabel("More for Bread").click();
    await button(page, "Delete").click();
    await page.reload();
    await eventually(() => entries(page)).toEqual(["Tea"]);
    expect(await page.getByText("Deleted").count()).toBe(0);
    await page.context().close();
  });

  it("while it was written comes back as far as it had come", async () => {
    const page = await scripted.visit();
    scripted.engine.script = { texts: ["One ", "two ", "three"], delayMs: 600 };
    await page.getByLabel("Message", { exact: true }).fill("Count");
    await eventually(() => button(page, "Send").isEnabled()).toBe(true);
    await page.keyboard.press("Enter");
    await page.locator(".markdown").getByText("One").waitFor();
    await page.getByLabel("More for Count").click();
    await button(page, "Delete").click();
    await eventually(async () => scripted.engine.running).toBe(0);
    await button(page, "Undo").click();
    await page.locator(".message.assistant").getByText("stopped").waitFor();
    expect(await page.locator(".markdown").textContent()).toContain("One");
    await button(page, "Continue").waitFor();
    await page.context().close();
  });

  it("is deleted in another tab, too, and comes back there", async () => {
    const page = await visitWith({ Tea: 0 });
    const other = await page.context().newPage();
    await other.goto(`${scripted.server.url}/`);
    await eventually(() => entries(other)).toEqual(["Tea"]);
    await page.getByLabel("More for Tea").click();
    await button(page, "Delete").click();
    await eventually(() => entries(other)).toEqual([]);
    await button(page, "Undo").click();
    await eventually(() => entries(other)).toEqual(["Tea"]);
    await page.context().close();
  });
});

describe("all conversations", () => {
  it("are deleted after a question, which Escape answers with no, and come back by Undo", async () => {
    const page = await visitWith({ Tea: 0, Bread: 3, Salt: 50 });
    await button(page, "Delete all").click();
    await page.getByText("Delete all 3 conversations?").waitFor();
    expect(await findingsOf(page)).toEqual([]);
    await page.keyboard.press("Escape");
    expect(await entries(page)).toHaveLength(3);
    await button(page, "Delete all").click();
    await button(page, "Delete all").click();
    await page.getByText("Deleted 3 conversations.").waitFor();
    expect([await entries(page), await stored(page)]).toEqual([[], 0]);
    await button(page, "Undo").click();
    expect([await entries(page), await stored(page)]).toEqual([["Tea", "Bread", "Salt"], 3]);
    await page.context().close();
  });

  it("stand under the days on which they were touched", async () => {
    const page = await visitWith({ Tea: 0, Bread: 3, Milk: 20 });
    expect(await page.locator(".history-day").allTextContents()).toEqual([
      "Today",
      "Previous 7 days",
      "Previous 30 days",
    ]);
    await button(page, "Milk").click();
    await ask(page, "More?");
    expect(await page.getByRole("region", { name: "Today" }).locator("bdi").allTextContents()).toEqual(["Milk", "Tea"]);
    await page.context().close();
  });
});

describe("a search", () => {
  it("opens what it finds on the branch on which it stands, by keyboard too", async () => {
    const page = await visitWith({ Tea: 0, Bread: 3 });
    await page.keyboard.press("Control+k");
    await eventually(() => page.evaluate("document.activeElement.id")).toBe("search-conversations");
    await page.keyboard.type("bread AMBER");
    await page.getByText("1 conversation", { exact: true }).waitFor();
    expect(await page.locator(".finding mark").textContent()).toBe("amber");
    expect(await findingsOf(page)).toEqual([]);
    await page.keyboard.press("Tab");
    await page.keyboard.press("Enter");
    expect(await questions(page)).toEqual(["About Bread?"]);
    expect(await page.locator(".message.assistant .markdown").textContent()).toContain("amber");
    await page.getByText("1/2").waitFor();
    await page.getByLabel("Search conversations").fill("nothing like it");
    await page.getByText("No conversation has all of these words.").waitFor();
    await page.keyboard.press("Escape");
    expect(await entries(page)).toEqual(["Bread", "Tea"].toReversed());
    await page.context().close();
  });

  it("brings the message that it found into sight", async () => {
    const page = await scripted.visit();
    scripted.engine.script = { texts: Array.from({ length: 60 }, (_, at) => `Paragraph${at}.\n\n`) };
    await ask(page, "Start");
    scripted.engine.script = {};
    await ask(page, "And now?");
    const scrolled = () => page.getByLabel("Messages", { exact: true }).evaluate((box) => box.scrollTop);
    expect(await scrolled()).toBeGreaterThan(1_000);
    await page.getByLabel("Search conversations").fill("paragraph7");
    await page.locator(".finding").click();
    await eventually(scrolled).toBeLessThan(200);
    await page.context().close();
  });
});

describe("conversations of a file", () => {
  const importFile = (page: Page, name: string, content: string | Buffer) =>
    page
      .getByLabel("Import conversations")
      .setInputFiles({ name, mimeType: "application/json", buffer: Buffer.from(content) });

  it("come in once, however often they are imported, and what is new in them is added", async () => {
    const page = await visitWith({ Tea: 0, Bread: 3 });
    const [file] = await Promise.all([page.waitForEvent("download"), button(page, "Export all").click()]);
    const exported = await readFile(await file.path(), "utf8");
    await importFile(page, "all.json", exported);
    await page.getByText("0 of 2 imported; 2 known already").waitFor();
    await button(page, "Delete all").click();
    await button(page, "Delete all").click();
    await importFile(page, "all.json", exported);
    await page.getByText("2 of 2 imported.").waitFor();
    expect(await entries(page)).toEqual(["Tea", "Bread"]);
    await page.reload();
    await eventually(() => entries(page)).toEqual(["Tea", "Bread"]);
    await page.context().close();
  });

  it("are refused with a sentence where they are none, and nothing is changed", async () => {
    const page = await visitWith({ Tea: 0 });
    await importFile(page, "tea.md", "# Tea");
    await page.getByRole("alert").getByText("tea.md is no JSON.").waitFor();
    await importFile(page, "other.json", '[{"id": "x", "title": "X", "messages": [{"role": "tool"}]}]');
    await page.getByRole("alert").getByText("conversation 1 of 1 has a message (1) whose “role”").waitFor();
    expect(await findingsOf(page)).toEqual([]);
    expect(await entries(page)).toEqual(["Tea"]);
    await page.context().close();
  });

  it("that do not all fit into the browser's storage are counted, and those that fit are there", async () => {
    const page = await visitWith({ Tea: 0 });
    // Room for one of them, and a half.
    await page.evaluate(() => {
      let filler = "";
      for (let size = 8_000_000; size > 1_000; size /= 2) {
        try {
          localStorage.setItem("filler", filler + "x".repeat(size));
          filler += "x".repeat(size);
        } catch {
          // Too much.
        }
      }
      localStorage.setItem("filler", filler.slice(150_000));
    });
    const question = {
      role: "user",
      id: "q",
      parent: null,
      turn: "q",
      content: "x".repeat(100_000),
      attachments: [],
    };
    const big = ["one", "two"].map((id) => ({ id, title: id, updatedAt: 1, messages: [question] }));
    await importFile(page, "big.json", JSON.stringify(big));
    await page.getByRole("alert").getByText("1 of 2 imported; no room in the browser for the other 1").waitFor();
    expect(await stored(page)).toBe(2);
    await page.context().close();
  });

  it("bring nothing to life that somebody has put into them", async () => {
    const page = await visitWith({});
    const evil = "<img src=x onerror=alert(1)>";
    const question = { role: "user", content: evil, attachments: [{ name: evil, text: evil }] };
    const answer = { role: "assistant", content: `${evil} [x](javascript:alert(1))`, model: evil, state: evil };
    await importFile(page, "evil.json", JSON.stringify({ id: "evil", title: evil, messages: [question, answer] }));
    await page.locator(".history .entry-title").click();
    await page.locator(".message.assistant .markdown").waitFor();
    expect(await page.locator("img, .markdown a[href]").count()).toBe(0);
    await page.context().close();
  });
});

describe("the list on a phone", () => {
  it.each([390, 320])("has all of it without scrolling sideways (%i px)", async (width) => {
    const page = await visitWith({ "A conversation with quite a long title": 0, Bread: 3 }, { width, height: 640 });
    await button(page, "Conversations").click();
    await page.getByLabel("More for Bread").click();
    await button(page, "Delete").click();
    await page.getByText("Deleted “Bread”.").waitFor();
    expect(await sideways(page)).toBe(0);
    expect(await findingsOf(page)).toEqual([]);
    await button(page, "Undo").click();
    expect(await entries(page)).toHaveLength(2);
    await page.context().close();
  });
});
