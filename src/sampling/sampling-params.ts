/** How a token is drawn from logits. Every field is always honoured; the values here are already validated. */
export interface SamplingParams {
  /** 0: greedy (the others but the penalties then do not matter). */
  readonly temperature: number;
  /** (0, 1]; 1 is off. */
  readonly topP: number;
  /** Number of candidates kept; null is off. */
  readonly topK: number | null;
  /** [0, 1): a candidate needs this share of the best one's probability; 0 is off. */
  readonly minP: number;
  /** (0, 1]; absent and 1 are off: mass of the typical tokens kept. */
  readonly typicalP?: number;
  /** −2…2, subtracted once from the logit of every token generated so far. */
  readonly presencePenalty: number;
  /** −2…2, subtracted per occurrence in the text generated so far. */
  readonly frequencyPenalty: number;
  /** > 0; 1 is off. Divides positive and multiplies negative logits of tokens in prompt and output. */
  readonly repetitionPenalty: number;
  /** Added to the logits of these tokens, −100…100 each. */
  readonly logitBias: readonly (readonly [tokenId: number, bias: number])[];
  /** The only tokens that may be drawn; absent: all. */
  readonly allowedTokens?: readonly number[];
  /** Unsigned 32-bit. Same seed, same text. */
  readonly seed: number;
}
