import type { Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { findingsOf } from "../findings.js";
import { ask, eventually, lastAnswer, ScriptedPage, sideways } from "../scripted-page.js";

// What one asks with in the built page: files, presets, keys; and writing from right to left.

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
const message = (page: Page) => page.getByLabel("Message", { exact: true });
const sentBy = async (page: Page, act: () => Promise<void>) => {
  const request = page.waitForRequest("**/v1/chat/completions");
  await act();
  return (await request).postDataJSON();
};

describe("text files with a question", () => {
  const fileOf = (name: string, content: string | Buffer) => ({
    name,
    mimeType: "text/plain",
    buffer: Buffer.from(content),
  });
  const attach = (page: Page, ...files: readonly ReturnType<typeof fileOf>[]) =>
    page.getByLabel("Attach text files").setInputFiles([...files]);
  const refusal = (page: Page, sentence: string | RegExp) => page.getByRole("alert").getByText(sentence).waitFor();

  it("are sent before it, shown with it, and can be read; a reload and an edit have them still", async () => {
    const page = await scripted.visit();
    await attach(page, fileOf("list.txt", "bread\r\nbutter\r\n"), fileOf("note.md", "soon"));
    await page.getByLabel("Attached files").getByText("list.txt").waitFor();
    await button(page, "Remove note.md").click();
    const body = await sentBy(page, () => ask(page, "What is missing?"));
    expect(body.messages).toEqual([
      { role: "user", content: "list.txt:\n```\nbread\nbutter\n```\n\nWhat is missing?" },
    ]);
    expect(await page.locator(".composer").getByLabel("Attached files").count()).toBe(0);
    await page.reload();
    const said = page.locator(".message.user");
    await said.getByText("list.txt").click();
    expect(await said.locator("pre").textContent()).toBe("bread\nbutter\n");
    expect(await findingsOf(page)).toEqual([]);
    await button(page, "Edit").click();
    const edited = await sentBy(page, async () => {
      await page.getByLabel("Edit your message").fill("What is on it?");
      await page.keyboard.press("Enter");
    });
    expect(edited.messages[0].content).toBe("list.txt:\n```\nbread\nbutter\n```\n\nWhat is on it?");
    await page.context().close();
  });

  it("can be all that is asked", async () => {
    const page = await scripted.visit();
    await eventually(() => page.getByLabel("Model", { exact: true }).inputValue()).not.toBe("");
    await attach(page, fileOf("question.txt", "Why tea?"));
    await page.getByText("question.txt").waitFor();
    const body = await sentBy(page, () => button(page, "Send").click());
    expect(body.messages[0].content).toBe("question.txt:\n```\nWhy tea?\n```");
    await button(page, "question.txt").waitFor();
    await page.context().close();
  });

  it("are refused with a sentence that names the file, the limit and what to do", async () => {
    const page = await scripted.visit();
    await eventually(() => page.getByLabel("Model", { exact: true }).inputValue()).not.toBe("");
    await attach(page, fileOf("photo.png", Buffer.from([0x89, 0x50, 0x4e, 0x47, 0xff])));
    await refusal(page, "photo.png is no text: only files of plain text in UTF-8 can be attached");
    await attach(page, fileOf("zeros.bin", "\0\0"));
    await refusal(page, "zeros.bin is no text");
    await attach(page, fileOf("long.txt", "x".repeat(100_001)));
    await refusal(page, "long.txt has 101 KB; a file may have 100 KB. Attach the part that matters.");
    await attach(page, fileOf("empty.txt", ""));
    await refusal(page, "empty.txt is empty.");
    await attach(page, fileOf("book.txt", "word ".repeat(80)));
    await refusal(page, /book\.txt has \d+ tokens, but tiny:alpaca reads 64 in all\. Attach the part that matters\./);
    await attach(page, ...Array.from({ length: 6 }, (_, at) => fileOf(`${at}.txt`, `file ${at}`)));
    await refusal(page, "5.txt is one too many: a question can have 5 files. Remove one first.");
    expect(await findingsOf(page)).toEqual([]);
    await button(page, "Remove 0.txt").click();
    expect(await page.getByRole("alert").count()).toBe(0);
    await attach(page, fileOf("1.txt", "file 1"));
    await refusal(page, "1.txt is attached already.");
    expect(await page.getByLabel("Attached files").getByRole("listitem").count()).toBe(4);
    await page.context().close();
  });

  it("are waited for: nothing is sent without what was attached", async () => {
    const page = await scripted.visit();
    await eventually(() => page.getByLabel("Model", { exact: true }).inputValue()).not.toBe("");
    let release = () => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    await page.route("**/tokenize", async (route) => {
      await held;
      await route.continue();
    });
    await message(page).fill("What is in it?");
    await attach(page, fileOf("slow.txt", "tea"));
    await eventually(() => button(page, "Send").isEnabled()).toBe(false);
    release();
    const body = await sentBy(page, async () => {
      await eventually(() => button(page, "Send").isEnabled()).toBe(true);
      await button(page, "Send").click();
    });
    expect(body.messages[0].content).toContain("slow.txt");
    await page.context().close();
  });

  it("can be dropped on the conversation and pasted into the message", async () => {
    const page = await scripted.visit();
    const give = (type: "drop" | "paste", selector: string) =>
      page.evaluate(
        ([kind, place]) => {
          const data = new DataTransfer();
          data.items.add(new File([`by ${kind}`], `${kind}.txt`, { type: "text/plain" }));
          const event =
            kind === "drop"
              ? new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true })
              : new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true });
          document.querySelector(place)?.dispatchEvent(event);
        },
        [type, selector] as const,
      );
    await give("drop", ".messages");
    await page.getByText("drop.txt").waitFor();
    await give("paste", "#message");
    await page.getByText("paste.txt").waitFor();
    await page.context().close();
  });
});

