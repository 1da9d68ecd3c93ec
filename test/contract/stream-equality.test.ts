import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { EngineClient } from "../../src/engine/thread/engine-client.js";
import { openTestModel } from "./open-test-model.js";
import { answerOf, framesOf, startTestServer, streamedText, type TestServer } from "./start-test-server.js";

/**
 * Streamed text is the unstreamed text of the same seed. Prompts of all scripts; temperatures at which a small model writes
 * byte tokens that make no character; stop strings cut out of the text itself, so that they begin and end within tokens.
 */
let engine: EngineClient;
let server: TestServer;
let closeModel: () => Promise<void>;

beforeAll(async () => {
  ({ engine, close: closeModel } = await openTestModel());
  server = await startTestServer([engine]);
});
afterAll(async () => {
  await server.shutdown(0);
  await closeModel();
});

const piece = fc.constantFrom(
  "Hello",
  " world",
  "你好",
  "世界",
  "🙂",
  "👩‍👩‍👧",
  "é",
  "e\u0301",
  "\n\n",
  " ",
  "\ufeff",
  "ß",
  "</s>",
  "𝒳",
  "ـ",
);
const wish = fc.record({
  prompt: fc.array(piece, { minLength: 1, maxLength: 8 }).map((pieces) => pieces.join("")),
  temperature: fc.constantFrom(0, 0.8, 1.6, 2),
  seed: fc.integer({ min: 0, max: 2 ** 31 }),
  model: fc.constantFrom("tiny", "tiny:alpaca"),
  /** Where the stop string is cut out of the text, in parts of its length. */
  cut: fc.tuple(fc.double({ min: 0, max: 1, noNaN: true }), fc.integer({ min: 1, max: 5 })),
});

const wishes = fc.sample(wish, { numRuns: 60, seed: 7 });

async function chatTexts(body: object): Promise<[whole: string, streamed: string, reasons: unknown[]]> {
  const whole = answerOf(await server.chat(body));
  const stream = await server.chat({ ...body, stream: true });
  const reason = framesOf(stream)
    .flatMap((frame) => /"finish_reason":"(\w+)"/.exec(frame)?.[1] ?? [])
    .at(-1);
  const choice = whole.choices[0];
  return [choice?.message.content ?? "", streamedText(stream), [choice?.finish_reason, reason]];
}

describe("stop strings", () => {
  it("wire row 14: stop strings cut across tokens end streamed and unstreamed text alike, and are never seen", async () => {
    let stopped = 0;
    for (const { prompt, cut, ...rest } of wishes) {
      const body = { ...rest, messages: [{ role: "user", content: prompt }], max_tokens: 24, ignore_eos: true };
      const full = answerOf(await server.chat(body)).choices[0]?.message.content ?? "";
      // Whole characters: half of a surrogate pair is no text.
      const characters = [...full];
      const from = Math.floor(cut[0] * Math.max(0, characters.length - cut[1]));
      const stop = characters.slice(from, from + cut[1]).join("");
      if (stop === "") continue;
      const expected = full.slice(0, full.indexOf(stop));
      const [whole, streamed, reasons] = await chatTexts({ ...body, stop: [stop, "\u0001never"] });
      expect([whole, streamed, reasons]).toEqual([expected, expected, ["stop", "stop"]]);
      stopped++;
    }
    expect(stopped).toBeGreaterThan(wishes.length / 2);
  });
});

describe("text", () => {
  it("wire row 15: streamed text is the unstreamed text over prompts and answers of all scripts and broken bytes", async () => {
    let broken = 0;
    for (const { prompt, cut: _, ...rest } of wishes) {
      const body = { ...rest, messages: [{ role: "user", content: prompt }], max_tokens: 24 };
      const [whole, streamed, reasons] = await chatTexts(body);
      expect(streamed).toBe(whole);
      expect(reasons[0]).toBe(reasons[1]);
      if (whole.includes("\ufffd")) broken++;
    }
    // Or no bytes were held back at all.
    expect(broken).toBeGreaterThan(5);
  });

  it("wire row 15: the same holds of completions, whose prompt may end within a character", async () => {
    for (const { prompt, cut: _, ...rest } of wishes.slice(0, 30)) {
      const { tokens } = JSON.parse((await server.post("/tokenize", { prompt })).text) as { tokens: number[] };
      const body = { ...rest, prompt: tokens.slice(0, -1), max_tokens: 16, echo: true };
      if (body.prompt.length === 0) continue;
      const textOf = (text: string) =>
        (JSON.parse(text) as { choices: { text: string }[] }).choices.map((choice) => choice.text).join("");
      const whole = textOf((await server.post("/v1/completions", body)).text);
      const frames = framesOf(await server.post("/v1/completions", { ...body, stream: true }));
      const streamed = frames
        .filter((frame) => frame !== "data: [DONE]")
        .map((frame) => textOf(frame.slice("data: ".length)))
        .join("");
      expect(streamed).toBe(whole);
    }
  });
});
