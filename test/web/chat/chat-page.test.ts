import { readFile } from "node:fs/promises";
import type { Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { ask, eventually, lastAnswer, ScriptedPage, sideways } from "../scripted-page.js";

// The chat of the built page with answers, refusals and tabs that no model has on demand.

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });
const again = { retry: 0 };

let scripted: ScriptedPage;
beforeAll(async () => {
  scripted = await ScriptedPage.start();
});
afterAll(async () => {
  await scripted?.end();
});
afterEach(() => {
  scripted.engine.script = {};
});

const button = (page: Page, name: string) => page.getByRole("button", { name, exact: true });
const textOf = async (page: Page) => ((await lastAnswer(page).locator(".markdown").textContent()) ?? "").trim();
const questions = (page: Page) => page.locator(".message.user .said").allTextContents();
const sentTo = (page: Page) => page.waitForRequest("**/v1/chat/completions");
const contents = (body: { readonly messages: readonly { readonly content: string }[] }) =>
  body.messages.map(({ content }) => content);

/** Without waiting for the answer. */
async function send(page: Page, text: string): Promise<void> {
  await page.getByLabel("Message", { exact: true }).fill(text);
  await eventually(() => button(page, "Send").isEnabled()).toBe(true);
  await page.keyboard.press("Enter");
}

const row = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
const columns = Array.from({ length: 14 }, (_, at) => `column number ${at}`);
const wide = [
  `\`\`\`\n${"const value = compute(argument); ".repeat(10)}\n\`\`\``,
  [row(columns), row(columns.map(() => "---")), row(columns)].join("\n"),
  "漢字かな交じり文".repeat(40),
  "هذا نص طويل باللغة العربية ".repeat(20),
  "🍞".repeat(120),
  "w".repeat(400),
].join("\n\n");

describe("an answer that is wider than the page", again, () => {
  it.each([1440, 390, 320])("stays inside of it: code and tables scroll by themselves (%i px)", async (width) => {
    scripted.engine.script = { texts: [wide] };
    const page = await scripted.visit("", { width });
    await ask(page, `${"q".repeat(400)} and an end`);
    expect(await sideways(page)).toBe(0);
    const said = await page.locator(".said").last().boundingBox();
    expect((said?.x ?? 0) + (said?.width ?? 0)).toBeLessThanOrEqual(width);
    const copy = await lastAnswer(page).getByRole("button", { name: "Copy", exact: true }).boundingBox();
    expect((copy?.x ?? 0) + (copy?.width ?? 0)).toBeLessThanOrEqual(width);
    await page.context().close();
  });
});

describe("Markdown", again, () => {
  it("shows what was written: lists that go on, tasks done and not, alignment, right-to-left text", async () => {
    const text = [
      "1. a\n```\ncode\n```\n2. b",
      "A word between.",
      "7. seven",
      "- [x] done\n- [ ] to do",
      "| l | r |\n| --- | ---: |\n| 1 | 2 |",
      "مرحبا بالعالم.",
    ];
    scripted.engine.script = { texts: [text.join("\n\n")] };
    const page = await scripted.visit();
    await ask(page, "Hi");
    const shown = lastAnswer(page).locator(".markdown");
    const starts = await shown.locator("ol").evaluateAll((lists) => lists.map((list) => list.getAttribute("start")));
    expect(starts).toEqual([null, "2", "7"]);
    const boxes = await shown
      .locator("input")
      .evaluateAll((all) => all.map((one) => [one.getAttribute("type"), one.hasAttribute("checked")].join()));
    expect(boxes).toEqual(["checkbox,true", "checkbox,false"]);
    expect(await shown.locator("td").nth(1).getAttribute("align")).toBe("right");
    const arabic = shown.getByText("مرحبا");
    expect(await arabic.evaluate((block) => getComputedStyle(block).direction)).toBe("rtl");
    await page.context().close();
  });
});

