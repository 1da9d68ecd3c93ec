import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { makeRandomModel } from "../../src/convert/random-model.js";
import { startTestServer } from "../contract/start-test-server.js";
import { ScriptedEngine, scriptedModel } from "../server/scripted-engine.js";
import { toastTiny } from "../support/toast-tiny.js";
import { findingsOf } from "./findings.js";
import { openBrowser } from "./open-browser.js";
import { type Program, startProgram } from "./start-program.js";

// The built page in a real browser, against the built program with toast-tiny and a random model. One of each for all tests.

/** The base alone goes on and on after this one: there is time to interrupt it. */
const endless = { model: "toast-tiny", sampling: { max_tokens: 900 } };
const endlessQuestion = "How do I make tea?";

// A browser, a page and a model share what cores there are with the rest of the suite.
vi.setConfig({ testTimeout: 240_000 });
/** A browser that got no turn for seconds fails what it waited for: once is bad luck, twice is a fault. */
const again = { retry: 1 };

/** One thread: the other core is the browser's, which falls behind an answer otherwise. */
const toastTinyOnly = ["--model", toastTiny, "--threads", "1"];

let scratch: string;
let browser: Browser;
let program: Program;
let context: BrowserContext;
let page: Page;
/** What the page logged as errors, and every address that it asked for. */
let errors: string[];
let asked: URL[];

beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), "toast-page-"));
  const random = join(scratch, "random");
  await makeRandomModel({ shape: "tiny", seed: 1, quantize: "int8", out: random });
  [browser, program] = await Promise.all([openBrowser(), startProgram(...toastTinyOnly, "--model", random)]);
});
afterAll(async () => {
  await browser?.close();
  await program?.kill();
  await rm(scratch, { recursive: true, force: true });
});

beforeEach(async () => {
  await newPage();
});
afterEach(async () => {
  await context.close();
});

/** A page of somebody who was never here, or who has set something before. */
async function newPage(
  options: {
    readonly model?: string;
    readonly sampling?: object;
    readonly dark?: boolean;
    readonly narrow?: boolean;
  } = {},
) {
  await context?.close();
  context = await browser.newContext({
    viewport: options.narrow ? { width: 390, height: 844 } : { width: 1280, height: 800 },
    colorScheme: options.dark ? "dark" : "light",
    acceptDownloads: true,
  });
  context.setDefaultTimeout(60_000);
  page = await context.newPage();
  errors = [];
  asked = [];
  page.on("pageerror", (error) => errors.push(error.message));
  page.on("console", (message) => {
    if (message.type() === "error") errors.push(message.text());
  });
  page.on("request", (sent) => asked.push(new URL(sent.url())));
  const settings = JSON.stringify({
    model: options.model,
    sampling: { seed: 1, temperature: 0.7, top_p: 0.9, repetition_penalty: 1, ...options.sampling },
  });
  await page.addInitScript(
    `localStorage.getItem("toast-serve:settings") ?? localStorage.setItem("toast-serve:settings", ${JSON.stringify(settings)})`,
  );
}

const button = (name: string) => page.getByRole("button", { name, exact: true });
const answers = () => page.locator(".message.assistant");
const lastAnswer = () => answers().last();
/** What the last answer says, without its head and its tools. */
const lastText = async () => ((await lastAnswer().locator(".markdown").textContent()) ?? "").trim();

/** A busy machine takes its time; nothing is measured here. */
const eventually = <Value>(look: () => Promise<Value>) => expect.poll(look, { timeout: 60_000 });

async function ask(text: string): Promise<void> {
  await page.getByLabel("Message", { exact: true }).fill(text);
  // Models are listed a moment after the page is there.
  await eventually(() => button("Send").isEnabled()).toBe(true);
  await page.keyboard.press("Enter");
  await lastAnswer().waitFor();
}

async function answered(): Promise<void> {
  await button("Send").waitFor();
}

