import { type ErrorData, ToastError } from "../errors.js";
import type { Schedule } from "./scheduler.js";

export interface EngineLimits {
  /** Sequences computed at the same time. */
  readonly maxRunning: number;
  /** Sequences that may wait for their turn; more are refused with `server_overloaded`. */
  readonly maxWaiting: number;
  /** Bytes that key/value caches may take. */
  readonly cacheBytes: number;
  /** Tokens of a prompt in one forward. */
  readonly chunkTokens: number;
  readonly schedule: Schedule;
}

/** What a sequence may come to hold. */
export interface Reservation {
  readonly lanes: 1 | 2;
  /** Prompt and output tokens at most. */
  readonly tokens: number;
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

/**
 * Whether one more sequence may start. Pure. Lanes share one stride, so the longest reservation counts for all.
 * @param laneBytes bytes of one lane with room for that many tokens
 */
export function canStart(
  running: readonly Reservation[],
  candidate: Reservation,
  limits: EngineLimits,
  laneBytes: (tokens: number) => number,
): boolean {
  if (running.length === 0) return true;
  if (running.length >= limits.maxRunning) return false;
  const all = [...running, candidate];
  const lanes = all.reduce((sum, reservation) => sum + reservation.lanes, 0);
  const longest = Math.max(...all.map((reservation) => reservation.tokens));
  return lanes * laneBytes(longest) <= limits.cacheBytes;
}

function refused(code: ErrorData["code"], message: string, param: string): LengthCheck {
  return { kind: "refused", error: new ToastError(code, message, { param }).toData() };
}
