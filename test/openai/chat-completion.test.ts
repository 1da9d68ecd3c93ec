import { describe, expect, it } from "vitest";
import type { GenerationEvent } from "../../src/engine/engine.js";
import { ordinaryText, type ReportRequest } from "../../src/engine/generation-request.js";
import { defaultServedModel, type ServedModel, servedModelsOf } from "../../src/engine/served-model.js";
import { ToastError } from "../../src/errors.js";
import { chatCompletion, chatCompletionChunks } from "../../src/openai/chat-completion.js";
import { toHttpError } from "../../src/openai/error-envelope.js";
import { modelList } from "../../src/openai/model-object.js";
import { responseHead } from "../../src/openai/response-head.js";
import { dataFrame } from "../../src/openai/server-sent-events.js";
import { mergeGenerations } from "../../src/openai/stream-events.js";
import { chunkFrames, framesOf } from "../../src/openai/stream-frames.js";
import type { Steering } from "../../src/steering/steering.js";
import { scriptedModel } from "../server/scripted-engine.js";

const [base, alpaca, poet] = servedModelsOf(scriptedModel) as [ServedModel, ServedModel, ServedModel];
const plain: Steering = { kind: "plain" };
const steered: Steering = { kind: "steered", adapter: "alpaca", strength: 0.5, layers: [0, 3], vectors: [] };
const now = new Date(1_700_000_000_123);
const usage = { promptTokens: 3, cachedTokens: 1, completionTokens: 2 };

async function frames(
  events: readonly (GenerationEvent | Error)[],
  includeUsage = false,
  choices = 1,
  report: ReportRequest = ordinaryText.report,
): Promise<string[]> {
  const errors: unknown[] = [];
  async function* source() {
    for (const event of events) {
      await Promise.resolve();
      if (event instanceof Error) {
        throw event;
      }
      yield event;
    }
  }
  const all: string[] = [];
  const head = responseHead("chatcmpl", alpaca, steered, now);
  const chunks = chatCompletionChunks(head, { choices, includeUsage, report });
  const merged = mergeGenerations([{ promptTokens: 3, started: Promise.resolve(0), events: source() }], choices);
  for await (const frame of framesOf(chunkFrames(chunks, includeUsage), merged, {
    choices,
    onError: (error) => errors.push(error),
  })) {
    all.push(frame);
  }
  return all;
}

function parse(frame: string) {
  return JSON.parse(frame.replace(/^data: /, ""));
}

const twoWords: readonly GenerationEvent[] = [
  { kind: "delta", choice: 0, text: "Hel", tokens: 1, reports: [] },
  { kind: "delta", choice: 0, text: "", tokens: 1, reports: [] },
  { kind: "delta", choice: 0, text: "lo\n", tokens: 1, reports: [] },
  { kind: "finished", choice: 0, reason: "stop", usage },
];

