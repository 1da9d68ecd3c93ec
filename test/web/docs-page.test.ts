import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { ScriptedPage } from "./scripted-page.js";

// The page at /docs, in a real browser.

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

let scripted: ScriptedPage;
beforeAll(async () => {
  scripted = await ScriptedPage.start();
});
afterAll(async () => {
  await scripted?.end();
});

describe("the interface at /docs", { retry: 0 }, () => {
  it("is linked from the page and back, and its first operation is answered as it stands", async () => {
    const page = await scripted.visit("", { dark: true });
    // The description of a body is long, and takes a busy machine its time to draw.
    page.setDefaultTimeout(60_000);
    await page.getByRole("link", { name: "API", exact: true }).click();
    const first = page.locator(".opblock").first();
    await first.locator(".opblock-summary-control").click();
    const [answer] = await Promise.all([
      page.waitForResponse("**/v1/chat/completions"),
      first.getByRole("button", { name: "Execute" }).click(),
    ]);
    expect(answer.status()).toBe(200);
    expect(await answer.json()).toMatchObject({ choices: [{ message: { content: "I am plain" } }] });
    expect(await page.locator("html").evaluate((root) => getComputedStyle(root).backgroundColor)).toMatch(
      /^rgb\(\d\d?, \d\d?, \d\d?\)$/,
    );
    expect(await page.locator(".opblock-tag").allTextContents()).toEqual([
      "Text",
      "Embeddings",
      "Ollama",
      "Models",
      "Tokens",
      "Control vectors",
      "Adapters",
      "Comparing",
      "Server",
    ]);
    await page.getByRole("link", { name: "← toast-serve" }).click();
    await page.getByLabel("Message", { exact: true }).waitFor();
    expect(scripted.errors).toEqual([]);
    await page.context().close();
  });
});
