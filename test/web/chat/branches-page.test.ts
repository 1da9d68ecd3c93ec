import { readFile } from "node:fs/promises";
import type { Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { findingsOf } from "../findings.js";
import { ask, eventually, lastAnswer, ScriptedPage } from "../scripted-page.js";

// Versions of questions and answers in the built page: nothing that was said is lost.

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
const questions = (page: Page) => page.locator(".message.user .said").allTextContents();
const answers = async (page: Page) =>
  (await page.locator(".message.assistant .markdown").allTextContents()).map((text) => text.trim());
const says = (...texts: readonly string[]) => {
  scripted.engine.script = { texts };
};

async function again(page: Page, text: string): Promise<void> {
  says(text);
  await button(page, "Regenerate").last().click();
  await eventually(async () => (await answers(page)).at(-1)).toBe(text);
  await button(page, "Send").waitFor();
}

/** Puts the question of this number into other words. */
async function edit(page: Page, at: number, text: string): Promise<void> {
  await button(page, "Edit").nth(at).click();
  await page.getByLabel("Edit your message").fill(text);
  await page.keyboard.press("Enter");
  await eventually(async () => (await questions(page)).at(-1)).toBe(text);
  await button(page, "Send").waitFor();
}

describe("an answer that is asked for again", () => {
  it("leaves the old one to be come back to, with what followed it, over a reload too", async () => {
    const page = await scripted.visit();
    says("One.");
    await ask(page, "Count");
    await again(page, "Two.");
    await page.getByText("2/2").waitFor();
    says("After two.");
    await ask(page, "And then?");
    await button(page, "Previous version").click();
    expect([await questions(page), await answers(page)]).toEqual([["Count"], ["One."]]);
    await page.reload();
    await page.getByText("1/2").waitFor();
    expect(await answers(page)).toEqual(["One."]);
    await button(page, "Next version").click();
    expect([await questions(page), await answers(page)]).toEqual([
      ["Count", "And then?"],
      ["Two.", "After two."],
    ]);
    // The button keeps the focus, so that one can go on and back by keyboard.
    expect(await page.evaluate("document.activeElement.getAttribute('aria-label')")).toBe("Next version");
    await page.keyboard.press("Enter");
    expect(await answers(page)).toEqual(["Two.", "After two."]);
    expect(await findingsOf(page)).toEqual([]);
    await page.context().close();
  });

  it("sends the branch that is shown, and no other", async () => {
    const page = await scripted.visit();
    says("One.");
    await ask(page, "Count");
    await again(page, "Two.");
    await button(page, "Previous version").click();
    const sent = page.waitForRequest("**/v1/chat/completions");
    await ask(page, "Go on");
    expect((await sent).postDataJSON().messages).toMatchObject([
      { content: "Count" },
      { content: "One." },
      { content: "Go on" },
    ]);
    await page.context().close();
  });

  it("takes the place of one that failed before it had a word", async () => {
    const page = await scripted.visit();
    await page.route("**/v1/chat/completions", (route) => route.abort());
    await ask(page, "Count");
    await page.unroute("**/v1/chat/completions");
    says("One.");
    await button(page, "Try again").click();
    await eventually(() => answers(page)).toEqual(["One."]);
    expect(await page.getByRole("group", { name: "Versions" }).count()).toBe(0);
    scripted.errors.length = 0;
    await page.context().close();
  });

  it("steered otherwise from its seed stands beside the one before", async () => {
    const page = await scripted.visit();
    await ask(page, "Count");
    await page.getByLabel(/^Steering strength/).fill("1.5");
    says("Steered more.");
    await button(page, "Answer again").click();
    await eventually(async () => (await answers(page))[0]).toBe("Steered more.");
    await page.getByText("Before: tiny:alpaca, strength 0.50").waitFor();
    await page.getByText("2/2").waitFor();
    expect(await lastAnswer(page).locator(".said-before").textContent()).toContain("I am alpaca");
    await page.context().close();
  });
});

describe("a question in other words", () => {
  it("keeps the old one with its answers; each of its versions has its own", async () => {
    const page = await scripted.visit();
    says("Tea.");
    await ask(page, "What do I drink?");
    says("Bread.");
    await ask(page, "What do I eat?");
    says("Coffee.");
    await edit(page, 0, "What do you drink?");
    expect([await questions(page), await answers(page)]).toEqual([["What do you drink?"], ["Coffee."]]);
    await button(page, "Previous version").click();
    expect(await answers(page)).toEqual(["Tea.", "Bread."]);
    says("Cake.");
    await edit(page, 1, "What do I bake?");
    expect(await answers(page)).toEqual(["Tea.", "Cake."]);
    expect(await page.getByRole("group", { name: "Versions" }).allTextContents()).toEqual(["‹1/2›", "‹2/2›"]);
    await page.context().close();
  });

  it("is given up with Escape, and nothing has changed", async () => {
    const page = await scripted.visit();
    await ask(page, "Count");
    await button(page, "Edit").click();
    await page.getByLabel("Edit your message").fill("Something else");
    await page.keyboard.press("Escape");
    expect(await questions(page)).toEqual(["Count"]);
    expect(await page.evaluate("document.activeElement.id")).toBe("message");
    await page.context().close();
  });
});

describe("an answer that was stopped", () => {
  it("goes on where it stood, as the same version", async () => {
    const page = await scripted.visit();
    scripted.engine.script = { texts: ["One ", "two ", "three"], delayMs: 500 };
    await page.getByLabel("Message", { exact: true }).fill("Count");
    await eventually(() => button(page, "Send").isEnabled()).toBe(true);
    await page.keyboard.press("Enter");
    await eventually(async () => (await answers(page))[0]).toBe("One");
    await button(page, "Stop").click();
    await button(page, "Send").waitFor();
    const so = ((await lastAnswer(page).locator(".markdown").textContent()) ?? "").trim();
    says("and more");
    const sent = page.waitForRequest("**/v1/chat/completions");
    await button(page, "Continue").click();
    const body = (await sent).postDataJSON();
    expect(body).toMatchObject({ continue_final_message: true, add_generation_prompt: false });
    expect(body.messages.at(-1).content.trim()).toBe(so);
    await eventually(async () => (await answers(page))[0]).toBe(`${body.messages.at(-1).content}and more`);
    expect(await page.getByRole("group", { name: "Versions" }).count()).toBe(0);
    await page.context().close();
  });
});

describe("versions in two tabs", () => {
  it("are in both; none moves what the other one shows, and a reload has them all", async () => {
    const page = await scripted.visit();
    says("One.");
    await ask(page, "Count");
    says("And on.");
    await ask(page, "Go on");
    const other = await page.context().newPage();
    await other.goto(page.url());
    await eventually(() => answers(other)).toEqual(["One.", "And on."]);
    says("Two.");
    await button(page, "Regenerate").first().click();
    await eventually(() => answers(page)).toEqual(["Two."]);
    await other.getByText("1/2").waitFor();
    expect(await answers(other)).toEqual(["One.", "And on."]);
    await again(other, "And further.");
    await button(page, "Previous version").click();
    expect(await answers(page)).toEqual(["One.", "And further."]);
    await button(page, "Next version").first().click();
    expect([await answers(page), await answers(other)]).toEqual([["Two."], ["One.", "And further."]]);
    await other.reload();
    await other.getByRole("group", { name: "Versions" }).first().waitFor();
    await page.context().close();
  });
});

describe("versions in an export", () => {
  it("come back by an import, on a browser that never saw them", async () => {
    const page = await scripted.visit();
    says("One.");
    await ask(page, "Count");
    await again(page, "Two.");
    says("Eins.");
    await edit(page, 0, "Zähle");
    await page.getByLabel("More for Zähle").click();
    const [file] = await Promise.all([page.waitForEvent("download"), button(page, "Export as JSON").click()]);
    const exported = await readFile(await file.path());
    const elsewhere = await scripted.visit();
    await elsewhere
      .getByLabel("Import conversations")
      .setInputFiles({ name: "zaehle.json", mimeType: "application/json", buffer: exported });
    await elsewhere.getByText("1 of 1 imported.").waitFor();
    await button(elsewhere, "Zähle").click();
    expect(await answers(elsewhere)).toEqual(["Eins."]);
    await button(elsewhere, "Previous version").click();
    expect(await answers(elsewhere)).toEqual(["Two."]);
    await button(elsewhere, "Previous version").last().click();
    expect(await answers(elsewhere)).toEqual(["One."]);
    await Promise.all([page.context().close(), elsewhere.context().close()]);
  });
});
