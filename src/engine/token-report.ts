import type { TokenSteering } from "../steering/token-steering.js";
import type { VectorProjection } from "../steering/vector-stack.js";

/** A token and how likely it was. */
export interface TokenLogprob {
  readonly id: number;
  /** What the token adds to the text, UTF-8; a part of a character at times, empty for a special token. */
  readonly bytes: Uint8Array;
  /** How a special token is written (`</s>`); absent for any other. */
  readonly special?: string;
  /**
   * Natural logarithm of its probability under the model's own logits, those of the steered pass in a steered request:
   * before bias, masks, penalties and temperature (vLLM's `raw_logprobs`). So a token that could not be drawn may have
   * one like any other.
   */
  readonly logprob: number;
}

/**
 * What is reported of one token. The bytes of all reports of a text, in order, are the text: a token that a stop string
 * cuts off is not reported, one that it cuts in two has the bytes in front of the cut (and the probability of the whole
 * token); neither is the token that ends the text.
 */
export interface TokenReport {
  readonly id: number;
  /** What the token adds to the text, UTF-8; a part of a character at times, empty for a special token. */
  readonly bytes: Uint8Array;
  /** How a special token is written (`</s>`); absent for any other. */
  readonly special?: string;
  /** Null where none were asked for, and for the first token of a prompt, which nothing predicts. */
  readonly logprob: number | null;
  /** Of a prompt token with a probability: 1 for the likeliest, how many are at least as likely. */
  readonly rank?: number;
  /** The likeliest tokens at this place, the likeliest first. */
  readonly top: readonly TokenLogprob[];
  /**
   * Of a prompt token: what steering did when the steered pass read it. Of a generated token: what it did at the place
   * that predicted it, the token before; so the first generated token has the steering of the prompt's last one. Null
   * where it was not asked for, and in a plain request.
   */
  readonly steering: TokenSteering | null;
  /**
   * Likewise: how far each control vector of the stack lies along the residual stream. Empty where it was not asked
   * for, and without vectors.
   */
  readonly vectors: readonly VectorProjection[];
  /** Of a generated token: whether the bottom-up pass had guessed it; none: it had not been asked. */
  readonly draft: "accepted" | "refused" | "none";
}