describe("frames of a stream", () => {
  it("are opening, texts, finish, [DONE], each one data line", async () => {
    const all = await frames(twoWords);
    expect(all.every((frame) => /^data: [^\n]+\n\n$/.test(frame))).toBe(true);
    expect(all.at(-1)).toBe("data: [DONE]\n\n");
    const choices = all.slice(0, -1).map((frame) => parse(frame).choices[0]);
    expect(choices).toEqual([
      { index: 0, delta: { role: "assistant", content: "" }, logprobs: null, finish_reason: null },
      { index: 0, delta: { content: "Hel" }, logprobs: null, finish_reason: null },
      { index: 0, delta: { content: "lo\n" }, logprobs: null, finish_reason: null },
      { index: 0, delta: {}, logprobs: null, finish_reason: "stop" },
    ]);
  });

  it("share id, created, model and fingerprint; only the first says what steers", async () => {
    const chunks = (await frames(twoWords)).slice(0, -1).map(parse);
    const heads = new Set(
      chunks.map((c) => JSON.stringify([c.id, c.created, c.model, c.system_fingerprint, c.object])),
    );
    expect(heads.size).toBe(1);
    expect(chunks[0]).toMatchObject({ model: "tiny:alpaca", created: 1_700_000_000, object: "chat.completion.chunk" });
    expect(chunks.map((c) => c.steering)).toEqual([
      { adapter: "alpaca", strength: 0.5, layers: [0, 3] },
      undefined,
      undefined,
      undefined,
    ]);
    expect(chunks.every((chunk) => !("usage" in chunk))).toBe(true);
  });

  it("carry usage when asked: null on all but one extra chunk before [DONE]", async () => {
    const all = await frames(twoWords, true);
    const chunks = all.slice(0, -1).map(parse);
    expect(chunks.slice(0, -1).every((chunk) => chunk.usage === null && chunk.choices.length === 1)).toBe(true);
    expect(chunks.at(-1)).toMatchObject({
      choices: [],
      usage: {
        prompt_tokens: 3,
        completion_tokens: 2,
        total_tokens: 5,
        prompt_tokens_details: { cached_tokens: 1 },
      },
    });
  });

  it("give each choice its opening, texts and finish, interleaved, and count the prompt once", async () => {
    const events: readonly GenerationEvent[] = [
      { kind: "delta", choice: 1, text: "B", tokens: 1, reports: [] },
      { kind: "delta", choice: 0, text: "A", tokens: 1, reports: [] },
      { kind: "finished", choice: 1, reason: "stop", usage },
      { kind: "delta", choice: 0, text: "a", tokens: 1, reports: [] },
      { kind: "finished", choice: 0, reason: "length", usage },
    ];
    const all = await frames(events, true, 2);
    const chunks = all.slice(0, -1).map(parse);
    const told = chunks.flatMap(({ choices }) => choices).map((c) => [c.index, c.delta.content ?? c.finish_reason]);
    expect(told).toEqual([
      [0, ""],
      [1, ""],
      [1, "B"],
      [0, "A"],
      [1, "stop"],
      [0, "a"],
      [0, "length"],
    ]);
    expect(chunks.at(-1)?.usage).toMatchObject({ prompt_tokens: 3, completion_tokens: 4, total_tokens: 7 });
    expect(parse((await frames(events.slice(0, 3), false, 2)).at(-2) ?? "").error.code).toBe("engine_failed");
  });

  it("end with an error as JSON and [DONE] when the engine fails half-way", async () => {
    const failure = new ToastError("engine_failed", "The engine failed.");
    const all = await frames([{ kind: "delta", choice: 0, text: "Hel", tokens: 1, reports: [] }, failure]);
    expect(parse(all.at(-2) ?? "")).toEqual({
      error: { message: "The engine failed.", type: "server_error", param: null, code: "engine_failed" },
    });
    expect(all.at(-1)).toBe("data: [DONE]\n\n");
  });

  it("end with an error when the engine forgets to finish, or the server cancels", async () => {
    expect(parse((await frames([])).at(-2) ?? "").error.code).toBe("engine_failed");
    const cancelled = await frames([{ kind: "finished", choice: 0, reason: "cancelled", usage }]);
    expect(parse(cancelled.at(-2) ?? "").error.code).toBe("server_draining");
  });

  it("keep line breaks inside a JSON string", () => {
    expect(dataFrame({ a: "x\r\n\n\u2028" })).toBe('data: {"a":"x\\r\\n\\n\u2028"}\n\n');
  });
});

