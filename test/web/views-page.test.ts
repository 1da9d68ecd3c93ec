import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { scriptedModel } from "../server/scripted-engine.js";
import { findingsOf } from "./findings.js";
import { hardText } from "./hard-text.js";
import { ask, eventually, lastAnswer, ScriptedPage, sideways } from "./scripted-page.js";

// Views of the built page where there is little to show, or much.

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });
const again = { retry: 0 };

let scripted: ScriptedPage;
let bare: ScriptedPage;
beforeAll(async () => {
  [scripted, bare] = await Promise.all([
    ScriptedPage.start(),
    ScriptedPage.start({ ...scriptedModel, adapters: [], vectors: [] }),
  ]);
});
afterAll(async () => {
  await Promise.all([scripted?.end(), bare?.end()]);
});

const button = (page: Page, name: string) => page.getByRole("button", { name, exact: true });

describe("a server with one model and nothing that steers", again, () => {
  it("is said so, with what to do, in every view; no form is offered that can only fail", async () => {
    const page = await bare.visit();
    await page.getByText("nothing here steers it yet").waitFor();
    expect(await page.getByLabel(/^Steering strength/).count()).toBe(0);
    for (const [view, sentence] of Object.entries({
      compare: "There is nothing to compare yet",
      arena: "A battle needs two contestants, and this server has one.",
      steering: "Nothing here steers yet.",
    })) {
      await page.goto(`${bare.server.url}/#/${view}`);
      await page.getByText(sentence).waitFor();
      if (view !== "steering") expect(await page.getByLabel("Prompt").count()).toBe(0);
      expect(await findingsOf(page)).toEqual([]);
    }
    await page.context().close();
  });
});

describe("Compare", again, () => {
  it("sends the chat's system prompt, says so, and tells the seed that it drew", async () => {
    const page = await scripted.visit("#/compare", { settings: { systemPrompt: "Be brief." } });
    await page.getByText("Both are sent the chat's system prompt.").waitFor();
    const bodies: { messages: object[]; seed: number }[] = [];
    page.on("request", (request) => {
      if (request.url().endsWith("/v1/chat/completions")) bodies.push(request.postDataJSON());
    });
    await eventually(() => button(page, "Compare").isEnabled()).toBe(true);
    await button(page, "Compare").click();
    await eventually(async () => bodies.length).toBe(2);
    for (const { messages } of bodies) expect(messages[0]).toEqual({ role: "system", content: "Be brief." });
    expect(bodies[0]?.seed).toBe(bodies[1]?.seed);
    await page.getByText(`Both from seed ${bodies[0]?.seed}.`).waitFor();
    await page.context().close();
  });
});

describe("answers that are wider than the page", again, () => {
  const looks = [
    { width: 1440, dark: false },
    { width: 390, height: 844, dark: true },
    { width: 320, height: 568, dark: false },
  ];

  it.each(looks)("stay inside of Compare, formatted and as written, and of Steering (%o)", async (look) => {
    scripted.engine.script = { texts: [hardText] };
    const words = { compare: ["Compare", "As written", "Formatted"], steering: ["Run both", "Formatted", "As tokens"] };
    for (const [view, [go = "", ...forms]] of Object.entries(words)) {
      const page = await scripted.visit(`#/${view}`, look);
      await eventually(() => button(page, go).isEnabled()).toBe(true);
      await button(page, go).click();
      await page.getByText("tokens").nth(1).waitFor();
      for (const form of forms) {
        await page.getByLabel(form).check();
        expect([view, form, await sideways(page)]).toEqual([view, form, 0]);
        for (const column of await page.locator(".column").all()) {
          const box = await column.boundingBox();
          expect((box?.x ?? 0) + (box?.width ?? 0)).toBeLessThanOrEqual(look.width);
        }
      }
      await page.context().close();
    }
    scripted.engine.script = {};
  });

  it.each(looks)("stay inside of the arena (%o)", async (look) => {
    const page = await scripted.visit("#/arena", look);
    const frames = [
      ...["left", "right"].map((side) => ({ kind: "text", side, text: hardText })),
      { kind: "complete", id: "b1", ballot: "of b1" },
    ];
    const lines = [...frames.map((frame) => JSON.stringify(frame)), "[DONE]"];
    const body = lines.map((data) => `data: ${data}\n\n`).join("");
    await page.route("**/v1/arena/battles", (route) => route.fulfill({ contentType: "text/event-stream", body }));
    await page.getByLabel("Prompt", { exact: true }).fill("q".repeat(400));
    await button(page, "Start a blind battle").click();
    await page.getByRole("button", { name: /^Tie/ }).waitFor();
    expect(await sideways(page)).toBe(0);
    for (const column of await page.locator(".column, .battle-prompt").all()) {
      const box = await column.boundingBox();
      expect((box?.x ?? 0) + (box?.width ?? 0)).toBeLessThanOrEqual(look.width);
    }
    await page.context().close();
  });
});