describe("presets of system prompt and sampling", () => {
  it("are saved, chosen, replaced and deleted, with a way back; another tab has them at once", async () => {
    const page = await scripted.visit();
    expect(await page.getByLabel("Preset", { exact: true }).count()).toBe(0);
    const save = async (name: string) => {
      await button(page, "Save as preset").click();
      await page.getByLabel("Name of the preset").fill(name);
      await page.keyboard.press("Enter");
    };
    const preset = page.getByLabel("Preset", { exact: true });
    await page.getByLabel("System prompt").fill("Be brief.");
    await page.getByLabel("Temperature").fill("0.2");
    await save("Terse");
    expect(await preset.inputValue()).toBe("Terse");
    const other = await page.context().newPage();
    await other.goto(`${scripted.server.url}/`);
    await page.getByLabel("System prompt").fill("Rhyme.");
    expect(await preset.inputValue()).toBe("");
    await save("Poet");
    expect(await preset.getByRole("option").allTextContents()).toEqual(["as set below", "Poet", "Terse"]);
    expect(await findingsOf(page)).toEqual([]);
    await other.getByLabel("Preset", { exact: true }).selectOption("Poet");
    await other.close();
    await preset.selectOption("Terse");
    const body = await sentBy(page, () => ask(page, "Hi"));
    expect(body).toMatchObject({ temperature: 0.2, messages: [{ role: "system", content: "Be brief." }, {}] });
    await page.getByLabel("Temperature").fill("0.9");
    await page.getByLabel("Temperature").press("Tab");
    await button(page, "Save as preset").click();
    await page.getByLabel("Name of the preset").fill("Terse");
    await page.getByText("Replaces the preset of this name.").waitFor();
    await button(page, "Save preset").click();
    await button(page, "Delete preset").click();
    expect(await preset.getByRole("option").allTextContents()).toEqual(["as set below", "Poet"]);
    await button(page, "Undo").click();
    await page.reload();
    await preset.selectOption("Terse");
    expect(await page.getByLabel("Temperature").inputValue()).toBe("0.9");
    await page.context().close();
  });
});