/** What the server itself says, asked without the page. */
async function textOf(body: object): Promise<string> {
  const response = await fetch(`${program.url}/v1/chat/completions`, { method: "POST", body: JSON.stringify(body) });
  const answer = (await response.json()) as { choices: { message: { content: string } }[] };
  return answer.choices[0]?.message.content ?? "";
}

async function running(): Promise<number> {
  return ((await (await fetch(`${program.url}/health`)).json()) as { running: number }).running;
}

const findings = () => findingsOf(page);

describe("the chat", again, () => {
  it("streams an answer, tells its pace, and has it again after a reload", async () => {
    await newPage({ model: "toast-tiny", sampling: { max_tokens: 400 } });
    await page.goto(program.url);
    await button("Write a short story about a dog.").click();
    await eventually(lastText).not.toBe("");
    const early = await lastText();
    expect(await lastAnswer().getAttribute("aria-busy")).toBe("true");
    await answered();
    const whole = await lastText();
    expect(whole.length).toBeGreaterThan(early.length);
    expect(whole.startsWith(early.trimEnd())).toBe(true);
    expect(await lastAnswer().textContent()).toMatch(/\d+ tokens · [\d.]+ tokens\/s · first after [\d.]+ m?s · seed 1/);
    await page.reload();
    await page.getByRole("button", { name: "Write a short story about a dog.", exact: true }).first().click();
    expect(await lastText()).toBe(whole);
    expect(errors).toEqual([]);
  });

  it("stops where it is told to, and the server stops too", async () => {
    await newPage(endless);
    await page.goto(program.url);
    await ask(endlessQuestion);
    await eventually(lastText).not.toBe("");
    await button("Stop").click();
    await button("Send").waitFor();
    const stopped = await lastText();
    expect(await lastAnswer().textContent()).toContain("stopped");
    await eventually(running).toBe(0);
    expect(await lastText()).toBe(stopped);
  });

  it("gives the same text again for the same seed, and another for an edited question", async () => {
    await newPage({ sampling: { max_tokens: 24 } });
    await page.goto(program.url);
    await ask("What makes a good friend?");
    await answered();
    const first = await lastText();
    await button("Regenerate").click();
    await answered();
    expect(await lastText()).toBe(first);
    await page.getByText("2/2").waitFor();
    await button("Edit").click();
    await page.getByLabel("Edit your message").fill("How do I make tea?");
    await button("Send again").click();
    await eventually(lastText).not.toBe(first);
    await answered();
    expect(await answers().count()).toBe(1);
    expect(await page.locator(".message.user .said").allTextContents()).toEqual(["How do I make tea?"]);
    expect(errors).toEqual([]);
  });

  it("has a dial for each control vector: turned up, it makes another text and says so", async () => {
    const made = await fetch(`${program.url}/v1/vectors`, {
      method: "POST",
      body: JSON.stringify({
        model: "toast-tiny",
        name: "loud",
        positive: ["Stop! Run! Go away!", "No! Never! Help!", "Fire! Fire! Quick!"],
        negative: ["The day was quiet and long.", "He sat by the river and slept.", "It was a calm evening at home."],
        description: "Shouts.",
        sweep: false,
      }),
    });
    expect([made.status, await made.text()]).toEqual([201, expect.stringContaining("loud")]);
    await newPage({ model: "toast-tiny", sampling: { max_tokens: 24 } });
    await page.goto(program.url);
    await ask("Once upon a time");
    await answered();
    const plain = await lastText();
    const dial = page.getByLabel(/^loud/);
    await dial.fill("2");
    await button("Regenerate").click();
    await answered();
    expect(await lastText()).not.toBe(plain);
    expect(await lastAnswer().getByRole("heading").textContent()).toContain("loud 2.00");
    await dial.fill("0");
    await button("Regenerate").click();
    await answered();
    expect(await lastText()).toBe(plain);
    expect((await fetch(`${program.url}/v1/vectors/toast-tiny/loud`, { method: "DELETE" })).status).toBe(200);
  });

  it("says at strength 0 what the base says", async () => {
    const sampling = { seed: 1, temperature: 0.7, top_p: 0.9, repetition_penalty: 1, max_tokens: 30 };
    await newPage({ sampling });
    await page.goto(program.url);
    const question = "Give three tips for staying healthy.";
    await page.getByLabel(/^Steering strength/).press("Home");
    await ask(question);
    await answered();
    const messages = [{ role: "user", content: question }];
    const words = (text: string) => text.replaceAll(/[\s*#-]+/g, " ").trim();
    const base = await textOf({ model: "toast-tiny", messages, ...sampling });
    expect(words(await lastText())).toBe(words(base));
    expect(await lastAnswer().textContent()).toContain("strength 0.00");
    expect(base).not.toBe(await textOf({ model: "toast-tiny:alpaca", messages, ...sampling }));
  });

  it("sends the system prompt and every sampling setting", async () => {
    await page.goto(program.url);
    await page.getByLabel("System prompt").fill("Be brief.");
    await page.getByText("More sampling").click();
    expect(await page.getByLabel("Repetition penalty").getAttribute("placeholder")).toBe("1.15");
    for (const [label, value] of Object.entries({ "Max tokens": "3", "Top k": "40", "Min p": "0.05", Seed: "9" })) {
      await page.getByLabel(label, { exact: true }).fill(value);
    }
    const sent = page.waitForRequest("**/v1/chat/completions");
    await ask("Hi");
    expect((await sent).postDataJSON()).toMatchObject({
      model: "toast-tiny:alpaca",
      messages: [
        { role: "system", content: "Be brief." },
        { role: "user", content: "Hi" },
      ],
      temperature: 0.7,
      top_p: 0.9,
      top_k: 40,
      min_p: 0.05,
      max_tokens: 3,
      seed: 9,
      steering: { strength: 1 },
    });
    await answered();
    expect(await lastAnswer().textContent()).toContain("cut at the token limit");
  });

  it("shows the server's own sentence for what it refuses, and goes on", async () => {
    await newPage({ sampling: { max_tokens: 4 } });
    await page.goto(program.url);
    await ask("word ".repeat(2_000));
    await page
      .getByText(/context/)
      .first()
      .waitFor();
    expect(await lastAnswer().locator(".problem-line").textContent()).toMatch(/1024/);
    await button("New conversation").click();
    await ask("Hi");
    await answered();
    expect(await lastText()).not.toBe("");
  });

  it("renames, exports and deletes conversations", async () => {
    await newPage({ sampling: { max_tokens: 4 } });
    await page.goto(program.url);
    await ask("First question");
    await answered();
    await page.getByLabel("More for First question").click();
    await button("Rename").click();
    await page.getByLabel("Title").fill("Renamed");
    await page.keyboard.press("Enter");
    await page.getByLabel("More for Renamed").click();
    const [file] = await Promise.all([page.waitForEvent("download"), button("Export as JSON").click()]);
    expect(file.suggestedFilename()).toBe("renamed.json");
    expect(JSON.parse(await readFile(await file.path(), "utf8"))).toMatchObject({ title: "Renamed" });
    await page.getByLabel("More for Renamed").click();
    await button("Delete").click();
    await page.getByText("What you ask will be listed here.").waitFor();
    await page.reload();
    await page.getByText("What you ask will be listed here.").waitFor();
  });

  it("can be used by keyboard alone: skip link, answer, Escape", async () => {
    await newPage(endless);
    await page.goto(program.url);
    await page.keyboard.press("Tab");
    expect(await page.evaluate("document.activeElement.textContent")).toBe("Skip to content");
    await page.keyboard.press("Enter");
    expect(await page.evaluate("document.activeElement.id")).toBe("main");
    await page.getByLabel("Message", { exact: true }).focus();
    await page.keyboard.type(endlessQuestion);
    await page.keyboard.press("Enter");
    await eventually(lastText).not.toBe("");
    await page.keyboard.press("Escape");
    await answered();
    expect(await lastAnswer().textContent()).toContain("stopped");
    expect(await page.evaluate("document.activeElement.id")).toBe("message");
  });

  it("has its side columns behind buttons on a phone, and closes them by Escape", async () => {
    await newPage({ narrow: true });
    await page.goto(program.url);
    await button("Settings").click();
    await page.getByLabel("System prompt").waitFor();
    await page.keyboard.press("Escape");
    await page.getByLabel("System prompt").waitFor({ state: "hidden" });
    expect(await page.evaluate("document.documentElement.scrollWidth")).toBe(390);
  });
});

describe("two answers side by side", again, () => {
  it("differ from the same seed, the mark says where, and strength 0 is the base", async () => {
    await newPage({ sampling: { max_tokens: 24 } });
    await page.goto(`${program.url}/#/steering`);
    await button("Run both").click();
    await page.getByText("The two agree for").waitFor();
    const column = (name: RegExp) => page.getByRole("region", { name });
    expect(await column(/^Base/).locator(".fork-mark").count()).toBe(1);
    expect(
      await column(/^Steered/)
        .locator(".token.fork")
        .count(),
    ).toBe(1);
    await page.getByLabel(/^Steering strength/).press("Home");
    await page.getByText("Strength 0 is the base model: the same text, bit for bit.").waitFor();
    const [left, right] = await Promise.all(
      [/^Base/, /^Steered/].map((name) => column(name).locator(".column-text").textContent()),
    );
    expect(left).toBe(right);
    expect(left).not.toBe("");
    expect(errors).toEqual([]);
  });

  it("explain the steered one token by token, by keyboard too", async () => {
    await newPage({ sampling: { max_tokens: 24 } });
    await page.goto(`${program.url}/#/steering`);
    await button("Run both").click();
    const answer = page.getByRole("listbox", { name: "Tokens of the steered answer" });
    await page
      .getByText(/tokens\/s/)
      .nth(1)
      .waitFor();
    const tokens = await answer.getByRole("option").allTextContents();
    const messages = [{ role: "user", content: "Give three tips for staying healthy." }];
    const sampling = { seed: 1, temperature: 0.7, top_p: 0.9, repetition_penalty: 1, max_tokens: 24 };
    // A line's end is shown by a sign of its own before it.
    expect(tokens.join("").replaceAll("⏎", "").trim()).toContain(
      await textOf({ model: "toast-tiny:alpaca", messages, ...sampling }),
    );
    expect(await page.getByRole("listbox", { name: "Tokens of the prompt" }).textContent()).toContain("Instruction");
    await answer.focus();
    await page.keyboard.press("ArrowRight");
    await page.keyboard.press("ArrowRight");
    const chosen = answer.getByRole("option", { selected: true });
    expect(await chosen.textContent()).toBe(tokens[1]);
    expect(await chosen.getAttribute("aria-label")).toMatch(/relevance [\d.]+, gain [\d.]+/);
    expect(await answer.getAttribute("aria-activedescendant")).toBe(await chosen.getAttribute("id"));
    expect(await page.getByRole("img", { name: /^Gain of each layer/ }).getAttribute("aria-label")).toMatch(
      /layer 5: /,
    );
    // How it was computed is nobody's concern who asks what steering did.
    expect(await page.locator("main").innerText()).not.toMatch(/draft/i);
    await page.getByText("Engine", { exact: true }).click();
    await page.getByText(/\d+ of \d+ drafts accepted/).waitFor();
    await page.getByLabel("Mark drafts in the text").check();
    expect(await answer.locator(".draft-accepted").count()).toBeGreaterThan(0);
    expect(errors).toEqual([]);
  });

  it.each([{ narrow: false }, { narrow: true }])(
    "keep the layers in sight beside the token, on an axis that is the same at every strength (%o)",
    async ({ narrow }) => {
      await newPage({ narrow, sampling: { max_tokens: 120 } });
      await page.goto(`${program.url}/#/steering`);
      await page.getByLabel(/^Steering strength/).fill("2");
      await button("Run both").click();
      const complete = () =>
        page
          .getByText(/tokens\/s/)
          .nth(1)
          .waitFor();
      await complete();
      const axis = () => page.locator(".gain-end").textContent();
      const atTwo = await axis();
      await page.getByLabel(/^Steering strength/).fill("0.5");
      await page.getByRole("region", { name: "Steered, strength 0.50" }).waitFor();
      await complete();
      expect(await axis()).toBe(atTwo);
      const answer = page.getByRole("listbox", { name: "Tokens of the steered answer" });
      // Before the first token is there, nothing can be selected.
      const last = answer.getByRole("option", { selected: true });
      const select = async () => {
        await answer.press("End");
        return last.count();
      };
      await expect.poll(select, { timeout: 30_000 }).toBe(1);
      await complete();
      await answer.press("End");
      await last.scrollIntoViewIfNeeded();
      const chart = await page.getByRole("img", { name: /^Gain of each layer/ }).boundingBox();
      const height = page.viewportSize()?.height ?? 0;
      expect(chart?.y ?? -1).toBeGreaterThanOrEqual(0);
      expect((chart?.y ?? 0) + (chart?.height ?? 0)).toBeLessThanOrEqual(height);
      // One scale from 0 to 1, whatever the values are.
      expect(await page.locator(".ramp-row").textContent()).toBe("01");
      expect(await page.evaluate("document.documentElement.scrollWidth - innerWidth")).toBe(0);
      expect(await findings()).toEqual([]);
    },
  );

  it("compare the steered model with another one", async () => {
    const sampling = { seed: 1, temperature: 0.7, top_p: 0.9, repetition_penalty: 1, max_tokens: 20 };
    await newPage({ sampling });
    await page.goto(`${program.url}/#/compare`);
    await eventually(() => page.getByLabel("Right").inputValue()).toBe("tiny");
    await button("Compare").click();
    const other = page.getByRole("region", { name: "tiny", exact: true });
    await other.getByText(/tokens\/s/).waitFor();
    await page
      .getByRole("region", { name: "toast-tiny:alpaca, strength 1.00" })
      .getByText(/tokens\/s/)
      .waitFor();
    const messages = [{ role: "user", content: "What makes a good friend?" }];
    const said = await textOf({ model: "tiny", messages, ...sampling });
    await page.getByLabel("As written").check();
    expect(await other.locator(".plain-text").textContent()).toContain(said.slice(-10));
  });
});

describe("the arena", again, () => {
  it("lands a blind vote in the leaderboard, names no one before it, and takes it by keyboard", async () => {
    await newPage({ sampling: { max_tokens: 16 } });
    await page.goto(`${program.url}/#/arena`);
    await button("Start a blind battle").click();
    // The first battle of a program opens its store, which a busy machine takes its time for.
    await button("Tie T").waitFor({ timeout: 100_000 });
    expect(await page.locator(".column h2").allTextContents()).toEqual(["Left", "Right"]);
    expect(await page.locator("main").textContent()).not.toMatch(/\btiny\b/);
    await page.keyboard.press("ArrowLeft");
    await page.getByText("You voted left is better.").waitFor();
    const heads = await page.locator(".column > h2").allTextContents();
    expect(heads[0]).toMatch(/ better$/);
    const [winner = "", loser = ""] = heads.map((head) => head.replace(/ better$/, "").trim());
    expect([winner, loser].every((name) => /^(toast-)?tiny\b/.test(name))).toBe(true);
    await page.getByRole("link", { name: "Leaderboard", exact: true }).click();
    const row = (name: string) =>
      page
        .getByRole("region", { name: "Ratings", exact: true })
        .getByRole("row")
        .filter({
          has: page.getByRole("rowheader", { name: name.split(",", 1)[0] ?? "", exact: true }),
        });
    expect(await row(winner).textContent()).toContain("1 / 0 / 0 / 0");
    expect(await row(loser).textContent()).toContain("0 / 1 / 0 / 0");
    expect(await findings()).toEqual([]);
    const [file] = await Promise.all([page.waitForEvent("download"), button("Export records (JSONL)").click()]);
    const exported = await readFile(await file.path(), "utf8");
    expect(JSON.parse(exported)).toMatchObject({ source: "arena", vote: { winner: "left", judge: "human" } });
    await page.getByLabel("Import records").setInputFiles(await file.path());
    await page.getByText("0 records imported, 1 were known already.").first().waitFor();
    expect(errors).toEqual([]);
  });
});

describe("a server that is not well", again, () => {
  it("dies in the middle of an answer: the page says so, and recovers when it is back", async () => {
    await newPage(endless);
    let other = await startProgram(...toastTinyOnly);
    try {
      await page.goto(other.url);
      await ask(endlessQuestion);
      await eventually(lastText).not.toBe("");
      await other.kill();
      await page.getByText("The connection to the server broke in the middle of this answer.").waitFor();
      await page.getByText("The server cannot be reached.").waitFor();
      expect(await lastText()).not.toBe("");
      other = await startProgram(...toastTinyOnly, "--port", String(other.port));
      await page.getByText("The server cannot be reached.").waitFor({ state: "hidden" });
      await button("Try again").click();
      await eventually(() => lastAnswer().getAttribute("aria-busy")).toBe("true");
      await eventually(lastText).not.toBe("");
      // The whole of it would take a slow machine longer than the test has.
      await button("Stop").click();
      await answered();
      expect(await page.getByText("broke in the middle").count()).toBe(0);
    } finally {
      await other.kill();
    }
  });

  it("is still loading: the page shows how far, and goes on by itself", async () => {
    const engine = new ScriptedEngine(scriptedModel, { kind: "loading", stage: "decoder", fraction: 0.4 });
    const server = await startTestServer([engine]);
    try {
      await page.goto(server.url);
      await page.getByText("The server is loading (decoder), 40 %").waitFor();
      expect(await page.getByRole("progressbar").getAttribute("value")).toBe("0.4");
      engine.phase = { kind: "ready", model: scriptedModel };
      await page.getByRole("progressbar").waitFor({ state: "hidden" });
      await ask("Hi");
      await answered();
      expect(await lastText()).toBe("I am alpaca");
    } finally {
      await context.close();
      await server.shutdown(0);
    }
  });

  it("fails in the middle: its sentence stands under what it had said", async () => {
    const engine = new ScriptedEngine();
    engine.script = { failure: { at: 2, error: new Error("boom") } };
    const server = await startTestServer([engine]);
    try {
      await page.goto(server.url);
      await ask("Hi");
      await answered();
      expect(await lastText()).toBe("I am");
      expect(await lastAnswer().getByRole("alert").textContent()).toMatch(/^The server failed/);
      engine.script = {};
      await button("Try again").click();
      await eventually(lastText).toBe("I am alpaca");
    } finally {
      await context.close();
      await server.shutdown(0);
    }
  });
});

describe("an API key", again, () => {
  it("is asked for when the server wants one, and opens the chat", async () => {
    await newPage({ sampling: { max_tokens: 8 } });
    const key = "a-key-of-this-test";
    const closed = await startProgram(...toastTinyOnly, "--api-key", key);
    try {
      await page.goto(closed.url);
      await page.getByText("This server wants an API key.").waitFor();
      await page.getByLabel("API key").fill("another-key");
      await button("Use key").click();
      await page.getByText("Incorrect API key provided").first().waitFor();
      await page.getByLabel("API key").fill(key);
      await button("Use key").click();
      await page.getByLabel("API key").waitFor({ state: "hidden" });
      await ask("Hi");
      await answered();
      expect(await lastText()).not.toBe("");
      // It lasts as long as the tab, and no longer unless wanted.
      await page.reload();
      await eventually(() => page.getByLabel("Model", { exact: true }).inputValue()).toBe("toast-tiny:alpaca");
      expect(await page.evaluate("localStorage.getItem('toast-serve:key')")).toBe('""');
    } finally {
      await context.close();
      await closed.kill();
    }
  });
});

describe("safety", again, () => {
  it("shows what a model writes and runs none of it", async () => {
    const engine = new ScriptedEngine();
    const evil = [
      "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>\n\n",
      "[a link](javascript:document.title='owned') ![pixel](https://example.com/pixel.png)\n\n",
      "**bold** [fine](https://example.com/page)",
    ];
    engine.script = { texts: evil };
    const server = await startTestServer([engine]);
    try {
      await page.goto(server.url);
      await ask("Hi");
      await answered();
      const shown = lastAnswer().locator(".markdown");
      expect(await shown.textContent()).toContain("<script>");
      expect(await shown.locator("img, script, iframe, style").count()).toBe(0);
      expect(await shown.locator("strong").textContent()).toBe("bold");
      const links = await shown.locator("a[href]").evaluateAll((all) => all.map((link) => link.getAttribute("href")));
      expect(links).toEqual(["https://example.com/page"]);
      expect(await shown.getByText("fine").getAttribute("rel")).toBe("noopener noreferrer");
      expect(await page.title()).not.toContain("owned");
      expect(asked.every(({ origin }) => origin === server.url)).toBe(true);
      expect(errors).toEqual([]);
    } finally {
      await context.close();
      await server.shutdown(0);
    }
  });

  it("asks nobody but its own server, in every view", async () => {
    for (const view of ["chat", "vectors", "steering", "compare", "arena", "leaderboard"]) {
      await page.goto(`${program.url}/#/${view}`);
      await page.getByRole("heading", { level: 1 }).waitFor();
    }
    // A view shows its heading before it asks for what stands below it.
    await page.waitForLoadState("networkidle");
    await expect.poll(() => asked.length).toBeGreaterThan(5);
    expect(new Set(asked.map(({ origin }) => origin))).toEqual(new Set([program.url]));
  });
});

describe("accessibility", again, () => {
  it.each([{ dark: false }, { dark: true }])("has no serious finding in any view (dark: $dark)", async ({ dark }) => {
    await newPage({ dark, sampling: { max_tokens: 12 } });
    await page.goto(program.url);
    expect(await findings()).toEqual([]);
    await ask("What makes a good friend?");
    await answered();
    expect(await findings()).toEqual([]);
    for (const [view, run] of Object.entries({ steering: "Run both", compare: "Compare" })) {
      await page.goto(`${program.url}/#/${view}`);
      await button(run).click();
      await page
        .getByText(/tokens\/s/)
        .nth(1)
        .waitFor();
      expect(await findings()).toEqual([]);
    }
    for (const view of ["arena", "leaderboard"]) {
      await page.goto(`${program.url}/#/${view}`);
      await page.getByRole("heading", { level: 1 }).waitFor();
      expect(await findings()).toEqual([]);
    }
  });

  it("has no serious finding on a phone, sheets included", async () => {
    await newPage({ narrow: true });
    await page.goto(program.url);
    expect(await findings()).toEqual([]);
    await button("Settings").click();
    await page.getByLabel("System prompt").waitFor();
    expect(await findings()).toEqual([]);
  });
});

describe("size", again, () => {
  const built = fileURLToPath(new URL("../../dist/web", import.meta.url));
  const sizeOf = async (files: readonly string[]) => {
    const sizes = await Promise.all(files.map(async (file) => (await readFile(join(built, file))).byteLength));
    return sizes.reduce((sum, size) => sum + size, 0);
  };

  it("is below 300 KB of JavaScript, compressed", async () => {
    const files = (await readdir(join(built, "assets"))).filter((file) => file.endsWith(".js.gz"));
    expect(files.length).toBeGreaterThan(0);
    expect(await sizeOf(files.map((file) => join("assets", file)))).toBeLessThan(300_000);
  });

  it("is below 90 KB until the chat can be used: views, colours of code and formulas come when they are needed", async () => {
    const index = await readFile(join(built, "index.html"), "utf8");
    const first = [...index.matchAll(/"\.?\/(assets\/[^"]+\.js)"/g)].map(([, file]) => `${file}.gz`);
    expect(first.length).toBeGreaterThan(0);
    expect(await sizeOf(first)).toBeLessThan(90_000);
  });
});
