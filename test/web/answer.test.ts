import { describe, expect, it } from "vitest";
import { type Answer, emptyAnswer, paceOf, reduceAnswer, type StreamEvent } from "../../src/web/wire/answer.js";
import { brokenOff, envelopeSentence, problemOf } from "../../src/web/wire/problem.js";
import { defaultModel, modelsOf, phaseOf, vectorsOf } from "../../src/web/wire/server.js";

const chunk = (value: unknown): StreamEvent => ({ kind: "chunk", chunk: value });
const textChunk = (content: string) => chunk({ choices: [{ index: 0, delta: { content }, finish_reason: null }] });
const opening = chunk({
  choices: [{ index: 0, delta: { role: "assistant", content: "" }, finish_reason: null }],
  usage: null,
});
const finish = (reason: string) => chunk({ choices: [{ index: 0, delta: {}, finish_reason: reason }] });
const usage = chunk({
  choices: [],
  usage: { prompt_tokens: 31, completion_tokens: 11, prompt_tokens_details: { cached_tokens: 30 } },
});

/** One event every 10 ms, the first at 10. */
function play(...events: StreamEvent[]): Answer {
  return events.reduce((answer, event, at) => reduceAnswer(answer, event, (at + 1) * 10), emptyAnswer(0));
}

describe("a streamed answer", () => {
  it("waits, streams, and is done with its usage", () => {
    expect(play(opening)).toMatchObject({ phase: "waiting", firstTextAt: null });
    expect(play(opening, textChunk("He"))).toMatchObject({ phase: "streaming", text: "He", firstTextAt: 20 });
    const done = play(opening, textChunk("He"), textChunk("llo"), finish("stop"), usage, { kind: "done" });
    expect(done).toMatchObject({
      phase: "done",
      text: "Hello",
      finishReason: "stop",
      promptTokens: 31,
      completionTokens: 11,
      cachedTokens: 30,
      firstTextAt: 20,
      endedAt: 60,
      problem: null,
    });
  });

  it("tells its pace: the first token by itself, the others by the time they took", () => {
    const done = play(opening, textChunk("He"), finish("stop"), usage, { kind: "done" });
    // Ten tokens in the 30 ms from the first text to the end.
    expect(paceOf(done)).toEqual({ firstTextMs: 20, tokensPerSecond: 10_000 / 30 });
    expect(paceOf(play(opening))).toEqual({ firstTextMs: null, tokensPerSecond: null });
    expect(paceOf({ ...done, completionTokens: 1 }).tokensPerSecond).toBeNull();
  });

  it("fails with the server's sentence on an error frame, keeps its text, and [DONE] does not mend it", () => {
    const sentence = "The server is shutting down and ended this answer. Send the request again.";
    const failed = play(opening, textChunk("He"), chunk({ error: { message: sentence } }), { kind: "done" });
    expect(failed).toMatchObject({ phase: "failed", text: "He", problem: { kind: "refused", sentence } });
  });

  it("counts a [DONE] without a finish reason as broken off", () => {
    expect(play(opening, textChunk("He"), { kind: "done" })).toMatchObject({ phase: "failed", problem: brokenOff });
  });

  it("stays as it is once stopped", () => {
    const stopped = play(opening, textChunk("He"), { kind: "stopped" }, textChunk("llo"));
    expect(stopped).toMatchObject({ phase: "stopped", text: "He", endedAt: 30 });
  });

  it("gathers explained tokens, and the prompt's once", () => {
    const vectors = [{ name: "happy", before: [-1, 2], after: [0, 3] }];
    const token = { id: 5, text: " a", bytes: [32, 97], relevance: 0.5, gains: [1, 2], vectors, draft: "accepted" };
    const prompt = { tokens: [{ id: 1, text: "", bytes: [], relevance: null, gains: [] }] };
    const answer = play(
      opening,
      chunk({ choices: [{ delta: { content: " a" }, explanation: { tokens: [token] } }], prompt_explanation: prompt }),
      chunk({ choices: [{ delta: { content: " b" }, explanation: { tokens: [{ ...token, draft: "??" }] } }] }),
    );
    expect(answer.tokens).toEqual([token, { ...token, draft: "none" }]);
    expect(answer.promptExplanation).toEqual([
      { id: 1, text: "", bytes: [], relevance: null, gains: [], vectors: [], draft: "none" },
    ]);
  });

  it("takes chunks of any shape without a fall", () => {
    for (const odd of [null, 4, "x", [], {}, { choices: null }, { choices: [null] }, { choices: [{ delta: 7 }] }]) {
      expect(play(opening, chunk(odd)).text).toBe("");
    }
  });
});