describe("a conversation", again, () => {
  it("goes on after a question that was refused: it is not sent again", async () => {
    const page = await scripted.visit();
    await ask(page, "word ".repeat(90));
    await lastAnswer(page).getByText("the context holds 64").waitFor();
    const sent = sentTo(page);
    await ask(page, "Hi");
    expect(contents((await sent).postDataJSON())).toEqual(["Hi"]);
    expect(await textOf(page)).toBe("I am alpaca");
    await page.context().close();
  });

  it("that has filled the context says so before it is too late, and begins from here", async () => {
    const page = await scripted.visit();
    const first = `${"word ".repeat(50)}end`;
    await ask(page, first);
    await page.getByText("54 of 64 tokens of context are in use.").waitFor();
    await ask(page, "one two three four five six seven eight nine ten eleven twelve");
    await lastAnswer(page).getByText("the context holds 64").waitFor();
    const sent = sentTo(page);
    await button(page, "Begin from here").click();
    expect(contents((await sent).postDataJSON())).toEqual([
      "one two three four five six seven eight nine ten eleven twelve",
    ]);
    await eventually(() => textOf(page)).toBe("I am alpaca");
    await page.getByText("The model no longer sees what stands above.").waitFor();
    expect(await questions(page)).toHaveLength(2);
    await page.reload();
    await page.getByText("The model no longer sees what stands above.").waitFor();
    await button(page, "Send it again").click();
    expect(await page.getByText("The model no longer sees").count()).toBe(0);
    await page.context().close();
  });

  it("begins anew on a click when the context is nearly full", async () => {
    const page = await scripted.visit();
    await ask(page, `${"word ".repeat(50)}end`);
    await button(page, "Begin anew from here").click();
    const sent = sentTo(page);
    await ask(page, "And now?");
    expect(contents((await sent).postDataJSON())).toEqual(["And now?"]);
    await page.context().close();
  });

  it("of 200 turns, far more than the context holds, goes on and keeps all that was said", async () => {
    const page = await scripted.visit();
    const messages = Array.from({ length: 199 }, (_, at) => {
      const turn = `0-${String(at).padStart(6, "0")}`;
      const parent = at === 0 ? null : `0-${String(at - 1).padStart(6, "0")}-a`;
      const question = { role: "user", id: turn, parent, turn, content: `Question ${at}`, attachments: [] };
      const answer = { role: "assistant", id: `${turn}-a`, parent: turn, turn, content: `Answer ${at}`, state: "done" };
      return [question, { ...answer, model: "tiny:alpaca", strength: 0.5, seed: 1 }];
    }).flat();
    const stored = JSON.stringify({ id: "long", title: "Long", updatedAt: 1, messages, shown: {}, cuts: [] });
    await page.evaluate((value) => localStorage.setItem("toast-serve:conversation:long", value), stored);
    await page.goto(`${scripted.server.url}/#/chat/long`);
    await page.reload();
    await ask(page, "Question 199");
    await lastAnswer(page).getByText("the context holds 64").waitFor();
    const sent = sentTo(page);
    await button(page, "Begin from here").click();
    expect(contents((await sent).postDataJSON())).toEqual(["Question 199"]);
    await eventually(() => textOf(page)).toBe("I am alpaca");
    // On until it is nearly full again, and beyond.
    for (let at = 200; at < 212; at++) {
      const anew = button(page, "Begin anew from here");
      if (await anew.isVisible()) await anew.click();
      await ask(page, `Question ${at} has some more words`);
      expect(await textOf(page)).toBe("I am alpaca");
    }
    expect(await questions(page)).toHaveLength(212);
    expect(await page.getByText("The model no longer sees what stands above.").count()).toBe(1);
    expect(await sideways(page)).toBe(0);
    await page.context().close();
  });

  it("has both turns when two tabs send at once", async () => {
    const page = await scripted.visit();
    await ask(page, "First");
    const other = await page.context().newPage();
    await other.goto(`${scripted.server.url}/`);
    await other.getByRole("button", { name: "First", exact: true }).click();
    scripted.engine.script = { delayMs: 150 };
    await Promise.all([send(page, "From one"), send(other, "From two")]);
    for (const tab of [page, other]) {
      await eventually(async () => (await questions(tab)).toSorted()).toEqual(["First", "From one", "From two"]);
      await eventually(async () => await tab.locator(".message.assistant .markdown").allTextContents()).toEqual(
        Array.from({ length: 3 }, () => "I am alpaca\n"),
      );
    }
    await page.reload();
    await lastAnswer(page).waitFor();
    expect((await questions(page)).toSorted()).toEqual(["First", "From one", "From two"]);
    await page.context().close();
  });

  it("has an address: Back returns to the one before", async () => {
    const page = await scripted.visit();
    await ask(page, "First");
    await button(page, "New conversation").click();
    await ask(page, "Second");
    await page.getByRole("button", { name: "First", exact: true }).click();
    expect(await questions(page)).toEqual(["First"]);
    await page.goBack();
    await eventually(() => questions(page)).toEqual(["Second"]);
    await page.goto(`${scripted.server.url}/#/steering`);
    await page.getByRole("heading", { level: 1 }).waitFor();
    await page.getByRole("link", { name: "Chat", exact: true }).click();
    await eventually(() => questions(page)).toEqual(["Second"]);
    await page.context().close();
  });

  it("exports what brings its answers back", async () => {
    const page = await scripted.visit("", { settings: { systemPrompt: "Be brief.", sampling: { temperature: 0.3 } } });
    await ask(page, "Hi");
    await page.getByLabel("More for Hi").click();
    const [file] = await Promise.all([page.waitForEvent("download"), button(page, "Export as Markdown").click()]);
    const text = await readFile(await file.path(), "utf8");
    expect(text).toMatch(/tiny:alpaca, strength 0.5, seed \d+, temperature 0.3.*, system prompt "Be brief\."/);
    await page.context().close();
  });

  it("that is left in mid-answer keeps what there was, and does not blame the server", async () => {
    const page = await scripted.visit();
    scripted.engine.script = { texts: ["One ", "two ", "three "], delayMs: 700 };
    await send(page, "Count");
    await eventually(() => textOf(page)).toBe("One");
    await page.reload();
    await lastAnswer(page).waitFor();
    expect(await textOf(page)).toBe("One");
    expect(await lastAnswer(page).textContent()).toContain("not finished: its page was left");
    expect(await lastAnswer(page).getByRole("alert").count()).toBe(0);
    scripted.engine.script = { texts: ["two ", "three"] };
    const sent = sentTo(page);
    await button(page, "Continue").click();
    expect((await sent).postDataJSON()).toMatchObject({
      messages: [{ content: "Count" }, { role: "assistant", content: "One " }],
      continue_final_message: true,
    });
    await eventually(() => textOf(page)).toBe("One two three");
    await page.context().close();
  });
});

