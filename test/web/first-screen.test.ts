import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { noPresentation } from "../../src/model/manifest.js";
import { vectorFingerprint } from "../../src/steering/control-vector.js";
import { readVectorFile } from "../../src/vectors/vector-file.js";
import recorded from "../../src/web/first/recorded.json" with { type: "json" };
import { scriptedModel } from "../server/scripted-engine.js";
import { findingsOf } from "./findings.js";
import { eventually, ScriptedPage, sideways } from "./scripted-page.js";

// What somebody sees who was never here, before anything was asked.

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });
const again = { retry: 0 };

const [novelist] = recorded.adapters;
const [happy] = recorded.vectors;
if (novelist === undefined || happy === undefined) throw new Error("Nothing is recorded.");

/** The recorded model by its names, whatever it says. */
const recordedModel = {
  ...scriptedModel,
  id: recorded.model,
  adapters: recorded.adapters.map(({ name }) => ({
    name,
    stage: "tuned",
    licence: null,
    presentation: { ...noPresentation, description: "Writes like a novel.", recommendedStrength: 1 },
    fingerprint: "a".repeat(16),
  })),
};

const vectors = recorded.vectors.map(({ name, fingerprint }) => ({
  name,
  fingerprint,
  model: recorded.model,
  description: "A tone.",
  layers: [1, 2],
  recommended: [-1, 1],
  origin: "model_folder",
}));

let scripted: ScriptedPage;
let other: ScriptedPage;
beforeAll(async () => {
  [scripted, other] = await Promise.all([ScriptedPage.start(recordedModel), ScriptedPage.start()]);
});
afterAll(async () => {
  await Promise.all([scripted?.end(), other?.end()]);
});

const example = (page: Page) => page.getByRole("region", { name: "A recorded example" });
const column = (page: Page, name: RegExp) => example(page).getByRole("region", { name });
const words = (text: string | null | undefined) => (text ?? "").replaceAll(/[^\p{L}]+/gu, " ").trim();
/** What is seen of it: the others lie in the same place. */
const steered = async (page: Page) =>
  words(
    await column(page, /^Steered/)
      .locator("[class='']")
      .innerText(),
  );
const textAt = (strength: number) => words(novelist.answers.find((answer) => answer.strength === strength)?.text);
const chatCalls = (page: Page) => {
  const bodies: unknown[] = [];
  page.on("request", (request) => {
    if (request.url().endsWith("/v1/chat/completions")) bodies.push(request.postDataJSON());
  });
  return bodies;
};

