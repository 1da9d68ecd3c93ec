import { type ErrorData, ToastError } from "../errors.js";
import type { GenerationRequest } from "./messages.js";
import type { Schedule } from "./scheduler.js";

export interface EngineLimits {
  /** Sequences computed at the same time. */
  readonly maxRunning: number;
  /** Sequences that may wait for their turn; more are refused with `server_overloaded`. */
  readonly maxWaiting: number;
  /** Bytes that key/value caches may take, those kept for later requests included. One sequence alone may take more. */
  readonly cacheBytes: number;
  /** Of these, bytes that may be kept for later requests that begin with the same tokens; 0 keeps nothing. */
  readonly prefixBytes: number;
  /** Tokens of a prompt in one forward. */
  readonly chunkTokens: number;
  readonly schedule: Schedule;
}

export type LengthCheck =
  | { readonly kind: "fits"; readonly maxTokens: number }
  | { readonly kind: "refused"; readonly error: ErrorData };

/** Whether a prompt and what it asks for fit the context. Pure. A prompt is never cut silently. */
export function checkLength(promptTokens: number, maxTokens: number | null, contextLength: number): LengthCheck {
  if (promptTokens === 0) {
    return refused("invalid_request", "The prompt has no tokens. Send some text.", "messages");
  }
  const room = contextLength - promptTokens;
  if (room < (maxTokens === 0 ? 0 : 1)) {
    return refused(
      "context_length_exceeded",
      `This model's context is ${contextLength} tokens; the prompt has ${promptTokens}, which leaves no room for an answer. Shorten it.`,
      "messages",
    );
  }
  if (maxTokens !== null && maxTokens > room) {
    return refused(
      "context_length_exceeded",
      `This model's context is ${contextLength} tokens; the prompt has ${promptTokens} and ${maxTokens} were asked for. Shorten it, or ask for ${room} tokens at most.`,
      "messages",
    );
  }
  return { kind: "fits", maxTokens: maxTokens ?? room };
}

/** What a request says of single tokens, and how many it wants told of. */
export interface TokenWishes extends Pick<GenerationRequest, "minTokens" | "stopTokenIds"> {
  readonly logitBias: GenerationRequest["sampling"]["logitBias"];
  readonly report: Pick<GenerationRequest["report"], "logprobs" | "promptLogprobs">;
}

/** Likeliest tokens that are reported of one place. */
const mostLogprobs = 20;

/**
 * Pure.
 * @param maxTokens that there will be at most
 * @returns why these wishes cannot be had from a model with that vocabulary; null when they can.
 */
export function checkTokens(wishes: TokenWishes, maxTokens: number, vocabSize: number): ErrorData | null {
  const { minTokens, stopTokenIds, logitBias, report } = wishes;
  const isToken = (id: number): boolean => Number.isInteger(id) && id >= 0 && id < vocabSize;
  const outside = (id: number): string => `Token id ${id} is outside this model's 0…${vocabSize - 1}.`;
  const stranger = logitBias.find(([id]) => !isToken(id));
  if (stranger !== undefined) return invalid(outside(stranger[0]), "logit_bias");
  const extreme = logitBias.find(([, bias]) => !(Math.abs(bias) <= 100));
  if (extreme !== undefined) {
    return invalid(`The bias of token ${extreme[0]} is ${extreme[1]}; it must be between -100 and 100.`, "logit_bias");
  }
  const unknown = stopTokenIds.find((id) => !isToken(id));
  if (unknown !== undefined) return invalid(outside(unknown), "stop_token_ids");
  if (!Number.isInteger(minTokens) || minTokens < 0 || minTokens > maxTokens) {
    const message = `${minTokens} tokens were asked for at least, but there can be ${maxTokens} at most. Ask for a whole number of tokens from 0 to ${maxTokens}.`;
    return invalid(message, "min_tokens");
  }
  for (const [count, param] of [
    [report.logprobs, "logprobs"],
    [report.promptLogprobs, "prompt_logprobs"],
  ] as const) {
    if (count === null || (Number.isInteger(count) && count >= 0 && count <= mostLogprobs)) continue;
    return invalid(`${count} likeliest tokens were asked for; ask for 0 to ${mostLogprobs}.`, param);
  }
  return null;
}

/** What running sequences leave to others. */
export interface Occupancy {
  readonly running: number;
  /** Bytes of key/value blocks that running sequences hold, and one more block for each of their lanes. */
  readonly claimedBytes: number;
}

/**
 * Whether one more sequence may start. Pure. It needs room for what it knows now: memory for what comes later is taken as it is
 * needed, and if there is none then, the youngest sequence gives its own back (it is preempted) and waits again.
 * @param neededBytes of the sequence's blocks, with room for one more token in each lane.
 */
export function canStart(occupancy: Occupancy, neededBytes: number, limits: EngineLimits): boolean {
  if (occupancy.running === 0) return true;
  if (occupancy.running >= limits.maxRunning) return false;
  return occupancy.claimedBytes + neededBytes <= limits.cacheBytes;
}

function invalid(message: string, param: string): ErrorData {
  return { code: "invalid_request", message, param };
}

function refused(code: ErrorData["code"], message: string, param: string): LengthCheck {
  return { kind: "refused", error: new ToastError(code, message, { param }).toData() };
}