describe("the list of conversations", again, () => {
  /** As many as fill the window. */
  const many = Array.from({ length: 40 }, (_, at) => ({
    id: `c${at}`,
    title: `Conversation ${at}`,
    updatedAt: at,
    messages: [{ role: "user", content: "Hi" }],
  }));
  const visit = async () => {
    const page = await scripted.visit();
    for (const one of many) {
      const stored = [`toast-serve:conversation:${one.id}`, JSON.stringify(one)];
      await page.evaluate(([key = "", value = ""]) => localStorage.setItem(key, value), stored);
    }
    await page.reload();
    return page;
  };

  it("shows the whole menu of the last one; what concerns all stays in sight", async () => {
    const page = await visit();
    await page.getByLabel("More for Conversation 0", { exact: true }).click();
    for (const name of ["Delete", "New conversation", "Export all"]) {
      await eventually(async () => {
        const box = await button(page, name).boundingBox();
        return (box?.y ?? -1) >= 0 && (box?.y ?? 0) + (box?.height ?? 0) <= 900;
      }).toBe(true);
    }
    await button(page, "Delete").click();
    expect(await page.getByLabel("More for Conversation 0", { exact: true }).count()).toBe(0);
    await page.context().close();
  });

  it("has the old title selected when one is renamed: typing replaces it", async () => {
    const page = await visit();
    let title = "Conversation 39";
    // A second time, too: browsers heed `autofocus` once.
    for (const next of ["Tea", "Toast"]) {
      await page.getByLabel(`More for ${title}`, { exact: true }).click();
      await button(page, "Rename").click();
      await eventually(() => page.evaluate("document.activeElement.value")).toBe(title);
      await page.keyboard.type(next);
      await page.keyboard.press("Enter");
      await button(page, next).waitFor();
      title = next;
    }
    await page.context().close();
  });
});

describe("an answer", again, () => {
  it("stands under a heading of its conversation, its own headings below that", async () => {
    scripted.engine.script = { texts: ["# Tea\n\nBoil it."] };
    const page = await scripted.visit();
    await ask(page, "How do I make tea?");
    scripted.engine.script = {};
    expect(await page.getByRole("heading", { level: 1 }).textContent()).toBe("How do I make tea?");
    expect(await lastAnswer(page).getByRole("heading", { level: 2 }).count()).toBe(1);
    expect(await lastAnswer(page).getByRole("heading", { level: 3 }).textContent()).toBe("Tea");
    await page.context().close();
  });
});

describe("settings", again, () => {
  it("show whole what stands for an empty field, at every width", async () => {
    for (const width of [1440, 1280]) {
      const page = await scripted.visit("", { width });
      const field = page.getByLabel("Temperature", { exact: true });
      await field.waitFor();
      expect(await field.getAttribute("placeholder")).toBe("1");
      expect(await field.evaluate((input) => input.scrollWidth - input.clientWidth)).toBe(0);
      await page.context().close();
    }
  });
});

describe("the arena", again, () => {
  it("draws other prompts, and goes on from the vote to the next battle", async () => {
    const page = await scripted.visit("#/arena");
    const frames = [
      { kind: "text", side: "left", text: "One." },
      { kind: "text", side: "right", text: "Two." },
      { kind: "complete", id: "b1", ballot: "of b1" },
    ];
    const body = [...frames.map((frame) => JSON.stringify(frame)), "[DONE]"]
      .map((data) => `data: ${data}\n\n`)
      .join("");
    await page.route("**/v1/arena/battles", (route) => route.fulfill({ contentType: "text/event-stream", body }));
    const names = { left: { label: "a" }, right: { label: "b" } };
    await page.route("**/v1/arena/battles/b1/vote", (route) => route.fulfill({ json: names }));
    const prompt = page.getByLabel("Prompt", { exact: true });
    const before = await prompt.inputValue();
    await button(page, "Random prompt").click();
    expect(await prompt.inputValue()).not.toBe(before);
    await button(page, "Start a blind battle").click();
    const drawn = await page.locator(".battle-prompt").textContent();
    await page.getByRole("button", { name: /^Tie/ }).click();
    await button(page, "Next, on another prompt").click();
    await page.getByRole("button", { name: /^Tie/ }).waitFor();
    expect(await page.locator(".battle-prompt").textContent()).not.toBe(drawn);
    // Where a battle waits for its vote there is no second form that begins another.
    expect(await prompt.count()).toBe(0);
    await page.context().close();
  });
});

describe("the arena of a server that is still loading", again, () => {
  it("has its form once the models are there", async () => {
    let isLoading = true;
    const page = await scripted.visit();
    await page.route("**/health", (route) =>
      isLoading ? route.fulfill({ status: 503, json: { status: "loading", fraction: 0.5 } }) : route.continue(),
    );
    await page.route("**/v1/contestants", (route) =>
      isLoading ? route.fulfill({ json: { data: [] } }) : route.continue(),
    );
    await page.goto(`${scripted.server.url}/#/arena`);
    await page.reload();
    await page.getByText("A battle needs two contestants").waitFor();
    isLoading = false;
    await button(page, "Start a blind battle").waitFor();
    await page.context().close();
  });
});

describe("the leaderboard", again, () => {
  it("says when its votes were counted, and counts both bad among them", async () => {
    const page = await scripted.visit();
    const standing = { rating: 1000, low: 900, high: 1100, battles: 2, wins: 1, losses: 0, ties: 0, both_bad: 1 };
    const board = {
      battles: 2,
      confidence: 0.95,
      computed_at: "2026-01-31T12:02:03.000Z",
      contestants: ["a", "b"].map((contestant) => ({ ...standing, contestant, rank: 1, last_rank: 2, win_rate: 0.75 })),
      pairs: [{ a: "a", b: "b", wins: 1, losses: 0, ties: 0, both_bad: 1, win_rate: 0.75, separable: false }],
    };
    await page.route("**/v1/arena/leaderboard*", (route) => route.fulfill({ json: board }));
    await page.goto(`${scripted.server.url}/#/leaderboard`);
    await page.getByText(/2 votes, counted at .*02:03/).waitFor();
    await page.getByRole("cell", { name: "1–2", exact: true }).first().waitFor();
    const matrix = page.getByRole("region", { name: "Win matrix" });
    expect(await matrix.getByRole("cell", { name: /^75\.0 %/ }).textContent()).toContain("of 2");
    expect(await findingsOf(page)).toEqual([]);
    await page.setViewportSize({ width: 390, height: 844 });
    expect(await sideways(page)).toBe(0);
    await page.context().close();
  });
});
