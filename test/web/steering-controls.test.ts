import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { ask, eventually, lastAnswer, ScriptedPage } from "./scripted-page.js";

// The sliders of the built page: where they begin, what they say, how they look.

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });
const again = { retry: 0 };

const happy = { name: "happy", model: "tiny", layers: [1, 2], recommended: [-1, 1], origin: "model_folder" };

let scripted: ScriptedPage;
beforeAll(async () => {
  scripted = await ScriptedPage.start();
});
afterAll(async () => {
  await scripted?.end();
});

describe("an adapter's strength that nobody has set", again, () => {
  it("is the one recommended for it, else 1, in the chat and in what is sent", async () => {
    const page = await scripted.visit();
    const slider = page.getByLabel(/^Steering strength/);
    await eventually(() => slider.inputValue()).toBe("0.5");
    expect(await slider.getAttribute("aria-valuetext")).toBe("0.50. As recommended: answers in a line.");
    const sent = page.waitForRequest("**/v1/chat/completions");
    await ask(page, "Hi");
    expect((await sent).postDataJSON()).toMatchObject({ model: "tiny:alpaca", steering: { strength: 0.5 } });
    expect(await lastAnswer(page).getByRole("heading").textContent()).toContain("strength 0.50");
    await page.getByLabel("Model", { exact: true }).selectOption("tiny:poet");
    expect(await slider.inputValue()).toBe("1");
    expect(await slider.getAttribute("aria-valuetext")).toBe("1.00. As trained.");
    expect(await page.evaluate("JSON.parse(localStorage.getItem('toast-serve:settings')).strength")).toBeNull();
    await page.context().close();
  });

  it("says where it is once it was moved, and leads back there", async () => {
    const page = await scripted.visit();
    const slider = page.getByLabel(/^Steering strength/);
    await eventually(() => slider.inputValue()).toBe("0.5");
    await slider.fill("0.8");
    await page.getByText("Stronger than recommended (0.50), up to as trained.").waitFor();
    await page.getByRole("button", { name: "Back to 0.50" }).click();
    expect(await slider.inputValue()).toBe("0.5");
    await page.context().close();
  });

  it("is the recommended one under Steering and Compare too", async () => {
    for (const [view, name] of Object.entries({ steering: "Run both", compare: "Compare" })) {
      const page = await scripted.visit(`#/${view}`);
      const sent: object[] = [];
      page.on("request", (request) => {
        if (request.url().endsWith("/v1/chat/completions")) sent.push(request.postDataJSON());
      });
      const go = page.getByRole("button", { name, exact: true });
      await eventually(() => go.isEnabled()).toBe(true);
      await eventually(() =>
        page
          .getByLabel(/^Steering strength/)
          .first()
          .inputValue(),
      ).toBe("0.5");
      await go.click();
      await eventually(async () => sent.length).toBe(2);
      expect(sent).toContainEqual(
        expect.objectContaining({ model: "tiny:alpaca", steering: expect.objectContaining({ strength: 0.5 }) }),
      );
      await page.context().close();
    }
  });
});

describe("a model without an adapter", again, () => {
  it("has no slider in the chat", async () => {
    const page = await scripted.visit("", { settings: { model: "tiny" } });
    await eventually(() => page.getByLabel("Model", { exact: true }).inputValue()).toBe("tiny");
    expect(await page.getByLabel(/^Steering strength/).count()).toBe(0);
    await page.context().close();
  });
});

describe("a control vector's dial", again, () => {
  it.each([{ dark: false }, { dark: true }, { forcedColours: true }])(
    "is filled from the middle to its thumb, and not at all at 0 (%o)",
    async (looks) => {
      const page = await scripted.visit("", { ...looks, vectors: [happy] });
      const dial = page.getByLabel(/^happy/);
      await dial.waitFor();
      const halves = async () => {
        const colours = await scripted.coloursAcross(dial);
        // A pixel in the middle of each half, away from thumb and ends.
        const at = (share: number) => colours[Math.floor(colours.length * share)]?.join();
        return { left: at(0.3), right: at(0.7) };
      };
      const still = await halves();
      expect(still.left).toBe(still.right);
      await dial.fill("2");
      const up = await halves();
      expect(up.left).toBe(still.left);
      expect(up.right).not.toBe(still.right);
      await dial.fill("-2");
      const down = await halves();
      expect(down.right).toBe(still.right);
      expect(down.left).toBe(up.right);
      await page.context().close();
    },
  );
});

describe("a vector that came with the model", again, () => {
  it("can be taken out until the next start, and the button says that", async () => {
    const page = await scripted.visit("#/vectors", { vectors: [happy] });
    const card = page.getByRole("listitem").filter({ has: page.getByRole("heading", { name: "happy" }) });
    await card.getByRole("button", { name: "Take out happy" }).click();
    await card.getByText("Nobody can use it until the server starts again").waitFor();
    expect(await card.getByRole("button", { name: /Delete/ }).count()).toBe(0);
    await page.context().close();
  });
});
