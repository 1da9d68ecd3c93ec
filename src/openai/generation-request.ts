import { randomInt } from "node:crypto";
import { type GenerationRequest, ordinaryText } from "../engine/messages.js";
import { ToastError } from "../errors.js";
import type { Steering } from "../steering/steering.js";
import type { ChatCompletionRequest } from "./chat-completion-request.js";
import type { ServedModel } from "./served-model.js";

/**
 * The engine's words for a checked request. Every default of the wire is decided here.
 * @throws ToastError `invalid_request` when the steering does not fit the model.
 */
export function toGenerationRequest(request: ChatCompletionRequest, model: ServedModel): GenerationRequest {
  return {
    prompt: { kind: "chat", messages: request.messages },
    steering: resolveSteering(request, model),
    sampling: {
      temperature: request.temperature ?? 1,
      ...candidates(request),
      minP: request.min_p ?? 0,
      presencePenalty: request.presence_penalty ?? 0,
      frequencyPenalty: request.frequency_penalty ?? 0,
      repetitionPenalty: request.repetition_penalty ?? 1,
      logitBias: [],
      seed: request.seed === null ? randomInt(2 ** 32) : foldSeed(request.seed),
    },
    choices: request.n ?? 1,
    maxTokens: request.max_completion_tokens ?? request.max_tokens,
    stopStrings: request.stop ?? [],
    ignoreEos: request.ignore_eos ?? false,
    ...ordinaryText,
  };
}

/** `top_k` 0 and −1 are off (vLLM); `top_p` 0 asks for no mass beyond the best candidate, which is `top_k` 1. */
function candidates(request: ChatCompletionRequest): { topP: number; topK: number | null } {
  if (request.top_p === 0) {
    return { topP: 1, topK: 1 };
  }
  return { topP: request.top_p ?? 1, topK: request.top_k === null || request.top_k < 1 ? null : request.top_k };
}

/**
 * The body's `steering` over the model id's adapter. Strength 0 *is* the plain base model: it becomes the variant that
 * costs one pass and cannot differ from the base by a bit.
 */
function resolveSteering(request: ChatCompletionRequest, { id, base, adapter: ownAdapter }: ServedModel): Steering {
  const field = request.steering;
  const adapter = field?.adapter ?? ownAdapter?.name ?? null;
  const known = base.adapters.map(({ name }) => name);
  if (adapter !== null && !known.includes(adapter)) {
    throw new ToastError("invalid_request", `The model '${base.id}' has no adapter '${adapter}'. ${listed(known)}`, {
      param: "steering.adapter",
    });
  }
  const lastLayer = base.layers - 1;
  const layers = field?.layers ?? null;
  if (layers !== null && layers[1] > lastLayer) {
    const message = `'steering.layers' must lie within 0 and ${lastLayer}: the model '${base.id}' has ${base.layers} layers.`;
    throw new ToastError("invalid_request", message, { param: "steering.layers" });
  }
  const strength = field?.strength ?? null;
  if (strength === 0) {
    return { kind: "plain" };
  }
  if (adapter === null) {
    if (strength !== null || layers !== null) {
      const message = `'steering.adapter' is missing: the model id '${id}' names no adapter to steer with. ${listed(known)}`;
      throw new ToastError("invalid_request", message, { param: "steering.adapter" });
    }
    return { kind: "plain" };
  }
  return { kind: "steered", adapter, strength: strength ?? 1, layers: layers ?? [0, lastLayer] };
}

function listed(adapters: readonly string[]): string {
  return adapters.length === 0 ? "It has none." : `Its adapters: ${adapters.join(", ")}.`;
}

/**
 * Folds any integer to the sampler's 32 bits. Seeds of 0…2³²−1 stay themselves; the upper half of a 64-bit seed is mixed
 * in, so that seeds that differ only there still differ.
 */
export function foldSeed(seed: number): number {
  const bits = BigInt.asUintN(64, BigInt(seed));
  const low = Number(bits & 0xffffffffn);
  const high = Number(bits >> 32n);
  return (low ^ scatter(high)) >>> 0;
}

/** MurmurHash3's finalizer: 0 stays 0, everything else changes about half of the bits. */
function scatter(bits: number): number {
  let mixed = bits;
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return mixed ^ (mixed >>> 16);
}
