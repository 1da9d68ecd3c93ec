import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { convert } from "../../../src/convert/convert.js";
import type { Generation } from "../../../src/engine/engine.js";
import { type GenerationRequest, ordinaryText } from "../../../src/engine/generation-request.js";
import { EngineClient } from "../../../src/engine/thread/engine-client.js";
import { workerUrl } from "../../contract/open-test-model.js";
import { openToastTiny } from "../../support/toast-tiny.js";

/** Pieces of another's text that come while one request is prepared: where the thread is held up, there is none or one. */
const fewest = 5;

const plain: GenerationRequest = {
  ...ordinaryText,
  caller: "somebody else",
  prompt: { kind: "text", text: "Once upon a time", addSpecialTokens: true },
  steering: { kind: "plain" },
  sampling: {
    temperature: 1,
    topP: 1,
    topK: null,
    minP: 0,
    presencePenalty: 0,
    frequencyPenalty: 0,
    repetitionPenalty: 1,
    logitBias: [],
    seed: 1,
  },
  choices: 1,
  maxTokens: 200,
  stopStrings: [],
  ignoreEos: true,
};

async function textOf({ events }: Generation): Promise<string> {
  let text = "";
  for await (const event of events) if (event.kind === "delta") text += event.text;
  return text;
}

/** Streams text of one caller until it is told to stop, and counts its pieces. */
async function piecesUntil(engine: EngineClient, done: Promise<unknown>): Promise<number> {
  let pieces = 0;
  const controller = new AbortController();
  const stop = () => controller.abort();
  done.then(stop, stop);
  while (!controller.signal.aborted) {
    try {
      const { events } = await engine.generate(plain, controller.signal);
      for await (const event of events) if (event.kind === "delta" && !controller.signal.aborted) pieces++;
    } catch (error) {
      // It may be told to stop before it has begun.
      if (!controller.signal.aborted) throw error;
    }
  }
  return pieces;
}

describe("somebody's text goes on while another's request is prepared:", () => {
  let engine: EngineClient;
  beforeAll(async () => {
    engine = await openToastTiny();
  });
  afterAll(() => engine.close());

  const values = (letter: string) => Array.from({ length: 10_000 }, (_, at) => `${letter}${at}`);
  const together = { allOf: [{ pattern: "^(a|b)*a(a|b){11}$" }, { pattern: "^(a|b)*b(a|b){10}$" }] };

  it.each([
    ["a small schema that is hard", { type: "string", ...together }],
    ["a schema of 200 KB", { oneOf: [{ enum: values("a") }, { enum: values("b") }] }],
  ])("%s", async (_, schema) => {
    const constraint = { kind: "jsonSchema", schema: JSON.stringify(schema), param: "response_format" } as const;
    const request = { ...plain, caller: "one", constraint, maxTokens: 12, ignoreEos: false };
    const asked = engine.generate(request, new AbortController().signal);
    expect(await piecesUntil(engine, asked)).toBeGreaterThan(fewest);
    const text = await textOf(await asked);
    expect(text).toMatch(/^\s*"[ab0-9]/);
    // The same where its grammar is known, and holds no token.
    expect(await textOf(await engine.generate(request, new AbortController().signal))).toBe(text);
  });

  it("100,000 blanks that are counted", async () => {
    const prompt = { kind: "text", text: " ".repeat(100_000), addSpecialTokens: true } as const;
    const asked = engine.ask({ kind: "encode", prompt, adapter: null });
    expect(await piecesUntil(engine, asked)).toBeGreaterThan(fewest);
    expect((await asked).ids.length).toBeGreaterThan(1_000);
  });

  it("callers take turns with their questions, and those of who has gone are dropped", async () => {
    const answered: string[] = [];
    const ask = (caller: string, letter: string, signal = new AbortController().signal) =>
      engine
        .ask(
          {
            kind: "encode",
            prompt: { kind: "text", text: letter.repeat(20_000), addSpecialTokens: true },
            adapter: null,
          },
          { caller, signal },
        )
        .then(() => answered.push(`${caller} ${letter}`));
    const gone = new AbortController();
    const [first, dropped] = [ask("one", "a"), ask("one", "b", gone.signal)];
    const others = [ask("one", "c"), ask("one", "d"), ask("two", "e")];
    gone.abort(new Error("hung up"));
    await expect(dropped).rejects.toThrow("hung up");
    await Promise.all([first, ...others]);
    expect(answered).toEqual(["one a", "two e", "one c", "one d"]);
  });

  it("many tokens are written as text elsewhere, and are the same text", async () => {
    const words = "Once upon a time there was a little house. ".repeat(200);
    const prompt = { kind: "text", text: words, addSpecialTokens: false } as const;
    const { ids } = await engine.ask({ kind: "encode", prompt, adapter: null });
    const long = Array.from({ length: 10 }, () => ids).flat();
    const asked = engine.ask({ kind: "decode", ids: long, specialTokens: "written" });
    const said = async (some: readonly number[]) =>
      (await engine.ask({ kind: "decode", ids: some, specialTokens: "written" })).text;
    expect(long.length).toBeGreaterThan(10_000);
    expect((await asked).text.startsWith(await said(long.slice(0, 2_000)))).toBe(true);
    expect((await asked).text).toContain("little house. Once upon");
  });

  it("a grammar whose sender has gone is compiled no further", async () => {
    const schema = JSON.stringify({ ...together, allOf: [{ pattern: "^(a|b)*a(a|b){14}$" }, ...together.allOf] });
    const constraint = { kind: "jsonSchema", schema, param: "response_format" } as const;
    const controllers = Array.from({ length: 64 }, () => new AbortController());
    const asked = controllers.map(({ signal }) => engine.generate({ ...plain, caller: "one", constraint }, signal));
    const refusals = Promise.allSettled(asked);
    // They are on their way.
    await engine.inspect();
    for (const controller of controllers) controller.abort();
    expect((await refusals).map(({ status }) => status)).toEqual(controllers.map(() => "rejected"));
    const known = { kind: "choice", options: ["yes", "no"], param: "guided_choice" } as const;
    const request = { ...plain, caller: "one", constraint: known };
    expect(await textOf(await engine.generate(request, new AbortController().signal))).toMatch(/^(yes|no)$/);
  });
});

describe("a chat template with a loop of 100,000 turns", () => {
  let engine: EngineClient;
  let scratch: string;
  beforeAll(async () => {
    scratch = await mkdtemp(join(tmpdir(), "toast-template-"));
    const source = fileURLToPath(new URL("../../tiny/gqa", import.meta.url));
    const chatTemplate = "{% for i in range(99999) %}{% endfor %}{{ messages[0].content }}";
    await convert({
      source,
      out: join(scratch, "tiny"),
      quantize: "none",
      modelId: "tiny",
      adapters: [],
      chatTemplate,
    });
    engine = new EngineClient({ folder: join(scratch, "tiny"), threads: 1, workerUrl });
    await engine.ready();
  });
  afterAll(async () => {
    await engine.close();
    await rm(scratch, { recursive: true, force: true });
  });

  it("keeps nobody else's text waiting", async () => {
    const prompt = { kind: "chat", messages: [{ role: "user", content: "Hi" }] } as const;
    const asked = engine.generate({ ...plain, caller: "one", prompt, maxTokens: 2 }, new AbortController().signal);
    expect(await piecesUntil(engine, asked)).toBeGreaterThan(fewest);
    expect((await asked).promptTokens).toBeGreaterThan(0);
  });
});
