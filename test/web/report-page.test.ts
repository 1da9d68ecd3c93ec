import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { ratedItem } from "../../src/arena/batch/verdicts.js";
import type { BattleRecord } from "../../src/arena/battle-record.js";
import { reportHtml } from "../../src/arena/report/report-html.js";
import { runCli } from "../../src/cli/run-cli.js";
import { record, side } from "../arena/store/battle.js";
import { findingsOf } from "./findings.js";
import { openBrowser } from "./open-browser.js";

// Reports of `toast-serve ab`, opened as the files that they are.

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

let browser: Browser;
let folder: string;
/** Every address that a report asked for. */
let asked: string[] = [];
beforeAll(async () => {
  [browser, folder] = await Promise.all([openBrowser(), mkdtemp(join(tmpdir(), "toast-report-"))]);
});
afterAll(async () => {
  await browser?.close();
  await rm(folder, { recursive: true, force: true });
});

interface Looks {
  readonly width?: number;
  readonly dark?: boolean;
}

async function open(path: string, { width = 1440, dark = false }: Looks = {}): Promise<Page> {
  const page = await browser.newPage({
    viewport: { width, height: 900 },
    colorScheme: dark ? "dark" : "light",
    acceptDownloads: true,
  });
  page.setDefaultTimeout(10_000);
  asked = [];
  page.on("request", (request) => asked.push(request.url()));
  await page.goto(pathToFileURL(path).href);
  return page;
}

const file = async (name: string, lines: readonly object[]) => {
  const path = join(folder, name);
  await writeFile(path, lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
  return path;
};
const sideways = (page: Page) => page.evaluate("document.documentElement.scrollWidth - innerWidth");
const colourOf = (page: Page, selector: string, property: string) =>
  page
    .locator(selector)
    .first()
    .evaluate((element, name) => getComputedStyle(element).getPropertyValue(name), property);

describe("a report without verdicts", () => {
  const ids = [1, 2, 3];
  const run = async (out: string, ...more: string[]) => {
    const told: string[] = [];
    const terminal = { out: (line: string) => told.push(line), err: () => {}, interactive: false, environment: {} };
    const words = [
      ...[
        "--left",
        await file(
          "uno.jsonl",
          ids.map((id) => ({ id, text: `Answer ${id} of the one` })),
        ),
      ],
      ...[
        "--right",
        await file(
          "due.jsonl",
          ids.map((id) => ({ id, text: `Answer ${id} of the other` })),
        ),
      ],
      ...[
        "--prompts",
        await file(
          "q.jsonl",
          ids.map((id) => ({ id, prompt: `Question ${id}?` })),
        ),
      ],
      ...["--out", join(folder, out), ...more],
    ];
    expect(await runCli(["ab", ...words], terminal, new AbortController().signal)).toBe(0);
    return { told: told.join("\n"), report: join(folder, out, "report.html") };
  };

  it("is judged in it, blind, and the downloaded verdicts are those that `ab --verdicts` rates", async () => {
    const { report } = await run("unjudged");
    const page = await open(report);
    const box = page.getByRole("region", { name: "Judge here" });
    expect(await box.textContent()).not.toMatch(/uno|due/);
    await box.getByText("0 of 3 judged").waitFor();
    expect(await findingsOf(page)).toEqual([]);
    await box.getByRole("button", { name: "Skip" }).click();
    // The one is preferred each time, on whichever side it is; by key once.
    for (let judged = 0; judged < 3; judged++) {
      const left = (await box.getByRole("article", { name: "Left answer" }).textContent()) ?? "";
      const isLeft = left.includes("of the one");
      if (judged === 0) {
        await box.getByRole("button", { name: "Tie" }).focus();
        await page.keyboard.press(isLeft ? "ArrowLeft" : "ArrowRight");
      } else {
        await box.getByRole("button", { name: isLeft ? "Left is better" : "Right is better" }).click();
      }
      await box.getByText(`${judged + 1} of 3 judged`).waitFor();
      // What was said is there after a reload.
      await page.reload();
      await box.getByText(`${judged + 1} of 3 judged`).waitFor();
    }
    await box.getByText("All are judged.").waitFor();
    const [download] = await Promise.all([
      page.waitForEvent("download"),
      box.getByRole("button", { name: "Download verdicts.jsonl" }).click(),
    ]);
    const verdicts = join(folder, "verdicts.jsonl");
    await download.saveAs(verdicts);
    expect(
      (await readFile(verdicts, "utf8"))
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line) as object),
    ).toContainEqual({
      id: "2",
      turn: 1,
      winner: "left",
      judge: "human",
    });
    expect(asked.filter((address) => !/^(file|blob):/.test(address))).toEqual([]);
    await page.close();
    const judged = await run("judged", "--verdicts", verdicts);
    expect(judged.told).toContain("uno and due are not separable by these votes: 3 wins, 0 ties, 0 losses");
    const after = await open(judged.report);
    expect(await after.getByRole("region", { name: "Judge here" }).count()).toBe(0);
    expect(await readFile(judged.report, "utf8")).not.toContain("<script");
    await after.close();
  });

  it("is read as ever where scripts are off", async () => {
    const { report } = await run("plain");
    const context = await browser.newContext({ javaScriptEnabled: false });
    const page = await context.newPage();
    await page.goto(pathToFileURL(report).href);
    await page.getByText("Nobody has judged these answers").waitFor();
    expect(await page.getByText("Judge here").isVisible()).toBe(false);
    await context.close();
  });
});

describe("a report", () => {
  const steered = {
    ...side("mine:stories", "Once."),
    steering: { adapter: "stories", strength: 1 },
  };
  const base = side("mine", `${"word".repeat(100)} 你好 مرحبا`);
  const turns = [{ createdAt: new Date("2026-01-31T12:00:30Z"), prompt: "And then?", left: steered, right: base }];
  const write = async (records: readonly BattleRecord[]) => {
    const path = join(folder, "colours.html");
    const items = records.flatMap((one) => (one.vote === null ? [] : [ratedItem(one, one.vote)]));
    const report = { title: "Ratings", createdAt: new Date(0), facts: [], items, records, promptIds: null };
    await writeFile(path, reportHtml(report));
    return path;
  };

  it.each([{ dark: false }, { dark: true, width: 390 }, { dark: false, width: 320 }])(
    "has the page's colours for steered and base, shows all turns, and fits (%o)",
    async (looks) => {
      const records = ["b_1", "b_2"].map((id) => record(id, { left: steered, right: base, turns }));
      const page = await open(await write(records), looks);
      const [steer, slate] = looks.dark
        ? ["rgb(240, 163, 92)", "rgb(157, 184, 222)"]
        : ["rgb(163, 72, 10)", "rgb(63, 95, 138)"];
      expect(await colourOf(page, ".badge.win", "background-color")).toBe(steer);
      expect(await colourOf(page, ".kind-steered .rating-dot", "fill")).toBe(steer);
      expect(await colourOf(page, ".kind-base .rating-dot", "fill")).toBe(slate);
      expect(await colourOf(page, ".key.loss", "background-color")).toBe(slate);
      await page.locator("details summary").first().click();
      await page.getByText("And then?").first().waitFor();
      expect(await page.locator("details").first().getByRole("article").count()).toBe(4);
      expect(await sideways(page)).toBe(0);
      expect(await findingsOf(page)).toEqual([]);
      await page.close();
    },
  );
});
