import { describe, expect, it } from "vitest";
import type { GenerationRequest } from "../../src/engine/generation-request.js";
import { type ServedModel, servedModelsOf } from "../../src/engine/served-model.js";
import { chatGenerationRequest, parseChatCompletionRequest } from "../../src/openai/chat-completion-request.js";
import { foldSeed } from "../../src/openai/generation-request.js";
import { scriptedModel } from "../server/scripted-engine.js";

const models = servedModelsOf(scriptedModel);

function translate(fields: object, id = "tiny"): GenerationRequest {
  const request = parseChatCompletionRequest({ model: id, messages: [{ role: "user", content: "Hi" }], ...fields });
  return chatGenerationRequest(request, models.find((model) => model.id === id) as ServedModel);
}

describe("sampling", () => {
  it("has the wire's defaults", () => {
    const { prompt, maxTokens, stopStrings, ignoreEos, sampling } = translate({ seed: 1 });
    expect({ prompt, maxTokens, stopStrings, ignoreEos, sampling }).toEqual({
      ignoreEos: false,
      prompt: {
        kind: "chat",
        messages: [{ role: "user", content: "Hi" }],
        rendering: { addGenerationPrompt: true, continueFinalMessage: false, variables: {}, tools: [] },
      },
      maxTokens: null,
      stopStrings: [],
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
    });
  });

  it("carries every field over", () => {
    const { sampling, stopStrings, maxTokens, ignoreEos } = translate({
      temperature: 0.5,
      top_p: 0.9,
      top_k: 40,
      min_p: 0.1,
      presence_penalty: 1,
      frequency_penalty: -1,
      repetition_penalty: 1.2,
      seed: 7,
      stop: "END",
      max_tokens: 9,
      ignore_eos: true,
    });
    expect({ sampling, stopStrings, maxTokens, ignoreEos }).toEqual({
      ignoreEos: true,
      stopStrings: ["END"],
      maxTokens: 9,
      sampling: {
        temperature: 0.5,
        topP: 0.9,
        topK: 40,
        minP: 0.1,
        presencePenalty: 1,
        frequencyPenalty: -1,
        repetitionPenalty: 1.2,
        logitBias: [],
        seed: 7,
      },
    });
  });

  it("lets max_completion_tokens win over max_tokens", () => {
    expect(translate({ max_tokens: 5, max_completion_tokens: 3 }).maxTokens).toBe(3);
  });

  it.each([[-1], [0], [null]])("reads top_k %j as off", (top_k) => {
    expect(translate({ top_k }).sampling.topK).toBeNull();
  });

  it("reads top_p 0 as the best candidate alone", () => {
    expect(translate({ top_p: 0, top_k: 50 }).sampling).toMatchObject({ topP: 1, topK: 1 });
  });

  it("takes what the model recommends where the request does not say", () => {
    const sampling = { temperature: 0.6, top_k: 20, repetition_penalty: 1.1 };
    const [model] = servedModelsOf({ ...scriptedModel, sampling });
    const translated = (fields: object) =>
      chatGenerationRequest(
        parseChatCompletionRequest({ model: "tiny", messages: [{ role: "user", content: "Hi" }], ...fields }),
        model as ServedModel,
      ).sampling;
    expect(translated({})).toMatchObject({ temperature: 0.6, topP: 1, topK: 20, minP: 0, repetitionPenalty: 1.1 });
    expect(translated({ temperature: 0, top_k: 0, repetition_penalty: 1 })).toMatchObject({
      temperature: 0,
      topK: null,
      repetitionPenalty: 1,
    });
  });

  it("draws another seed for each request without one", () => {
    const seeds = new Set(Array.from({ length: 20 }, () => translate({}).sampling.seed));
    expect(seeds.size).toBeGreaterThan(15);
  });

  it("folds any integer to 32 bits, and keeps those that fit", () => {
    for (const seed of [0, 1, 42, 2 ** 32 - 1]) {
      expect(foldSeed(seed)).toBe(seed);
    }
    const folded = [-1, -2, 2 ** 32, 2 ** 33, 2 ** 53, -(2 ** 63), 1e300].map(foldSeed);
    for (const seed of folded) {
      expect(Number.isInteger(seed) && seed >= 0 && seed < 2 ** 32).toBe(true);
    }
    expect(new Set(folded.slice(0, 5)).size).toBe(5);
  });
});

