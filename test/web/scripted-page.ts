import type { Browser, Locator, Page } from "playwright-core";
import { expect } from "vitest";
import type { ModelInfo } from "../../src/engine/model-info.js";
import { startTestServer, type TestServer } from "../contract/start-test-server.js";
import { ScriptedEngine, scriptedModel } from "../server/scripted-engine.js";
import { openBrowser } from "./open-browser.js";

/** Of the scripted model, with what its adapters' makers say of them. */
export const presentedModel: ModelInfo = {
  ...scriptedModel,
  adapters: scriptedModel.adapters.map((adapter, at) =>
    at === 0
      ? {
          ...adapter,
          presentation: { description: "Answers in a line.", examplePrompt: "Why tea?", recommendedStrength: 0.5 },
        }
      : adapter,
  ),
};

export interface VisitOptions {
  readonly width?: number;
  readonly height?: number;
  readonly dark?: boolean;
  readonly forcedColours?: boolean;
  readonly settings?: object;
  /** What GET /v1/vectors lists; nothing otherwise. */
  readonly vectors?: readonly object[];
}

/**
 * The built page over the real routes and an engine that says what a test tells it to: what a model would take minutes to
 * say is there at once.
 */
export class ScriptedPage {
  readonly engine: ScriptedEngine;
  readonly server: TestServer;
  readonly #browser: Browser;
  /** What pages logged as errors. */
  readonly errors: string[] = [];

  private constructor(engine: ScriptedEngine, server: TestServer, browser: Browser) {
    this.engine = engine;
    this.server = server;
    this.#browser = browser;
  }

  static async start(model: ModelInfo = presentedModel): Promise<ScriptedPage> {
    const engine = new ScriptedEngine(model);
    const [server, browser] = await Promise.all([startTestServer([engine]), openBrowser()]);
    return new ScriptedPage(engine, server, browser);
  }

  async end(): Promise<void> {
    await this.#browser.close();
    await this.server.shutdown(0);
  }

  /** A page of somebody who was never here, or who has set something before; it goes with its context. */
  async visit(fragment = "", options: VisitOptions = {}): Promise<Page> {
    const context = await this.#browser.newContext({
      viewport: { width: options.width ?? 1440, height: options.height ?? 900 },
      colorScheme: options.dark ? "dark" : "light",
      forcedColors: options.forcedColours ? "active" : "none",
      acceptDownloads: true,
    });
    context.setDefaultTimeout(6_000);
    context.on("page", (page) => this.#watch(page));
    if (options.settings !== undefined) {
      const stored = JSON.stringify(JSON.stringify(options.settings));
      const key = '"toast-serve:settings"';
      await context.addInitScript(`localStorage.getItem(${key}) ?? localStorage.setItem(${key}, ${stored})`);
    }
    const { vectors } = options;
    if (vectors !== undefined)
      await context.route("**/v1/vectors", (route) => route.fulfill({ json: { data: vectors } }));
    const page = await context.newPage();
    await page.goto(`${this.server.url}/${fragment}`);
    // A key pressed before anything is shown goes nowhere.
    await page.locator("header").first().waitFor();
    return page;
  }

  #watch(page: Page): void {
    page.on("pageerror", (error) => this.errors.push(error.message));
    page.on("console", (message) => {
      if (message.type() === "error") this.errors.push(message.text());
    });
  }

  /**
   * The colours along a line through the middle of what is shown, as the browser paints it.
   * @returns one [red, green, blue] for each pixel, from left to right.
   */
  async coloursAcross(shown: Locator): Promise<readonly (readonly [number, number, number])[]> {
    const picture = (await shown.screenshot()).toString("base64");
    // The page's own policy allows no pictures as data.
    const page = await this.#browser.newPage();
    try {
      const flat = (await page.evaluate(`(async () => {
        const image = new Image();
        image.src = "data:image/png;base64,${picture}";
        await image.decode();
        const canvas = Object.assign(document.createElement("canvas"), { width: image.width, height: image.height });
        const context = canvas.getContext("2d");
        context.drawImage(image, 0, 0);
        return [...context.getImageData(0, Math.floor(image.height / 2), image.width, 1).data];
      })()`)) as readonly number[];
      return Array.from({ length: flat.length / 4 }, (_, at) => [
        flat[at * 4] ?? 0,
        flat[at * 4 + 1] ?? 0,
        flat[at * 4 + 2] ?? 0,
      ]);
    } finally {
      await page.close();
    }
  }
}

/** A busy machine takes its time; nothing is measured here. */
export const eventually = <Value>(look: () => Promise<Value>) => expect.poll(look, { timeout: 6_000 });

export const sideways = (page: Page) => page.evaluate("document.documentElement.scrollWidth - innerWidth");

/** Sends a message in the chat and waits until it has been answered. */
export async function ask(page: Page, text: string): Promise<void> {
  await page.getByLabel("Message", { exact: true }).fill(text);
  const send = page.getByRole("button", { name: "Send", exact: true });
  await eventually(() => send.isEnabled()).toBe(true);
  const answers = page.locator(".message.assistant");
  const before = await answers.count();
  await page.keyboard.press("Enter");
  await eventually(() => answers.count()).toBe(before + 1);
  await send.waitFor();
}

export const lastAnswer = (page: Page) => page.locator(".message.assistant").last();