describe("keyboard shortcuts", () => {
  it("are listed in a sheet, which Escape closes; the button beside the settings opens it, too", async () => {
    const page = await scripted.visit();
    await page.keyboard.press("Control+/");
    const sheet = page.getByRole("dialog", { name: "Keyboard shortcuts" });
    await sheet.waitFor();
    expect(await sheet.getByRole("definition").allTextContents()).toContain("search conversations");
    expect(await findingsOf(page)).toEqual([]);
    await page.keyboard.press("Escape");
    await sheet.waitFor({ state: "hidden" });
    await button(page, "Keyboard shortcuts").click();
    await sheet.waitFor();
    await sheet.getByRole("button", { name: "Close" }).click();
    await sheet.waitFor({ state: "hidden" });
    await page.context().close();
  });

  it("begin a conversation, go to the message, edit the last question, and delete with a way back", async () => {
    const page = await scripted.visit();
    const focused = () => page.evaluate("document.activeElement.id");
    await ask(page, "First");
    await page.getByLabel("System prompt").focus();
    await page.keyboard.press("Shift+Escape");
    await eventually(focused).toBe("message");
    await page.keyboard.press("ArrowUp");
    await page.getByLabel("Edit your message").waitFor();
    expect(await page.getByLabel("Edit your message").inputValue()).toBe("First");
    await page.keyboard.press("Escape");
    await message(page).fill("Not empty");
    await page.keyboard.press("ArrowUp");
    expect(await page.getByLabel("Edit your message").count()).toBe(0);
    await message(page).fill("");
    await page.keyboard.press("Control+Shift+Backspace");
    await page.getByText("Deleted “First”.").waitFor();
    await eventually(focused).toBe("undo-deletion");
    await page.keyboard.press("Enter");
    await lastAnswer(page).waitFor();
    await page.keyboard.press("Control+Shift+O");
    await page.getByText("Or ask something else").waitFor();
    await eventually(focused).toBe("message");
    await page.context().close();
  });

  it("find the search in its sheet on a narrow page", async () => {
    const page = await scripted.visit("", { width: 800 });
    await ask(page, "First");
    await page.keyboard.press("Control+k");
    await eventually(() => page.evaluate("document.activeElement.id")).toBe("search-conversations");
    await page.context().close();
  });

  it("leave other views and plain letters alone", async () => {
    const page = await scripted.visit();
    await message(page).fill("");
    await message(page).pressSequentially("/k?");
    expect(await message(page).inputValue()).toBe("/k?");
    expect(await page.getByRole("dialog").count()).toBe(0);
    await page.context().close();
  });
});

describe("writing from right to left", () => {
  it("begins on the right wherever one writes or reads it", async () => {
    const page = await scripted.visit();
    const arabic = "مرحبا بالعالم.";
    const directionOf = (selector: string) =>
      page
        .locator(selector)
        .last()
        .evaluate((element) => getComputedStyle(element).direction);
    await message(page).fill(arabic);
    expect(await directionOf("#message")).toBe("rtl");
    await page.getByLabel("System prompt").fill(arabic);
    expect(await directionOf("#system-prompt")).toBe("rtl");
    scripted.engine.script = { texts: [`${arabic}\n\n> ${arabic}\n\n- ${arabic}\n\n\`\`\`\ncode\n\`\`\``] };
    await ask(page, arabic);
    expect(await directionOf(".said")).toBe("rtl");
    for (const place of ["p", "blockquote", "li"]) expect(await directionOf(`.markdown ${place}`)).toBe("rtl");
    expect(await directionOf(".markdown pre")).toBe("ltr");
    const quote = page.locator(".markdown blockquote");
    expect(await quote.evaluate((box) => getComputedStyle(box).borderRightWidth)).toBe("3px");
    // In a list of English titles it keeps its own order, full stop and all.
    expect(await directionOf(".entry-title bdi")).toBe("rtl");
    await button(page, "Edit").click();
    expect(await directionOf(".edit textarea")).toBe("rtl");
    await page.context().close();
  });
});

describe("a small page", () => {
  it.each([
    { width: 1440, height: 900, name: "a desktop" },
    { width: 720, height: 450, name: "1440 px at 200 % zoom" },
    { width: 390, height: 844, name: "a phone" },
    { width: 320, height: 568, name: "320 px" },
  ])("has everything in reach: $name", async ({ width, height }) => {
    const page = await scripted.visit("", { width, height });
    const text = `# Code\n\n\`\`\`js\n${"const value = compute(argument); ".repeat(10)}\n\`\`\`\n\n$$x^2$$\n\n${"w".repeat(400)}`;
    scripted.engine.script = { texts: [text] };
    await page.getByLabel("Attach text files").setInputFiles({
      name: `${"a-long-name-".repeat(8)}.txt`,
      mimeType: "text/plain",
      buffer: Buffer.from("Tea."),
    });
    await page.getByLabel("Attached files").waitFor();
    await ask(page, "Hi");
    await button(page, "Regenerate").click();
    await page.getByText("2/2").waitFor();
    expect(await sideways(page)).toBe(0);
    for (const name of ["Send", "Previous version", "Copy code"]) {
      const box = await button(page, name).last().boundingBox();
      expect((box?.x ?? -1) >= 0 && (box?.x ?? 0) + (box?.width ?? 0) <= width).toBe(true);
    }
    const send = await button(page, "Send").boundingBox();
    expect((send?.y ?? 0) + (send?.height ?? 0)).toBeLessThanOrEqual(height);
    // What one reads has more room than what one writes with.
    const room = await page.getByLabel("Messages", { exact: true }).boundingBox();
    expect(room?.height ?? 0).toBeGreaterThan(height * 0.45);
    expect(await findingsOf(page)).toEqual([]);
    await page.context().close();
  });
});
