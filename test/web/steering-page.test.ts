import type { Browser, BrowserContext, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { toastTiny } from "../support/toast-tiny.js";
import { findingsOf } from "./findings.js";
import { openBrowser } from "./open-browser.js";
import { type Program, startProgram } from "./start-program.js";

// The Steering view of the built page as one instrument, against the built program with toast-tiny.

vi.setConfig({ testTimeout: 240_000, hookTimeout: 120_000 });
/** A browser that got no turn for seconds fails what it waited for: once is bad luck, twice is a fault. */
const again = { retry: 1 };

const sampling = { seed: null, temperature: 0.7, top_p: 0.9, repetition_penalty: 1, max_tokens: 24 };
const settings = { model: "toast-tiny:alpaca", strength: 1, sampling };

let browser: Browser;
let program: Program;
const contexts: BrowserContext[] = [];
let errors: string[] = [];

beforeAll(async () => {
  [browser, program] = await Promise.all([openBrowser(), startProgram("--model", toastTiny, "--threads", "1")]);
});
afterAll(async () => {
  await browser?.close();
  await program?.kill();
});
afterEach(async () => {
  await Promise.all(contexts.splice(0).map((context) => context.close()));
  errors = [];
});

interface Visit {
  readonly width?: number;
  readonly height?: number;
  readonly dark?: boolean;
  readonly settings?: object;
}

/** A browser profile of its own: nothing is stored in it but the settings given. */
async function visit(fragment: string, options: Visit = {}): Promise<Page> {
  const context = await browser.newContext({
    viewport: { width: options.width ?? 1440, height: options.height ?? 900 },
    colorScheme: options.dark ? "dark" : "light",
    permissions: ["clipboard-read", "clipboard-write"],
  });
  contexts.push(context);
  context.setDefaultTimeout(60_000);
  const page = await context.newPage();
  page.on("pageerror", (error) => errors.push(error.message));
  page.on("console", (message) => {
    if (message.type() === "error") errors.push(message.text());
  });
  if (options.settings !== undefined) {
    const stored = JSON.stringify(JSON.stringify(options.settings));
    const key = '"toast-serve:settings"';
    await page.addInitScript(`localStorage.getItem(${key}) ?? localStorage.setItem(${key}, ${stored})`);
  }
  await page.goto(`${program.url}/${fragment}`);
  return page;
}

const button = (page: Page, name: string) => page.getByRole("button", { name, exact: true });
const column = (page: Page, name: RegExp) => page.getByRole("region", { name }).locator(".column-text");
const tokens = (page: Page) => page.getByRole("listbox", { name: "Tokens of the steered answer" });
const eventually = <Value>(look: () => Promise<Value>) => expect.poll(look, { timeout: 60_000 });
const sideways = (page: Page) => page.evaluate("document.documentElement.scrollWidth - innerWidth");

/** Both answers as they stand, once they are complete. */
async function texts(page: Page): Promise<readonly (string | null)[]> {
  // Answers of the chat say their speed, too: that view has to be gone.
  await column(page, /^Steered/).waitFor();
  await page
    .getByText(/tokens\/s/)
    .nth(1)
    .waitFor();
  return [await column(page, /^Base/).textContent(), await column(page, /^Steered/).textContent()];
}

describe("the likeliest tokens", again, () => {
  it("are shown of base and steered where the two part, five each, and of any token that is pointed at", async () => {
    const page = await visit("#/steering", { settings });
    await button(page, "Run both").click();
    await texts(page);
    const box = page.getByRole("region", { name: "Likeliest tokens" });
    await box.getByRole("heading", { name: "Likeliest tokens where the two part" }).waitFor();
    const lists = box.getByRole("list");
    expect(await lists.count()).toBe(2);
    for (const list of await lists.all()) expect(await list.getByRole("listitem").count()).toBeGreaterThanOrEqual(5);
    // What was drawn differs, which is what a fork is.
    const drawn = await box.locator(".drawn .likely-text").allTextContents();
    expect(new Set(drawn).size).toBe(2);
    expect(await tokens(page).locator(".token.fork").textContent()).toBe(drawn[1]);
    // The same as the server says without the page.
    const body = {
      model: settings.model,
      messages: [{ role: "user", content: await page.getByLabel("Prompt", { exact: true }).inputValue() }],
      ...sampling,
      seed: 1,
      logprobs: true,
      top_logprobs: 5,
    };
    const response = await fetch(`${program.url}/v1/chat/completions`, { method: "POST", body: JSON.stringify(body) });
    const answer = (await response.json()) as {
      choices: { logprobs: { content: { token: string; logprob: number }[] } }[];
    };
    const at = await tokens(page)
      .getByRole("option")
      .evaluateAll((all) => all.findIndex((one) => one.classList.contains("fork")));
    const { token, logprob } = answer.choices[0]?.logprobs.content[at] ?? { token: "", logprob: 0 };
    expect(drawn[1]).toBe(token);
    const percent = Math.round(100 * Math.exp(logprob));
    expect(await box.locator(".likeliest-side.steered .drawn .likely-share").textContent()).toBe(`${percent} %`);

    await tokens(page).getByRole("option").last().hover();
    await box.getByText("The base reads another text from where they part.").waitFor();
    expect(await findingsOf(page)).toEqual([]);
    expect(errors).toEqual([]);
  });
});

describe("the view's address", again, () => {
  it("gives the same texts in another browser profile, and after a reload", async () => {
    const page = await visit("#/steering", { settings: { ...settings, strength: 0.8, systemPrompt: "Be brief." } });
    await page.getByLabel("Prompt", { exact: true }).fill("Tell me a story.");
    await page.getByLabel("from layer").selectOption("1");
    await page.getByLabel("Seed").fill("77");
    await button(page, "Run both").click();
    const said = await texts(page);
    expect(said[0]).not.toBe(said[1]);
    await button(page, "Copy link").click();
    await button(page, "Copied").waitFor();
    const link = (await page.evaluate("navigator.clipboard.readText()")) as string;
    expect(link).toContain("layers=1-5");
    expect(page.url()).toBe(link);

    const other = await visit(link.slice(program.url.length + 1));
    expect(await texts(other)).toEqual(said);
    expect(await other.getByLabel("Prompt", { exact: true }).inputValue()).toBe("Tell me a story.");
    expect(await other.getByLabel("from layer").inputValue()).toBe("1");
    expect(await other.getByLabel(/^Steering strength/).inputValue()).toBe("0.8");
    await other.getByText("Asked as the link says: temperature 0.7").waitFor();
    expect(await findingsOf(other)).toEqual([]);
    await button(other, "Put my own settings back").click();
    expect(await other.getByText("Asked as the link says").count()).toBe(0);

    await page.reload();
    expect(await texts(page)).toEqual(said);
    // One's own settings are no link's.
    expect(await page.getByText("Asked as the link says").count()).toBe(0);
    expect(errors).toEqual([]);
  });

  it("says what of it this server lacks, and asks nothing by itself then", async () => {
    const page = await visit("#/steering?model=toast-tiny:alpaca&strength=1&vector=nobody*1*all*&seed=1&user=Hi");
    await page.getByText("The link uses the control vector 'nobody', which this server does not have").waitFor();
    expect(await page.getByRole("region", { name: /^Steered/ }).count()).toBe(0);
    await button(page, "Run both").click();
    await texts(page);
  });
});

describe("an answer of the chat", again, () => {
  it("leads to why it came: the same text in the Steering view, behind the same conversation", async () => {
    const page = await visit("", { settings: { ...settings, strength: 0.9, systemPrompt: "Be brief." } });
    const answers = page.locator(".message.assistant");
    for (const [at, question] of ["Tell me a story.", "Tell me more."].entries()) {
      await page.getByLabel("Message", { exact: true }).fill(question);
      await eventually(() => button(page, "Send").isEnabled()).toBe(true);
      await page.keyboard.press("Enter");
      await eventually(() => answers.count()).toBe(at + 1);
      await button(page, "Send").waitFor();
    }
    const said = await answers.last().locator(".markdown").first().innerText();
    // Set otherwise since: the answer's own settings are what made it.
    await page.getByLabel(/^Steering strength/).fill("0.2");
    expect(await findingsOf(page)).toEqual([]);
    await answers.last().getByRole("link", { name: "Why this answer" }).click();
    const [, steered] = await texts(page);
    const plain = (text: string | null | undefined) => (text ?? "").replaceAll(/[⏎\s]+/g, " ").trim();
    expect(plain(steered)).toContain(plain(said));
    await page.getByText("2 earlier messages").click();
    await page.getByText("You Tell me a story.").waitFor();
    expect(await page.getByLabel("Prompt", { exact: true }).inputValue()).toBe("Tell me more.");
    expect(await page.getByLabel(/^Steering strength/).inputValue()).toBe("0.9");
    expect(await findingsOf(page)).toEqual([]);
    await button(page, "Put my own settings back").click();
    expect(await page.getByLabel(/^Steering strength/).inputValue()).toBe("0.2");
    expect(errors).toEqual([]);
  });
});

describe("answers", again, () => {
  it("are shown as their Markdown means, where that is wanted", async () => {
    const page = await visit("#/steering", { settings });
    const source = "A **bold** word\n\n- one\n- two";
    await page.route("**/v1/chat/completions", (route) => {
      const chunks = [{ delta: { content: source } }, { delta: {}, finish_reason: "stop" }];
      const lines = [...chunks.map((choice) => JSON.stringify({ choices: [choice] })), "[DONE]"];
      return route.fulfill({
        contentType: "text/event-stream",
        body: lines.map((data) => `data: ${data}\n\n`).join(""),
      });
    });
    await button(page, "Run both").click();
    await page.getByText(/^Same text on both sides/).waitFor();
    expect(await column(page, /^Base/).textContent()).toContain("**bold**");
    await page.getByLabel("Formatted").check();
    for (const name of [/^Base/, /^Steered/]) {
      expect(await column(page, name).getByRole("listitem").count()).toBe(2);
      expect(await column(page, name).locator("strong").textContent()).toBe("bold");
    }
    expect(await findingsOf(page)).toEqual([]);
    await page.getByLabel("As tokens").check();
    expect(await column(page, /^Base/).textContent()).toContain("**bold**");
  });
});

describe("everywhere", again, () => {
  it.each([
    { width: 1440, dark: true },
    { width: 390, height: 844 },
    { width: 320, height: 568, dark: true },
  ])("fits and is accessible, dials and engine opened (%o)", async (looks) => {
    const page = await visit("#/steering", { ...looks, settings });
    const long = `${"word".repeat(100)} 你好 مرحبا 🙂 ${"x = 1; ".repeat(45)}`;
    await page.getByLabel("Prompt", { exact: true }).fill(long);
    await button(page, "Run both").click();
    await texts(page);
    await page.getByText("Engine", { exact: true }).click();
    expect(await sideways(page)).toBe(0);
    expect(await findingsOf(page)).toEqual([]);
    await page.getByLabel("Formatted").check();
    expect(await sideways(page)).toBe(0);
    expect(await findingsOf(page)).toEqual([]);
    await eventually(() => page.getByRole("region", { name: /^Likeliest/ }).count()).toBe(1);
    expect(errors).toEqual([]);
  });
});
