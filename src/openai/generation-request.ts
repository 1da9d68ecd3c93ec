import { randomInt } from "node:crypto";
import type { GenerationRequest } from "../engine/generation-request.js";
import type { ServedModel } from "../engine/served-model.js";
import { ToastError } from "../errors.js";
import { type CallFormat, ownFormat } from "../text/tool-call-format.js";
import type { SamplingRequest } from "./generation-fields.js";
import { resolveSteering } from "./steering-field.js";
import { callMarkupOf } from "./tool-calls.js";

/** What an endpoint says in words of its own. */
export interface OwnPart extends Pick<GenerationRequest, "prompt" | "choices" | "maxTokens" | "constraint"> {
  /** Whether the ids of all tokens are told. */
  readonly tokenIds?: boolean;
  readonly logprobs: number | null;
  readonly promptLogprobs: number | null;
  /** How calls stand in the text, where there may be any. */
  readonly format?: CallFormat;
}

/**
 * The engine's words for a checked request. Every default of the wire's common fields is decided here: what the request
 * leaves open the model's recommendation decides, else OpenAI's default.
 * @throws ToastError `invalid_request` when the steering does not fit the model.
 */
export function toGenerationRequest(request: SamplingRequest, model: ServedModel, own: OwnPart): GenerationRequest {
  const { tokenIds = false, logprobs, promptLogprobs, format = ownFormat, ...ownFields } = own;
  const recommended = model.base.sampling;
  const truncate = request.truncate_prompt_tokens;
  refuseContradictions(request, own);
  return {
    ...ownFields,
    steering: resolveSteering(request.steering, model),
    sampling: {
      temperature: request.temperature ?? recommended.temperature ?? 1,
      ...candidates(request.top_p ?? recommended.top_p ?? 1, request.top_k ?? recommended.top_k ?? 0),
      minP: request.min_p ?? recommended.min_p ?? 0,
      ...(request.typical_p === null || request.typical_p === 1 ? {} : { typicalP: request.typical_p }),
      presencePenalty: request.presence_penalty ?? 0,
      frequencyPenalty: request.frequency_penalty ?? 0,
      repetitionPenalty: request.repetition_penalty ?? request.repeat_penalty ?? recommended.repetition_penalty ?? 1,
      logitBias: request.logit_bias ?? [],
      ...(request.allowed_token_ids === null ? {} : { allowedTokens: request.allowed_token_ids }),
      seed: request.seed === null ? randomInt(2 ** 32) : foldSeed(request.seed),
    },
    stopStrings: request.stop ?? [],
    keepsStop: request.include_stop_str_in_output ?? false,
    calls: callMarkupOf(ownFields.constraint, format),
    skipsSpecialTokens: request.skip_special_tokens ?? true,
    ...(truncate === null ? {} : { truncatePrompt: truncate === -1 ? "room" : truncate }),
    ignoreEos: request.ignore_eos ?? false,
    minTokens: request.min_tokens ?? 0,
    stopTokenIds: request.stop_token_ids ?? [],
    report: {
      logprobs,
      promptLogprobs,
      explain: request.steering?.explain ?? false,
      ...(tokenIds ? { tokenIds } : {}),
    },
  };
}

/** @throws ToastError `invalid_request` for fields that cannot both hold. */
function refuseContradictions(request: SamplingRequest, { constraint }: OwnPart): void {
  const { repetition_penalty: ours, repeat_penalty: theirs, allowed_token_ids: allowed } = request;
  if (ours !== null && theirs !== null && ours !== theirs) {
    const message = "'repetition_penalty' and 'repeat_penalty' are one thing and say two. Leave one of them out.";
    throw new ToastError("invalid_request", message, { param: "repeat_penalty" });
  }
  if (allowed === null) return;
  if (constraint !== null) {
    const message = `'allowed_token_ids' and '${constraint.param}' may leave no token to draw. Leave one of them out.`;
    throw new ToastError("invalid_request", message, { param: "allowed_token_ids" });
  }
  if ((request.min_tokens ?? 0) > 0) {
    const message = "'allowed_token_ids' and 'min_tokens' may leave no token to draw. Leave one of them out.";
    throw new ToastError("invalid_request", message, { param: "allowed_token_ids" });
  }
}

/** `top_k` 0 and −1 are off (vLLM); `top_p` 0 asks for no mass beyond the best candidate, which is `top_k` 1. */
function candidates(topP: number, topK: number): { topP: number; topK: number | null } {
  if (topP === 0) {
    return { topP: 1, topK: 1 };
  }
  return { topP, topK: topK < 1 ? null : topK };
}

/**
 * Folds any integer to the sampler's 32 bits. Seeds of 0…2³²−1 stay themselves; the upper half of a 64-bit seed is
 * mixed in, so that seeds that differ only there still differ.
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
