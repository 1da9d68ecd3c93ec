import type { Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { findingsOf } from "../findings.js";
import { ask, eventually, lastAnswer, ScriptedPage, sideways } from "../scripted-page.js";

// Code, formulas and headings in answers of the built page.

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

const shown = (page: Page) => lastAnswer(page).locator(".markdown");

/** A page on which the model has said this. */
async function answeredWith(text: string, options: Parameters<ScriptedPage["visit"]>[1] = {}): Promise<Page> {
  const page = await scripted.visit("", options);
  scripted.engine.script = { texts: [text] };
  await ask(page, "Hi");
  return page;
}

const fenced = (language: string, code: string) => `\`\`\`${language}\n${code}\n\`\`\``;

describe("code in an answer", () => {
  it("has its language, its colours and a button that copies it and nothing else", async () => {
    const code = 'def tea(cups: int) -> str:\n    return "hot"  # soon';
    const page = await answeredWith(`Take this:\n\n${fenced("python", code)}`);
    await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
    expect(await shown(page).locator(".code-language").textContent()).toBe("python");
    await shown(page).locator(".hljs-keyword").first().waitFor();
    expect(await shown(page).locator(".hljs-keyword").allTextContents()).toEqual(["def", "return"]);
    expect(await shown(page).locator("pre").textContent()).toBe(`${code}\n`);
    await shown(page).getByRole("button", { name: "Copy code" }).click();
    await shown(page).getByRole("button", { name: "Copied" }).waitFor();
    expect(await page.evaluate("navigator.clipboard.readText()")).toBe(code);
    await page.context().close();
  });

  it("is told apart by colours that can be read, light and dark", async () => {
    const code = "// why\nconst cups = new Map<string, number>([['tea', 2]]);\nexport class Pot extends Kettle {}";
    for (const dark of [false, true]) {
      const page = await answeredWith(fenced("{.ts title=tea.ts}", code), { dark });
      await shown(page).locator(".hljs-comment").waitFor();
      expect(await shown(page).locator(".code-language").textContent()).toBe("ts");
      const colours = await shown(page)
        .locator(".hljs-comment, .hljs-keyword, .hljs-string, .hljs-number, .hljs-title")
        .evaluateAll((words) => new Set(words.map((word) => getComputedStyle(word).color)).size);
      expect(colours).toBeGreaterThanOrEqual(4);
      expect(await findingsOf(page)).toEqual([]);
      await page.context().close();
    }
  });

  it("stays as it is where the language is unknown or not named, and inside of lists", async () => {
    const page = await answeredWith(
      `- one\n\n  ${fenced("", "a < b").replaceAll("\n", "\n  ")}\n\n${fenced("klingon", "x")}`,
    );
    expect(await shown(page).locator("li .code-block pre").textContent()).toBe("a < b\n");
    expect(await shown(page).locator(".code-language").allTextContents()).toEqual(["code", "klingon"]);
    expect(await shown(page).locator("pre span").count()).toBe(0);
    await page.context().close();
  });

  it("breaks its long lines where that is wanted, in every block and after a reload", async () => {
    const page = await answeredWith(fenced("text", "word ".repeat(60)));
    const overflow = () =>
      shown(page)
        .locator("pre")
        .evaluate((pre) => pre.scrollWidth - pre.clientWidth);
    expect(await overflow()).toBeGreaterThan(100);
    const wrap = shown(page).getByRole("button", { name: "Wrap lines" });
    await wrap.click();
    expect([await overflow(), await wrap.getAttribute("aria-pressed")]).toEqual([0, "true"]);
    await page.reload();
    await wrap.waitFor();
    expect(await overflow()).toBe(0);
    await wrap.click();
    expect(await overflow()).toBeGreaterThan(100);
    await page.context().close();
  });

  it("runs nothing that its words or its language's name could be taken for", async () => {
    const evil = '"><img src=x onerror=alert(1)>';
    const page = await answeredWith(`${fenced(evil, evil)}\n\n${fenced("html", evil)}`);
    await shown(page).locator(".hljs-name").first().waitFor();
    expect(await shown(page).locator("img").count()).toBe(0);
    expect(await shown(page).locator("pre").allTextContents()).toEqual([`${evil}\n`, `${evil}\n`]);
    await page.context().close();
  });
});

describe("formulas in an answer", () => {
  const sources = (page: Page) =>
    shown(page)
      .locator("math annotation")
      .evaluateAll((all) => all.map((one) => one.textContent));

  it("are set, in every way in which models write them", async () => {
    const text = [
      "Inline $a_1 + b_1$ and \\(\\sqrt{x}\\), a display $$\\frac{1}{2}$$ in a line.",
      "\\[\n\\sum_{k=1}^n k\n= n\n\\]",
      "$$\n- x\n+ y\n$$",
    ].join("\n\n");
    const page = await answeredWith(text);
    await eventually(() => shown(page).locator("math").count()).toBe(5);
    expect((await sources(page)).map((source) => source?.trim())).toEqual([
      "a_1 + b_1",
      "\\sqrt{x}",
      "\\frac{1}{2}",
      "\\sum_{k=1}^n k\n= n",
      "- x\n+ y",
    ]);
    expect(await shown(page).locator('math[display="block"]').count()).toBe(3);
    expect(await shown(page).locator("mfrac, msqrt").count()).toBe(2);
    expect(await findingsOf(page)).toEqual([]);
    await page.context().close();
  });

  it("are not seen in prices, variables and code", async () => {
    const text = "From $5 to $10, US$5 or CA$6, `$a$`, $HOME:$PATH, a $ b $ c.";
    const page = await answeredWith(`${text}\n\n$z$`);
    await eventually(() => shown(page).locator("math").count()).toBe(1);
    expect(await sources(page)).toEqual(["z"]);
    expect(await shown(page).locator("p").first().textContent()).toBe(text.replaceAll("`", ""));
    await page.context().close();
  });

  it("keep their source where it is not well formed, and load or link nothing", async () => {
    const evil = "\\(\\href{javascript:alert(1)}{x}\\) and \\(\\includegraphics{https://example.com/x.png}\\)";
    const page = await answeredWith(`$x$ and \\(\\frac{1\\) and ${evil}`);
    await eventually(() => shown(page).locator("math").count()).toBeGreaterThan(0);
    expect(await shown(page).locator("code").first().textContent()).toBe("\\(\\frac{1\\)");
    expect(await shown(page).locator("math [href], math a, img").count()).toBe(0);
    await page.context().close();
  });

  it("that are wider than a phone scroll by themselves", async () => {
    const page = await answeredWith(`\\[ ${Array.from({ length: 40 }, (_, at) => `x_{${at}}`).join(" + ")} \\]`, {
      width: 320,
    });
    await shown(page).locator("math").waitFor();
    expect(await sideways(page)).toBe(0);
    const [inside, outside] = await shown(page)
      .locator(".formula")
      .evaluate((box) => [box.scrollWidth, box.clientWidth]);
    expect(inside).toBeGreaterThan(outside ?? 0);
    await page.context().close();
  });
});

describe("what colours code and sets formulas", () => {
  it("is loaded with the first of them, and not before", async () => {
    const page = await scripted.visit();
    const scripts: string[] = [];
    page.on("request", (request) => scripts.push(new URL(request.url()).pathname));
    const loaded = (name: string) => scripts.filter((path) => path.startsWith(`/assets/${name}-`)).length;
    scripted.engine.script = { texts: ["Plain, with `code` and ```\nno language\n```"] };
    await ask(page, "Hi");
    expect([loaded("highlight"), loaded("typeset")]).toEqual([0, 0]);
    scripted.engine.script = { texts: ["$x$"] };
    await ask(page, "Hi");
    await shown(page).locator("math").waitFor();
    expect([loaded("highlight"), loaded("typeset")]).toEqual([0, 1]);
    scripted.engine.script = { texts: [fenced("json", "[1]")] };
    await ask(page, "Hi");
    await shown(page).locator(".hljs-number").waitFor();
    expect([loaded("highlight"), loaded("typeset")]).toEqual([1, 1]);
    await page.context().close();
  });

  it("leaves the source to be read where it cannot be had, and is tried again with the next", async () => {
    const page = await scripted.visit();
    await page.route("**/assets/typeset-*", (route) => route.abort());
    scripted.engine.script = { texts: ["$x$"] };
    await ask(page, "Hi");
    expect(await shown(page).locator("code").textContent()).toBe("$x$");
    await page.unroute("**/assets/typeset-*");
    await page.reload();
    await shown(page).locator("math").waitFor();
    scripted.errors.length = 0;
    await page.context().close();
  });
});

describe("headings in an answer", () => {
  it("continue the page's outline without a gap, whatever levels the model chose", async () => {
    const page = await answeredWith("### Small first\n\nText.\n\n# Large\n\n#### Deep\n\n## Middle\n\n###### Deepest");
    const levels = await page
      .locator("main")
      .locator("h1, h2, h3, h4, h5, h6")
      .evaluateAll((all) => all.map((one) => [Number(one.tagName.slice(1)), one.textContent?.trim()]));
    expect(levels.slice(-6)).toEqual([
      [2, "tiny:alpaca strength 0.50"],
      [3, "Small first"],
      [3, "Large"],
      [4, "Deep"],
      [4, "Middle"],
      [5, "Deepest"],
    ]);
    const sizes = await shown(page)
      .locator("h3, h4, h5")
      .evaluateAll((all) => all.map((one) => Number.parseFloat(getComputedStyle(one).fontSize)));
    expect(sizes[1]).toBeGreaterThan(sizes[2] ?? 0);
    expect(sizes[2]).toBeGreaterThan(sizes[4] ?? 0);
    await page.context().close();
  });
});
