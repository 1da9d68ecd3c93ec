import { type ErrorData, ToastError } from "../errors.js";
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
    return refused(
      "invalid_request",
      "The prompt has no tokens. Send at least one message with some text.",
      "messages",
    );
  }
  const room = contextLength - promptTokens;
  if (room < 1) {
    return refused(
      "context_length_exceeded",
      `This model's context is ${contextLength} tokens; the prompt has ${promptTokens}, which leaves no room for an answer. Shorten the messages.`,
      "messages",
    );
  }
  if (maxTokens !== null && maxTokens > room) {
    return refused(
      "context_length_exceeded",
      `This model's context is ${contextLength} tokens; the prompt has ${promptTokens} and ${maxTokens} were asked for. Shorten the messages, or ask for ${room} tokens at most.`,
      "messages",
    );
  }
  return { kind: "fits", maxTokens: maxTokens ?? room };
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

function refused(code: ErrorData["code"], message: string, param: string): LengthCheck {
  return { kind: "refused", error: new ToastError(code, message, { param }).toData() };
}
