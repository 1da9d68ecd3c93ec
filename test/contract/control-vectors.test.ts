import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { EngineClient } from "../../src/engine/thread/engine-client.js";
import { openTestModel } from "./open-test-model.js";
import { answerOf, errorOf, startTestServer, streamedText, type TestServer } from "./start-test-server.js";

let engine: EngineClient;
let server: TestServer;
let closeModel: () => Promise<void>;

/** Whoever answers: the text, and what the answer says of steering. */
interface Answered {
  readonly text: string;
  readonly steering: unknown;
  readonly fingerprint: unknown;
}

beforeAll(async () => {
  ({ engine, close: closeModel } = await openTestModel());
  server = await startTestServer([engine]);
  if (engine.phase.kind !== "ready") throw new Error("the engine is not ready");
  const { hiddenSize } = engine.phase.model;
  const wave = (step: number) => Float32Array.from({ length: hiddenSize }, (_, i) => 2 * Math.sin(step * (i + 1)));
  const both = new Map([
    [0, wave(1)],
    [1, wave(2)],
  ]);
  await engine.addVector({ name: "happy", directions: both }, "add");
  await engine.addVector({ name: "formal", directions: new Map([[1, wave(3)]]) }, "add");
});
afterAll(async () => {
  await server.shutdown(0);
  await closeModel();
});

const shared = { model: "tiny", temperature: 1, seed: 5 };
const prompt = "Tell me a story.";
const stack = [
  { name: "happy", strength: 0.8, layers: [0, 1] },
  { name: "formal", strength: -1.5, layers: [1, 1] },
];

/** One text from each generating endpoint. */
const endpoints: readonly [string, (steering: unknown, model?: string) => Promise<Answered>][] = [
  [
    "chat completions",
    async (steering, model = "tiny") => {
      const messages = [{ role: "user", content: prompt }];
      const answer = answerOf(await server.chat({ ...shared, model, messages, max_tokens: 16, steering }));
      const text = answer.choices[0]?.message.content ?? "";
      return { text, steering: answer.steering, fingerprint: answer.system_fingerprint };
    },
  ],
  [
    "completions",
    async (steering, model = "tiny") => {
      const body = { ...shared, model, prompt, max_tokens: 16, steering };
      const answer = JSON.parse((await server.post("/v1/completions", body)).text);
      return { text: answer.choices[0].text, steering: answer.steering, fingerprint: answer.system_fingerprint };
    },
  ],
  [
    "responses",
    async (steering, model = "tiny") => {
      const body = { ...shared, model, input: prompt, max_output_tokens: 16, store: false, steering };
      const answer = JSON.parse((await server.post("/v1/responses", body)).text);
      return {
        text: answer.output[0].content[0].text,
        steering: answer.steering,
        fingerprint: answer.system_fingerprint,
      };
    },
  ],
];

describe.each(endpoints)("control vectors on %s", (_, ask) => {
  it("steer the text, alone and beside an adapter, and are named by the answer", async () => {
    const base = await ask(undefined);
    const alone = await ask({ vectors: stack });
    const over = await ask({ vectors: stack }, "tiny:alpaca");
    const adapter = await ask(undefined, "tiny:alpaca");
    expect(new Set([base.text, alone.text, over.text, adapter.text]).size).toBe(4);
    expect(alone.steering).toEqual({ vectors: stack });
    expect(over.steering).toEqual({ adapter: "alpaca", strength: 1, layers: [0, 1], vectors: stack });
    expect(await ask({ vectors: stack })).toEqual(alone);
    const turned = await ask({ vectors: [...stack].reverse() });
    expect(turned.text).toBe(alone.text);
  });

  it("of strength 0 are the base, to the last bit and name", async () => {
    const base = await ask(undefined);
    const zero = stack.map(({ name }) => ({ name, strength: 0 }));
    expect(await ask({ vectors: zero })).toEqual(base);
    expect(await ask({ strength: 0, vectors: zero }, "tiny:alpaca")).toMatchObject({ text: base.text, steering: null });
    const adapter = await ask(undefined, "tiny:alpaca");
    expect(await ask({ vectors: zero }, "tiny:alpaca")).toEqual(adapter);
  });

  it("take the layers that they have directions for where the request does not say", async () => {
    const [happy, formal] = stack;
    const asked = [happy, { name: formal?.name, strength: formal?.strength }];
    expect(await ask({ vectors: asked })).toEqual(await ask({ vectors: stack }));
  });
});

describe("control vectors", () => {
  const messages = [{ role: "user", content: prompt }];
  const greedy = { model: "tiny", messages, temperature: 0, max_tokens: 8 };

  it("are the same streamed and not", async () => {
    const whole = await server.chat({ ...greedy, steering: { vectors: stack } });
    const streamed = await server.chat({ ...greedy, stream: true, steering: { vectors: stack } });
    expect(streamedText(streamed)).toBe(answerOf(whole).choices[0]?.message.content);
  });

  it("are explained token by token: how far each lies along the stream, before and after", async () => {
    const steering = { vectors: stack, explain: true };
    const answer = JSON.parse((await server.chat({ ...greedy, steering })).text);
    const tokens = [...answer.choices[0].explanation.tokens, ...answer.prompt_explanation.tokens];
    expect(tokens.length).toBeGreaterThan(16);
    for (const { relevance, gains, vectors } of tokens) {
      expect([relevance, gains]).toEqual([null, []]);
      expect(vectors.map((one: { name: string }) => one.name)).toEqual(["happy", "formal"]);
      const [happy, formal] = vectors;
      expect([happy.before.length, happy.after.length, formal.before.length]).toEqual([2, 2, 1]);
      // 0.8 of its own length in the first layer, where it is alone.
      expect(happy.after[0] - happy.before[0]).toBeCloseTo(0.8 * lengthOf(1), 1);
      expect(formal.after[0]).toBeLessThan(formal.before[0]);
    }
  });

  it.each([
    ["an unknown vector", [{ name: "nobody" }], "steering.vectors[0].name", /has no control vector 'nobody'.*happy/],
    ["a strength of 9", [{ name: "happy", strength: 9 }], "steering.vectors[0].strength", /from -4 to 4/],
    ["layers beyond the last", [{ name: "happy", layers: [0, 7] }], "steering.vectors[0].layers", /within 0 and 1/],
    ["layers that it has not", [{ name: "formal", layers: [0, 0] }], "steering.vectors[0].layers", /leaves nothing/],
    ["no list", "happy", "steering.vectors", /array of control vectors/],
    ["nine of them", new Array(9).fill({ name: "happy" }), "steering.vectors", /up to 8/],
  ])("are refused with a sentence: %s", async (_, vectors, param, message) => {
    const answer = await server.chat({ ...greedy, steering: { vectors } });
    expect(answer.status).toBe(400);
    expect(errorOf(answer)).toMatchObject({ param, message: expect.stringMatching(message) });
  });

  function lengthOf(step: number): number {
    const size = engine.phase.kind === "ready" ? engine.phase.model.hiddenSize : 0;
    return Math.sqrt(
      Array.from({ length: size }, (_, i) => (2 * Math.sin(step * (i + 1))) ** 2).reduce((a, b) => a + b),
    );
  }
});