describe("steering", () => {
  const all = [0, 3];

  it.each([
    ["the base is plain", "tiny", undefined, { kind: "plain" }],
    ["an empty field changes nothing", "tiny", {}, { kind: "plain" }],
    ["an adapter's id steers fully", "tiny:alpaca", undefined, steered("alpaca", 1, all)],
    ["the field names an adapter of the base", "tiny", { adapter: "poet" }, steered("poet", 1, all)],
    ["the field wins over the id", "tiny:alpaca", { adapter: "poet" }, steered("poet", 1, all)],
    ["strength and layers override", "tiny:alpaca", { strength: 0.5, layers: [1, 2] }, steered("alpaca", 0.5, [1, 2])],
    ["strength 0 is the base model", "tiny:alpaca", { strength: 0 }, { kind: "plain" }],
    ["strength 0 needs no adapter", "tiny", { strength: 0 }, { kind: "plain" }],
    ["minus nothing is nothing", "tiny:alpaca", { strength: -0 }, { kind: "plain" }],
    ["vectors alone", "tiny", { vectors: [{ name: "happy" }] }, { kind: "vectors", vectors: [happy(1, [1, 2])] }],
    [
      "vectors beside the id's adapter, in the order of the request",
      "tiny:alpaca",
      {
        strength: 0.5,
        vectors: [
          { name: "formal", strength: -4, layers: [3, 3] },
          { name: "happy", strength: 0.8 },
        ],
      },
      {
        ...steered("alpaca", 0.5, all),
        vectors: [{ name: "formal", strength: -4, layers: [3, 3] }, happy(0.8, [1, 2])],
      },
    ],
    [
      "vectors of strength 0 are left out, and an adapter of strength 0",
      "tiny:alpaca",
      {
        strength: 0,
        vectors: [
          { name: "formal", strength: 0 },
          { name: "happy", strength: 2, layers: [2, 3] },
        ],
      },
      { kind: "vectors", vectors: [happy(2, [2, 3])] },
    ],
    ["strength 0 of everything is the base", "tiny", { vectors: [{ name: "happy", strength: 0 }] }, { kind: "plain" }],
    ["no vectors are none", "tiny", { vectors: [] }, { kind: "plain" }],
  ])("%s", (_, id, steering, expected) => {
    expect(translate({ steering }, id).steering).toEqual(expected);
  });

  it.each([
    ["an unknown adapter", "tiny", { adapter: "nobody" }, "steering.adapter"],
    ["an unknown adapter at strength 0", "tiny", { adapter: "nobody", strength: 0 }, "steering.adapter"],
    ["a strength without an adapter", "tiny", { strength: 1 }, "steering.adapter"],
    ["layers without an adapter", "tiny", { layers: [0, 1] }, "steering.adapter"],
    ["layers beyond the last", "tiny:alpaca", { layers: [0, 4] }, "steering.layers"],
    ["an unknown vector", "tiny", { vectors: [{ name: "nobody" }] }, "steering.vectors[0].name"],
    ["an unknown vector at strength 0", "tiny", { vectors: [{ name: "x", strength: 0 }] }, "steering.vectors[0].name"],
    [
      "a vector's layers beyond the last",
      "tiny",
      { vectors: [{ name: "happy" }, { name: "formal", layers: [0, 4] }] },
      "steering.vectors[1].layers",
    ],
    [
      "layers without a direction",
      "tiny",
      { vectors: [{ name: "happy", layers: [3, 3] }] },
      "steering.vectors[0].layers",
    ],
    ["a vector's strength of 9", "tiny", { vectors: [{ name: "happy", strength: 9 }] }, "steering.vectors[0].strength"],
    ["a vector without a name", "tiny", { vectors: [{ strength: 1 }] }, "steering.vectors[0].name"],
    ["nine vectors", "tiny", { vectors: new Array(9).fill({ name: "happy" }) }, "steering.vectors"],
  ])("refuses %s", (_, id, steering, param) => {
    expect(() => translate({ steering }, id)).toThrow(expect.objectContaining({ code: "invalid_request", param }));
  });

  function steered(adapter: string, strength: number, layers: readonly number[]) {
    return { kind: "steered", adapter, strength, layers, vectors: [] };
  }

  function happy(strength: number, layers: readonly number[]) {
    return { name: "happy", strength, layers };
  }
});