describe("problems", () => {
  it("says the server's own sentence, else one of its own", () => {
    expect(problemOf(400, { error: { message: "No." } })).toEqual({ kind: "refused", sentence: "No." });
    expect(problemOf(502, null)).toMatchObject({ kind: "refused", sentence: expect.stringContaining("502") });
    expect(envelopeSentence({ error: "plain" })).toBe("plain");
    expect(envelopeSentence({ choices: [] })).toBeNull();
  });

  it("knows that 401 asks for a key", () => {
    expect(problemOf(401, { error: { message: "Incorrect API key." } })).toEqual({
      kind: "key",
      sentence: "Incorrect API key.",
    });
    expect(problemOf(401, null).kind).toBe("key");
    expect(problemOf(403, { error: { message: "It needs an admin key." } }).kind).toBe("refused");
  });
});

describe("the server as the page sees it", () => {
  it("reads /health in every phase", () => {
    expect(phaseOf(true, { status: "ready", models: [] })).toEqual({ kind: "ready" });
    expect(phaseOf(false, { status: "loading", stage: "decoder", fraction: 0.4 })).toEqual({
      kind: "loading",
      stage: "decoder",
      fraction: 0.4,
    });
    expect(phaseOf(false, { status: "draining", running: 2 })).toEqual({ kind: "draining" });
    expect(phaseOf(false, { status: "failed", message: "No memory." })).toEqual({
      kind: "failed",
      message: "No memory.",
    });
    expect(phaseOf(false, null).kind).toBe("failed");
  });

  it("lists models and prefers a steered one", () => {
    const models = modelsOf({
      data: [
        { id: "tiny", root: "tiny", layers: 6, max_model_len: 64, steering: null, licence: "MIT" },
        { id: "tiny:alpaca", root: "tiny", layers: 6, max_model_len: 64, steering: { adapter: "alpaca" } },
        { no: "id" },
      ],
    });
    expect(models.map(({ id, adapter }) => [id, adapter])).toEqual([
      ["tiny", null],
      ["tiny:alpaca", "alpaca"],
    ]);
    expect(defaultModel(models)?.id).toBe("tiny:alpaca");
    expect(defaultModel(models.slice(0, 1))?.id).toBe("tiny");
    expect(defaultModel([])).toBeNull();
  });

  it("lists control vectors, and passes over what it cannot read", () => {
    const happy = {
      name: "happy",
      model: "tiny",
      description: "Full of delight.",
      example_prompt: "How are you?",
      layers: [1, 2],
      recommended: [-1, 0.5],
      separation: 0.8,
      norm_share: 0.02,
      layer_separations: [0.7, 0.9],
      layer_norm_shares: [0.01, 0.03],
      origin: "upload",
      fingerprint: "0a1b",
    };
    expect(
      vectorsOf({ data: [happy, { name: "plain", model: "tiny", recommended: null }, { model: "tiny" }] }),
    ).toEqual([
      {
        name: "happy",
        root: "tiny",
        description: "Full of delight.",
        examplePrompt: "How are you?",
        layers: [1, 2],
        recommended: [-1, 0.5],
        separation: 0.8,
        normShare: 0.02,
        layerSeparations: [0.7, 0.9],
        layerNormShares: [0.01, 0.03],
        isOwn: true,
        fingerprint: "0a1b",
      },
      {
        name: "plain",
        root: "tiny",
        description: null,
        examplePrompt: null,
        layers: null,
        recommended: null,
        separation: null,
        normShare: null,
        layerSeparations: [],
        layerNormShares: [],
        isOwn: false,
        fingerprint: null,
      },
    ]);
    expect(vectorsOf("nonsense")).toEqual([]);
  });
});