describe("the first screen", again, () => {
  it("shows one prompt plain and steered with nothing asked, and a dial that changes the steered text alone", async () => {
    const page = await scripted.visit("", { vectors });
    const sent = chatCalls(page);
    await example(page).getByText(novelist.prompt, { exact: true }).waitFor();
    const plain = () =>
      column(page, /^The model as it is/)
        .locator(".markdown")
        .innerText();
    expect(words(await plain())).toBe(textAt(0));
    expect(await steered(page)).toBe(textAt(1));
    const before = await column(page, /^Steered/).boundingBox();
    const dial = page.getByLabel(/^Turn the dial/);
    await dial.press("ArrowRight");
    expect(await dial.getAttribute("aria-valuetext")).toBe("Strength 1.50");
    expect(await steered(page)).toBe(textAt(1.5));
    await dial.press("Home");
    expect(await steered(page)).toBe(textAt(0));
    expect(words(await plain())).toBe(textAt(0));
    expect(await column(page, /^Steered/).boundingBox()).toEqual(before);
    await page.getByRole("radio", { name: "happy" }).check();
    await column(page, /^Steered, happy 1\.00/).waitFor();
    expect(sent).toEqual([]);
    await page.context().close();
  });

  it("asks what it shows on a click, steered by that and nothing else, from the recorded seed", async () => {
    const page = await scripted.visit("", { vectors, settings: { vectors: { pirate: 1 } } });
    const sent = chatCalls(page);
    await page.getByRole("button", { name: "Ask it now" }).click();
    await eventually(async () => sent.length).toBe(1);
    expect(sent[0]).toMatchObject({
      model: `${recorded.model}:novelist`,
      messages: [{ role: "user", content: novelist.prompt }],
      seed: recorded.seed,
      steering: { strength: 1 },
    });
    expect(JSON.stringify(sent[0])).not.toContain("pirate");
    await page.getByRole("button", { name: "New conversation" }).click();
    await page.getByRole("radio", { name: "happy" }).check();
    await page.getByRole("button", { name: "Ask it now" }).click();
    await eventually(async () => sent.length).toBe(2);
    expect(sent[1]).toMatchObject({ model: recorded.model, steering: { vectors: [{ name: "happy", strength: 1 }] } });
    await page.context().close();
  });

  it("leads to the tokens: both answers are being written when the view opens", async () => {
    const page = await scripted.visit("", { vectors });
    const sent = chatCalls(page);
    await page.getByRole("button", { name: "Token by token" }).click();
    await page.getByRole("heading", { name: "What steering does" }).waitFor();
    expect(await page.getByLabel("Prompt").inputValue()).toBe(novelist.prompt);
    await eventually(async () => sent.length).toBe(2);
    await page.context().close();
  });

  it("brings a phone to the two answers, which stand below all that can be set", async () => {
    const page = await scripted.visit("", { vectors, width: 390, height: 844 });
    await page.getByRole("button", { name: "Token by token" }).click();
    const answer = page.getByRole("heading", { name: "Base, strength 0" });
    await eventually(async () => ((await answer.boundingBox())?.y ?? Number.POSITIVE_INFINITY) < 500).toBe(true);
    await page.context().close();
  });

  it("shows nothing that is not served: of another model the example prompt, which one click answers twice", async () => {
    const page = await other.visit();
    const sent = chatCalls(page);
    await page.getByRole("button", { name: "See “Why tea?” answered plain and steered" }).click();
    await eventually(async () => sent.length).toBe(2);
    expect(sent).toContainEqual(expect.objectContaining({ steering: { strength: 0 } }));
    await page.getByRole("heading", { name: /^Steered, strength 0\.50/ }).waitFor();
    // From opening the page, one click: two answers of one prompt at different strengths, and they differ.
    const said = () => page.locator(".column-text").allTextContents();
    await eventually(async () => new Set(await said()).size).toBe(2);
    expect(await said()).toEqual([expect.stringMatching(/plain$/), expect.stringMatching(/alpaca$/)]);
    expect(await example(page).count()).toBe(0);
    await page.context().close();
    const elsewhere = await scripted.visit("", {
      vectors: vectors.map((vector) => ({ ...vector, fingerprint: "0".repeat(12) })),
    });
    await elsewhere.getByRole("radio", { name: "novelist" }).waitFor();
    expect(await elsewhere.getByRole("radio", { name: "happy" }).count()).toBe(0);
    await elsewhere.context().close();
  });

  it.each([
    { width: 1440, dark: false },
    { width: 1440, dark: true },
    { width: 390, height: 844, dark: true },
    { width: 320, height: 568, dark: false },
  ])("fits and is accessible, and both answers are in sight (%o)", async (looks) => {
    const page = await scripted.visit("", { vectors, ...looks });
    await example(page).waitFor();
    expect(await sideways(page)).toBe(0);
    // Messages scroll, and the page with them does not.
    expect(await page.evaluate("document.documentElement.scrollHeight - innerHeight")).toBe(0);
    expect(await findingsOf(page)).toEqual([]);
    if (looks.width > 320) {
      const composer = await page.locator(".composer").boundingBox();
      for (const title of [/^The model as it is/, /^Steered/]) {
        const box = await column(page, title).locator(".markdown").first().boundingBox();
        // Four lines at least.
        expect((box?.y ?? 0) + 80).toBeLessThan(composer?.y ?? 0);
      }
    }
    const nav = page.getByRole("navigation", { name: "Views" });
    expect(await nav.evaluate((bar) => bar.scrollWidth - bar.clientWidth)).toBe(0);
    await page.context().close();
  });
});

describe("the recording", () => {
  it("is of the model, the adapters and the vectors that are shipped", async () => {
    const folder = fileURLToPath(new URL("../../models/smollm2-135m-instruct", import.meta.url));
    const read = async (...path: string[]) => JSON.parse(await readFile(join(folder, ...path), "utf8"));
    const { id, backboneSha256 } = await read("manifest.json");
    expect([recorded.model, recorded.backboneSha256]).toEqual([id, backboneSha256]);
    for (const { name, sha256 } of recorded.adapters) {
      expect((await read("adapters", name, "manifest.json")).files.weights.sha256).toBe(sha256);
    }
    for (const { name, fingerprint } of recorded.vectors) {
      const { directions } = await readVectorFile(join(folder, "vectors", `${name}.gguf`));
      expect(vectorFingerprint({ name, directions })).toBe(fingerprint);
    }
    for (const { answers } of [...recorded.adapters, ...recorded.vectors]) {
      const strengths = answers.map(({ strength }) => strength);
      expect(strengths).toEqual(strengths.toSorted((one, next) => one - next));
      expect(strengths).toContain(0);
      expect(new Set(answers.map(({ text }) => text)).size).toBe(answers.length);
    }
  });
});