describe("the messages' scrolling", again, () => {
  const paragraphs = Array.from({ length: 60 }, (_, at) => `Paragraph ${at} of a long answer.\n\n`);
  const behind = (page: Page) =>
    page
      .getByLabel("Messages", { exact: true })
      .evaluate((box) => Math.round(box.scrollHeight - box.scrollTop - box.clientHeight));

  it("follows a quick answer to its end, and shows what is sent from anywhere", async () => {
    const page = await scripted.visit();
    scripted.engine.script = { texts: paragraphs, delayMs: 8 };
    await ask(page, "Go on");
    expect(await behind(page)).toBeLessThan(40);
    await page.getByLabel("Messages", { exact: true }).hover();
    await page.mouse.wheel(0, -2_000);
    await eventually(() => behind(page)).toBeGreaterThan(1_000);
    await ask(page, "And now?");
    expect(await behind(page)).toBeLessThan(40);
    await page.context().close();
  });

  it("leaves a reader who has scrolled up where he is, with a way back", async () => {
    const page = await scripted.visit();
    scripted.engine.script = { texts: paragraphs, delayMs: 40 };
    await send(page, "Go on");
    await page.locator(".markdown").getByText("Paragraph 30 of").waitFor();
    await page.getByLabel("Messages", { exact: true }).hover();
    await page.mouse.wheel(0, -600);
    await page.locator(".markdown").getByText("Paragraph 45 of").waitFor({ state: "attached" });
    expect(await behind(page)).toBeGreaterThan(300);
    await button(page, "↓ Newest").click();
    await eventually(() => behind(page)).toBeLessThan(40);
    await page.context().close();
  });
});