describe("an unstreamed answer", () => {
  it("has OpenAI's shape, and says what steered it", () => {
    const head = responseHead("chatcmpl", alpaca, steered, now);
    const choice = { text: "Hello", reason: "length" as const, reports: [], tokenIds: [] };
    const answer = { choices: [choice], prompts: [[]], promptIds: [[]], usage };
    expect(chatCompletion(head, answer, ordinaryText.report)).toEqual({
      id: head.id,
      object: "chat.completion",
      created: 1_700_000_000,
      model: "tiny:alpaca",
      choices: [
        {
          index: 0,
          message: { role: "assistant", content: "Hello", refusal: null, annotations: [] },
          logprobs: null,
          finish_reason: "length",
        },
      ],
      usage: {
        prompt_tokens: 3,
        completion_tokens: 2,
        total_tokens: 5,
        prompt_tokens_details: { cached_tokens: 1 },
      },
      system_fingerprint: head.systemFingerprint,
      steering: { adapter: "alpaca", strength: 0.5, layers: [0, 3] },
    });
    expect(responseHead("chatcmpl", base, plain, now).steering).toBeNull();
  });

  it("says which control vectors steered it, beside the adapter or alone, and names their content in its fingerprint", () => {
    const vectors = [{ name: "happy", strength: 0.8, layers: [1, 2] as const }];
    const head = (steering: Steering, model = base) => responseHead("chatcmpl", model, steering, now);
    expect(head({ kind: "vectors", vectors }).steering).toEqual({ vectors });
    const adapter = { adapter: "alpaca", strength: 0.5, layers: [0, 3] };
    expect(head({ ...steered, vectors } as Steering).steering).toEqual({ ...adapter, vectors });
    const [happy, formal] = scriptedModel.vectors;
    const remade = {
      ...base,
      base: { ...scriptedModel, vectors: [{ ...happy, fingerprint: "f" }, formal] },
    } as ServedModel;
    const prints = [
      head(plain),
      head(steered),
      head({ kind: "vectors", vectors }),
      head({ kind: "vectors", vectors: [{ name: "happy", strength: 0.7, layers: [1, 2] }] }),
      head({ kind: "vectors", vectors: [{ name: "happy", strength: 0.8, layers: [1, 1] }] }),
      head({ ...steered, vectors } as Steering),
      head({ kind: "vectors", vectors }, remade),
    ].map(({ systemFingerprint }) => systemFingerprint);
    expect(new Set(prints).size).toBe(prints.length);
  });

  it("has an id of its own, and a fingerprint that covers weights, adapter, strength and layers", () => {
    const print = (steering: Steering) => responseHead("chatcmpl", base, steering, now).systemFingerprint;
    expect(responseHead("chatcmpl", base, plain, now).id).toMatch(/^chatcmpl-[0-9a-f]{32}$/);
    expect(responseHead("chatcmpl", base, plain, now).id).not.toBe(responseHead("chatcmpl", base, plain, now).id);
    expect(print(steered)).toBe(print(steered));
    const other: Steering[] = [
      plain,
      { ...steered, adapter: "poet" },
      { ...steered, strength: 1 },
      { ...steered, layers: [1, 3] },
    ];
    expect(new Set([...other, steered].map(print)).size).toBe(5);
  });
});

describe("models", () => {
  it("are the base, then base:adapter; the default is the first steered one", () => {
    expect([base, alpaca, poet].map(({ id }) => id)).toEqual(["tiny", "tiny:alpaca", "tiny:poet"]);
    expect(defaultServedModel([base, alpaca, poet])).toBe(alpaca);
    expect(defaultServedModel([base])).toBe(base);
    expect(defaultServedModel([])).toBeNull();
    expect(
      modelList([base, alpaca], 5).data.map(({ id, object, created, owned_by }) => [id, object, created, owned_by]),
    ).toEqual([
      ["tiny", "model", 5, "toast-serve"],
      ["tiny:alpaca", "model", 5, "toast-serve"],
    ]);
  });
});

describe("errors", () => {
  it("have a status that clients do not retry when trying again cannot help", () => {
    const status = (code: ToastError["code"]) => toHttpError(new ToastError(code, "x")).status;
    expect(status("invalid_json")).toBe(400);
    expect(status("context_length_exceeded")).toBe(400);
    expect(status("chat_template_missing")).toBe(400);
    expect(status("model_not_found")).toBe(404);
    expect(status("body_too_large")).toBe(413);
  });

  it("say when to try again where that helps", () => {
    expect(toHttpError(new ToastError("server_overloaded", "x"))).toMatchObject({ status: 429, retryAfter: 1 });
    expect(toHttpError(new ToastError("server_loading", "x"))).toMatchObject({ status: 503, retryAfter: 2 });
  });

  it("tell nothing of the inside when they are unknown", () => {
    const { status, envelope } = toHttpError(new TypeError("/secret/path is undefined"));
    expect(status).toBe(500);
    expect(JSON.stringify(envelope)).not.toContain("secret");
    expect(new Set(Object.keys(envelope.error))).toEqual(new Set(["code", "message", "param", "type"]));
  });
});
