import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { readVectorFile } from "../../src/vectors/vector-file.js";
import { toastTiny } from "../support/toast-tiny.js";
import { findingsOf } from "./findings.js";
import { openBrowser } from "./open-browser.js";
import { type Program, startProgram } from "./start-program.js";

// Control vectors in the built page, against the built program with toast-tiny: made, kept, tried, shared, looked at.

vi.setConfig({ testTimeout: 240_000, hookTimeout: 120_000 });
/** A browser that got no turn for seconds fails what it waited for: once is bad luck, twice is a fault. */
const again = { retry: 1 };

const model = "toast-tiny";
const question = "Once upon a time";
const sampling = { seed: 3, temperature: 0.7, top_p: 0.9, repetition_penalty: 1, max_tokens: 24 };

let browser: Browser;
let program: Program;
const contexts: BrowserContext[] = [];
/** What pages logged as errors. */
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
  for (const { name, origin } of await vectors()) if (origin === "upload") await call("DELETE", `${model}/${name}`);
  errors = [];
});

/** A page of somebody who was never here, or who has set something before. */
async function visit(
  fragment: string,
  options: { readonly narrow?: boolean; readonly dark?: boolean; readonly settings?: object } = {},
): Promise<Page> {
  const context = await browser.newContext({
    viewport: options.narrow ? { width: 390, height: 844 } : { width: 1440, height: 900 },
    colorScheme: options.dark ? "dark" : "light",
    acceptDownloads: true,
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

const base = { model, sampling };
const button = (page: Page, name: string | RegExp) =>
  page.getByRole("button", typeof name === "string" ? { name, exact: true } : { name });
const answers = (page: Page) => page.locator(".message.assistant");
const lastText = async (page: Page) =>
  ((await answers(page).last().locator(".markdown").first().textContent()) ?? "").trim();
const eventually = <Value>(look: () => Promise<Value>) => expect.poll(look, { timeout: 60_000 });
const sideways = (page: Page) => page.evaluate("document.documentElement.scrollWidth - innerWidth");

interface WireVector {
  readonly name: string;
  readonly origin: string;
  readonly description: string | null;
}

async function call(method: string, path: string, body?: object): Promise<Response> {
  return await fetch(`${program.url}/v1/vectors/${path}`, {
    method,
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
}

async function vectors(): Promise<readonly WireVector[]> {
  return ((await (await fetch(`${program.url}/v1/vectors`)).json()) as { data: WireVector[] }).data;
}

/** A vector that is there when the page comes; strong enough to change a text of toast-tiny. */
async function makeLoud(name = "loud"): Promise<void> {
  const response = await fetch(`${program.url}/v1/vectors`, {
    method: "POST",
    body: JSON.stringify({
      model,
      name,
      positive: ["Stop! Run! Go away!", "No! Never! Help!", "Fire! Fire! Quick!"],
      negative: ["The day was quiet and long.", "He sat by the river and slept.", "It was a calm evening at home."],
      description: "Shouts.",
      example_prompt: question,
      sweep: false,
    }),
  });
  expect([response.status, await response.text()]).toEqual([201, expect.stringContaining(name)]);
}

/** What the server itself says, asked without the page. */
async function textOf(steering?: object): Promise<string> {
  const body = { model, messages: [{ role: "user", content: question }], ...sampling, steering };
  const response = await fetch(`${program.url}/v1/chat/completions`, { method: "POST", body: JSON.stringify(body) });
  const answer = (await response.json()) as { choices: { message: { content: string } }[] };
  return answer.choices[0]?.message.content ?? "";
}

async function ask(page: Page, text: string): Promise<void> {
  await page.getByLabel("Message", { exact: true }).fill(text);
  await eventually(() => button(page, "Send").isEnabled()).toBe(true);
  await page.keyboard.press("Enter");
  await answers(page).last().waitFor();
  await button(page, "Send").waitFor();
}

async function describeSides(page: Page, positive: string, negative: string): Promise<void> {
  await page.getByLabel("More like …").fill(positive);
  await page.getByLabel("Less like …").fill(negative);
}

describe("the workshop", again, () => {
  it("makes a vector of two sides, and the chat has its dial: moved, the answer comes again and is another", async () => {
    const page = await visit("#/vectors", { settings: base });
    await describeSides(page, "extremely happy", "extremely sad");
    expect(await page.getByLabel("Name", { exact: true }).inputValue()).toBe("happy");
    await button(page, "Make the vector").click();
    const bar = page.getByRole("progressbar", { name: /^Making happy/ });
    await eventually(async () => Number(await bar.getAttribute("value"))).toBeGreaterThan(0);
    const early = Number(await bar.getAttribute("value"));
    await eventually(async () => Number(await bar.getAttribute("value").catch(() => 1))).toBeGreaterThan(early);
    await page.getByRole("heading", { name: /^happy is ready/ }).waitFor({ timeout: 200_000 });
    expect(await vectors()).toMatchObject([
      { name: "happy", description: "More like extremely happy, less like extremely sad." },
    ]);
    const { separation } = (await (await call("GET", `${model}/happy`)).json()) as { separation: number };
    await page
      .getByText(`${Math.round(separation * 100)} in 100`, { exact: false })
      .first()
      .waitFor();
    await button(page, /^Try it in the chat/).click();
    const dial = page.getByLabel(/^happy/);
    await eventually(() => dial.inputValue()).not.toBe("0");
    await dial.fill("2");
    await ask(page, question);
    const steered = await lastText(page);
    const seed = /seed \d+/.exec((await answers(page).last().textContent()) ?? "")?.[0];
    expect(await answers(page).last().getByRole("heading").first().textContent()).toContain("happy 2.00");
    expect(await button(page, "Answer again").count()).toBe(0);
    await dial.fill("0");
    await button(page, "Answer again").click();
    await button(page, "Answer again").waitFor({ state: "hidden" });
    await button(page, "Send").waitFor();
    expect(await lastText(page)).not.toBe(steered);
    expect(await lastText(page)).toBe((await textOf()).trim());
    expect(await answers(page).count()).toBe(1);
    expect(await answers(page).last().textContent()).toContain(seed);
    // What it said before stands beside it, with what it was steered by.
    const before = answers(page).last().locator(".said-before");
    expect(await before.locator("summary").textContent()).toBe("Before: toast-tiny, happy 2.00");
    expect(((await before.locator(".markdown").textContent()) ?? "").trim()).toBe(steered);
    expect(errors).toEqual([]);
  });

  it("says what is wrong with the sides and the name, and makes it once they are right", async () => {
    await makeLoud();
    const page = await visit("#/vectors", { settings: base });
    const problem = (id: string) => page.locator(`#maker-${id}-problem`);
    await button(page, "Make the vector").click();
    expect(await problem("positive").textContent()).toContain("Too short: describe somebody");
    expect(await problem("negative").textContent()).toContain("Too short");
    expect(await page.getByLabel("More like …").getAttribute("aria-invalid")).toBe("true");
    await describeSides(page, "a pirate", "A pirate ");
    await eventually(() => problem("negative").textContent()).toContain("Both sides say the same.");
    await describeSides(page, "a pirate", "a clerk");
    await page.getByLabel("Name", { exact: true }).fill("loud");
    await eventually(() => problem("name").textContent()).toContain("There is a vector “loud” already.");
    await page.getByLabel("Name", { exact: true }).fill("no good");
    await eventually(() => problem("name").textContent()).toContain("A name is made of letters");
    expect((await vectors()).map(({ name }) => name)).toEqual(["loud"]);
    await page.getByLabel("Name", { exact: true }).fill("pirate");
    await page.getByLabel(/Try strengths too/).uncheck();
    await page.keyboard.press("Tab");
    await button(page, "Make the vector").click();
    await page.getByRole("heading", { name: /^pirate is ready/ }).waitFor();
    expect((await vectors()).map(({ name }) => name)).toEqual(["loud", "pirate"]);
    expect(errors).toEqual([]);
  });

  it("shows the server's own sentence for a name that somebody else has taken meanwhile", async () => {
    const page = await visit("#/vectors", { settings: base });
    await describeSides(page, "a pirate", "a clerk");
    await makeLoud("pirate");
    await button(page, "Make the vector").click();
    await page.getByText("has a control vector 'pirate' already").waitFor();
    expect(await page.getByLabel("More like …").inputValue()).toBe("a pirate");
  });

  it("stops making when it is told to, and nothing is left", async () => {
    const page = await visit("#/vectors", { settings: base });
    await button(page, "pirate / ordinary person").click();
    await button(page, "Make the vector").click();
    await page.getByRole("progressbar", { name: /reading/ }).waitFor();
    await button(page, "Cancel").click();
    await button(page, "Make the vector").waitFor();
    expect(await page.getByRole("progressbar").count()).toBe(0);
    expect(await page.locator("main").getByRole("alert").allTextContents()).toEqual([]);
    // The name is free again once the server has heard of it.
    await eventually(async () => (await call("GET", `${model}/pirate`)).status).toBe(404);
    expect(await vectors()).toEqual([]);
    expect(await page.getByLabel("More like …").inputValue()).toBe("a pirate");
  });

  it("renames, hands out and deletes a vector, and asks before it does that", async () => {
    await makeLoud();
    const page = await visit("#/vectors", { settings: { ...base, vectors: { loud: 1 } } });
    const card = (name: string) =>
      page.getByRole("listitem").filter({ has: page.getByRole("heading", { name, exact: true }) });
    await card("loud")
      .getByRole("button", { name: /^Rename/ })
      .click();
    await page.getByLabel("New name of loud").fill("in valid");
    await page.keyboard.press("Enter");
    await card("loud").getByText("A name is made of letters").waitFor();
    await page.getByLabel("New name of loud").fill("shouting");
    await page.keyboard.press("Enter");
    await card("shouting").waitFor();
    expect(await vectors()).toMatchObject([{ name: "shouting", description: "Shouts." }]);
    // Who had turned it up has it turned up under its new name.
    expect(await page.evaluate("JSON.parse(localStorage.getItem('toast-serve:settings')).vectors")).toEqual({
      shouting: { strength: 1, layers: null },
    });
    const [file] = await Promise.all([
      page.waitForEvent("download"),
      card("shouting")
        .getByRole("button", { name: /^Download/ })
        .click(),
    ]);
    expect(file.suggestedFilename()).toBe("shouting.gguf");
    const scratch = await mkdtemp(join(tmpdir(), "toast-vector-"));
    try {
      const path = join(scratch, "shouting.gguf");
      await writeFile(path, await readFile(await file.path()));
      expect((await readVectorFile(path)).details.description).toBe("Shouts.");
    } finally {
      await rm(scratch, { recursive: true, force: true });
    }
    await card("shouting")
      .getByRole("button", { name: /^Delete/ })
      .click();
    await button(page, "Keep it").click();
    expect(await vectors()).toHaveLength(1);
    await card("shouting")
      .getByRole("button", { name: /^Delete/ })
      .click();
    await button(page, "Delete for good").click();
    await card("shouting").waitFor({ state: "detached" });
    expect(await vectors()).toEqual([]);
    expect(errors).toEqual([]);
  });
});

describe("side by side", again, () => {
  it("writes five strengths of one prompt in one batch, the one at 0 as the base does, and marks the range", async () => {
    await makeLoud();
    const page = await visit("#/vectors", { settings: base });
    const open = new Set<string>();
    let most = 0;
    page.on("request", (request) => {
      if (!request.url().endsWith("/v1/chat/completions")) return;
      open.add(
        String(
          (request.postDataJSON() as { steering?: { vectors: [{ strength: number }] } }).steering?.vectors[0].strength,
        ),
      );
      most = Math.max(most, open.size);
    });
    page.on("requestfinished", (request) => {
      if (request.url().endsWith("/v1/chat/completions")) open.clear();
    });
    await page.getByLabel("Seed").fill("3");
    await page.getByLabel("Strength, 5 of 5").fill("3");
    await page.keyboard.press("Tab");
    await button(page, "Write five").click();
    await button(page, "Write five").waitFor();
    // Before the first had ended, all were asked; toast-tiny's vector was not tried, so no range is marked.
    expect(most).toBe(5);
    const text = async (title: string) =>
      await page.getByRole("region", { name: title, exact: true }).locator(".plain-text").textContent();
    await eventually(() => text("Strength 3")).not.toBe("");
    expect(await text("Strength 0")).toBe(await textOf());
    expect(await text("Strength 3")).toBe(await textOf({ vectors: [{ name: "loud", strength: 3 }] }));
    expect(await text("Strength 3")).not.toBe(await text("Strength 0"));
    expect(await page.locator(".standing").allTextContents()).toEqual([
      "not measured",
      "not measured",
      "the model as it is",
      "not measured",
      "not measured",
    ]);
    // An adapter goes the same way.
    await page.getByLabel("What is tried").selectOption({ label: "alpaca" });
    expect(await page.locator(".standing").allTextContents()).toEqual([
      "the model as it is",
      "recommended",
      "recommended",
      "past the recommended range",
      "past the recommended range",
    ]);
    expect(errors).toEqual([]);
  });

  it("limits a vector to windows of its layers, draws them, and takes one to the chat", async () => {
    await makeLoud();
    const page = await visit("#/vectors", { settings: base });
    await page.getByLabel("Which layers matter").check();
    const chart = page.getByRole("img", { name: /^How well it tells the two sides apart, by layer/ });
    expect(await chart.getAttribute("aria-label")).toMatch(/layer 2: [\d.]+, layer 3: [\d.]+/);
    await page.getByLabel("Seed").fill("3");
    await page.getByLabel("Strength", { exact: true }).fill("4");
    await page.keyboard.press("Tab");
    await button(page, "Try the layers").click();
    await button(page, "Try the layers").waitFor();
    const { layers } = (await (await call("GET", `${model}/loud`)).json()) as { layers: [number, number] };
    const last = page.getByRole("region", { name: `Layer ${layers[1]}`, exact: true }).locator(".plain-text");
    const steering = { vectors: [{ name: "loud", strength: 4, layers: [layers[1], layers[1]] }] };
    expect(await last.textContent()).toBe(await textOf(steering));
    await button(page, new RegExp(`^Take to the chat at strength 4 in layer ${layers[1]}$`)).click();
    await page.getByText(`Only in layers ${layers[1]} to ${layers[1]}.`).waitFor();
    await ask(page, question);
    expect(await lastText(page)).toBe((await textOf(steering)).trim());
    expect(errors).toEqual([]);
  });
});

describe("a link to an answer", again, () => {
  it("opens elsewhere with all that made it, and gives the same text", async () => {
    await makeLoud();
    const page = await visit("", {
      settings: {
        model: "toast-tiny:alpaca",
        strength: 0.6,
        vectors: { loud: { strength: 1.5, layers: [1, 3] } },
        systemPrompt: "Be brief.",
        // The seed is drawn; the link has it all the same.
        sampling: { ...sampling, seed: null },
      },
    });
    await ask(page, "What makes a good friend?");
    await ask(page, "Tell me more.");
    const text = await lastText(page);
    expect(text).not.toBe("");
    await button(page, "Copy link").last().click();
    await button(page, "Copied").waitFor();
    const link = (await page.evaluate("navigator.clipboard.readText()")) as string;
    expect(link.startsWith(`${program.url}/#/chat?model=toast-tiny%3Aalpaca&strength=0.6&vector=loud*1.5*1-3*`)).toBe(
      true,
    );

    const other = await visit(link.slice(program.url.length + 1));
    await other.getByText("A link has set everything").waitFor();
    expect(await other.getByLabel("Message", { exact: true }).inputValue()).toBe("Tell me more.");
    expect(await other.getByLabel("System prompt").inputValue()).toBe("Be brief.");
    await eventually(() => other.getByLabel(/^loud/).inputValue()).toBe("1.5");
    expect(await other.evaluate("location.hash")).toMatch(/^#\/chat\/[\w-]+$/);
    await button(other, "Send").click();
    await eventually(() => answers(other).count()).toBe(2);
    await button(other, "Send").waitFor();
    expect(await lastText(other)).toBe(text);
    expect(await other.locator(".problem-line").count()).toBe(0);
    await button(other, "Put my own settings back").click();
    expect(await other.getByLabel("System prompt").inputValue()).toBe("");
    expect(await other.getByLabel(/^loud/).inputValue()).toBe("0");
    expect(errors).toEqual([]);
  });

  it("says so where this server lacks its vector, has another of its name, or lacks its model", async () => {
    await makeLoud();
    const missing = await visit(`#/chat?model=toast-tiny&vector=nobody*1*all*&seed=1&user=Hi`);
    await missing
      .getByText("The link uses the control vector 'nobody', which this server does not have for toast-tiny")
      .waitFor();
    // What is not there is not sent: the question is answered all the same.
    await button(missing, "Send").click();
    await button(missing, "Send").waitFor();
    await eventually(() => lastText(missing)).not.toBe("");
    const another = await visit(`#/chat?model=toast-tiny&vector=loud*1*all*000000000000&seed=1&user=Hi`);
    await another.getByText("The control vector 'loud' of this server is not the one of the link").waitFor();
    const strange = await visit(`#/chat?model=elsewhere&seed=1&user=Hi`);
    await strange.getByText("The link is for the model 'elsewhere', which is not served here.").waitFor();
  });
});

describe("the steering view", again, () => {
  it("shades tokens by how far they lie along a vector, before its addition and after", async () => {
    await makeLoud();
    const page = await visit("#/steering", { settings: { ...base, vectors: { loud: 2 } } });
    await button(page, "Run both").click();
    const answer = page.getByRole("listbox", { name: "Tokens of the steered answer" });
    await page
      .getByText(/tokens\/s/)
      .nth(1)
      .waitFor();
    await page.getByRole("heading", { name: "Steered, loud 2.00" }).waitFor();
    // Without an adapter there is nothing else to shade by.
    expect(await page.getByRole("radio", { name: "Relevance" }).count()).toBe(0);
    await page.getByLabel("before the addition").check();
    const shades = () =>
      answer.getByRole("option").evaluateAll((all) => all.map((token) => token.getAttribute("style")));
    const before = await shades();
    expect(new Set(before).size).toBeGreaterThan(2);
    await page.getByLabel("after it").check();
    expect(await shades()).not.toEqual(before);
    await answer.focus();
    await page.keyboard.press("ArrowRight");
    const chosen = answer.getByRole("option", { selected: true });
    expect(await chosen.getAttribute("aria-label")).toMatch(/loud -?[\d.e-]+ before, -?[\d.e-]+ after/);
    const chart = page.getByRole("img", { name: /^Along loud, this token/ });
    expect(await chart.getAttribute("aria-label")).toMatch(/layer 2: -?[\d.e-]+ before, -?[\d.e-]+ after/);
    expect(await findingsOf(page)).toEqual([]);
    expect(errors).toEqual([]);
  });

  it("has the vector beside relevance where an adapter steers too", async () => {
    await makeLoud();
    const settings = { model: "toast-tiny:alpaca", sampling, vectors: { loud: 1 } };
    const page = await visit("#/steering", { settings });
    await button(page, "Run both").click();
    await page.getByRole("listbox", { name: "Tokens of the steered answer" }).waitFor();
    await eventually(() => page.getByRole("group", { name: "Shade tokens by" }).getByRole("radio").count()).toBe(3);
    await page.getByRole("radio", { name: "loud", exact: true }).check();
    await page.getByLabel("before the addition").waitFor();
    await page.getByRole("radio", { name: "Relevance" }).check();
    await page.getByRole("img", { name: /^Gain of each layer/ }).waitFor();
  });
});

describe("for everybody", again, () => {
  it.each([
    { dark: false, narrow: false },
    { dark: true, narrow: false },
    { dark: false, narrow: true },
    { dark: true, narrow: true },
  ])("the workshop has no serious finding and no sideways scroll (dark: $dark, narrow: $narrow)", async (options) => {
    await makeLoud();
    const page = await visit("#/vectors", { settings: base, ...options });
    await button(page, "Make the vector").click();
    expect(await findingsOf(page)).toEqual([]);
    expect(await sideways(page)).toBe(0);
    await describeSides(page, "a pirate", "a clerk");
    await page.getByLabel(/Try strengths too/).uncheck();
    await button(page, "Make the vector").click();
    await page.getByRole("heading", { name: /^pirate is ready/ }).waitFor();
    await button(page, "Write five").click();
    await button(page, "Write five").waitFor();
    await button(page, /^Delete loud/).click();
    await button(page, /^Rename pirate/).click();
    expect(await findingsOf(page)).toEqual([]);
    expect(await sideways(page)).toBe(0);
    await page.getByLabel("Which layers matter").check();
    expect(await findingsOf(page)).toEqual([]);
    expect(await sideways(page)).toBe(0);
    expect(errors).toEqual([]);
  });

  it("a phone has the dials above the question, and a link's notice fits", async () => {
    await makeLoud();
    const page = await visit(`#/chat?model=toast-tiny&vector=loud*1*all*&vector=nobody*1*1-2*&seed=1&user=Hi`, {
      narrow: true,
    });
    const summary = page.locator(".dials summary");
    await eventually(() => summary.textContent()).toBe("Control vectors: loud 1.00");
    await summary.click();
    await page.getByLabel(/^loud/).fill("0");
    await eventually(() => summary.textContent()).toBe("Control vectors");
    expect(await findingsOf(page)).toEqual([]);
    expect(await sideways(page)).toBe(0);
  });
});
