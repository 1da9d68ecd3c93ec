import { type RequestField, ToastError } from "../../errors.js";
import type { CompiledConstraint } from "../../grammar/matcher.js";
import type { Steering } from "../../steering/steering.js";
import type { VectorStack } from "../../steering/vector-stack.js";
import { type GenerationRequest, maxLogprobs } from "../generation-request.js";
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
  /** Tokens of a prompt in one forward; where prefixes are kept, `blockTokens` is a multiple of it. */
  readonly chunkTokens: number;
  readonly schedule: Schedule;
  /** Most tokens that are guessed ahead of a text that has its forwards to itself (see TextGuesses); 0 guesses none. */
  readonly guesses: number;
}

/** A request whose prompt is tokenized and fits the context. */
export interface AdmittedRequest extends Omit<GenerationRequest, "prompt" | "maxTokens" | "constraint"> {
  readonly requestId: string;
  readonly promptIds: readonly number[];
  /** Ids that the text goes on from; empty for a text of its own (see IncrementalDetokenizer). */
  readonly textContext: readonly number[];
  readonly maxTokens: number;
  /**
   * Its adapter is named by the key of one version, which steers it to the end whatever is loaded under the name
   * meanwhile.
   */
  readonly steering: Steering;
  /** What its control vectors add, likewise those of the moment at which it came; null when it has none. */
  readonly stack: VectorStack | null;
  /** Of a request that is made to look into the model: over how many of the prompt's last tokens. */
  readonly layerMeans?: number;
  readonly constraint: CompiledConstraint | null;
}

/**
 * How many tokens a request may generate. Pure. A prompt is never cut silently.
 * @param maxTokens asked for; null: as many as there is room for.
 * @throws ToastError `context_length_exceeded`; `invalid_request` for a prompt without tokens
 */
export function admitLength(promptTokens: number, maxTokens: number | null, contextLength: number): number {
  if (promptTokens === 0) throw invalid("The prompt has no tokens. Send some text.", "prompt");
  const room = contextLength - promptTokens;
  // OpenAI's own opening: frameworks tell this error by it.
  const context = `This model's maximum context length is ${contextLength} tokens. However, your prompt has ${promptTokens} tokens`;
  if (room < (maxTokens === 0 ? 0 : 1)) {
    throw tooLong(`${context}, which leaves no room for an answer. Shorten it.`);
  }
  if (maxTokens !== null && maxTokens > room) {
    throw tooLong(`${context} and ${maxTokens} were asked for. Shorten it, or ask for ${room} tokens at most.`);
  }
  return maxTokens ?? room;
}

/** Bytes of a prompt that may be tokenized to keep its end only, whatever the context is. */
const mostCutBytes = 100_000;

/**
 * Refuses a text that no tokenization can bring into the context, before it is tokenized: that takes microseconds for
 * each byte, and every stream waits meanwhile. Pure.
 * @param bytes of the text in UTF-8; of a chat, as its template writes it.
 * @param longestToken bytes of the vocabulary's longest token.
 * @param kept of the prompt; its `end` may be what is left of some more.
 * @throws ToastError `context_length_exceeded`
 */
export function admitBytes(
  bytes: number,
  { contextLength, longestToken }: { readonly contextLength: number; readonly longestToken: number },
  kept: "all" | "end",
): void {
  const fitting = contextLength * longestToken;
  const most = kept === "end" ? Math.max(mostCutBytes, fitting) : fitting;
  if (bytes <= most) return;
  const context = `This model's maximum context length is ${contextLength} tokens. However, your prompt has ${bytes} bytes`;
  throw tooLong(
    kept === "end"
      ? `${context}, and at most ${most} are read to keep a prompt's end. Send its end alone.`
      : `${context}, and a token holds ${longestToken} at most: more than ${most} bytes cannot fit. Shorten it.`,
  );
}

/** What a request says of single tokens, and how many it wants to know of. */
export interface TokenOptions extends Pick<GenerationRequest, "minTokens" | "stopTokenIds"> {
  readonly sampling: Pick<GenerationRequest["sampling"], "logitBias" | "allowedTokens">;
  readonly report: Pick<GenerationRequest["report"], "logprobs" | "promptLogprobs">;
}

/**
 * Pure.
 * @param maxTokens that there will be at most
 * @throws ToastError `invalid_request` for what cannot be had from a model with that vocabulary
 */
export function checkTokens(options: TokenOptions, maxTokens: number, vocabSize: number): void {
  const { minTokens, stopTokenIds, sampling, report } = options;
  for (const [id, bias] of sampling.logitBias) {
    requireToken(id, vocabSize, "sampling.logitBias");
    if (!(Math.abs(bias) <= 100)) {
      throw invalid(`The bias of token ${id} is ${bias}; it must be between -100 and 100.`, "sampling.logitBias");
    }
  }
  for (const id of sampling.allowedTokens ?? []) requireToken(id, vocabSize, "sampling.allowedTokens");
  for (const id of stopTokenIds) requireToken(id, vocabSize, "stopTokenIds");
  if (!Number.isInteger(minTokens) || minTokens < 0 || minTokens > maxTokens) {
    const message = `${minTokens} tokens were asked for at least, but there can be ${maxTokens} at most. Ask for a whole number of tokens from 0 to ${maxTokens}.`;
    throw invalid(message, "minTokens");
  }
  for (const [count, field] of [
    [report.logprobs, "report.logprobs"],
    [report.promptLogprobs, "report.promptLogprobs"],
  ] as const) {
    if (count === null || (Number.isInteger(count) && count >= 0 && count <= maxLogprobs)) continue;
    throw invalid(`${count} likeliest tokens were asked for; ask for 0 to ${maxLogprobs}.`, field);
  }
}

/** @param field whose token it is @throws ToastError `invalid_request` for a token that the vocabulary does not have */
export function requireToken(id: number, vocabSize: number, field: RequestField): void {
  if (Number.isInteger(id) && id >= 0 && id < vocabSize) return;
  throw invalid(`Token id ${id} is outside this model's 0…${vocabSize - 1}.`, field);
}

/** What running sequences leave to others. */
export interface Occupancy {
  readonly running: number;
  /** Bytes of key/value blocks that running sequences hold, and one more block for each of their lanes. */
  readonly claimedBytes: number;
}

/**
 * Whether one more sequence may start. Pure. It needs room for what it knows now: memory for what comes later is taken
 * as it is needed, and if there is none then, the youngest sequence gives its own back (it is preempted) and waits
 * again.
 * @param neededBytes of the sequence's blocks, with room for one more token in each lane.
 */
export function canStart(occupancy: Occupancy, neededBytes: number, limits: EngineLimits): boolean {
  if (occupancy.running === 0) return true;
  if (occupancy.running >= limits.maxRunning) return false;
  return occupancy.claimedBytes + neededBytes <= limits.cacheBytes;
}

function invalid(message: string, field: RequestField): ToastError {
  return new ToastError("invalid_request", message, { field });
}

function tooLong(message: string): ToastError {
  return new ToastError("context_length_exceeded", message, { field: "prompt" });
}
