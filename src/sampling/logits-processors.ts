import { DrawRules, type LogitsProcessor } from "./draw-rules.js";
import type { SamplingParams } from "./sampling-params.js";
import { TokenHistory } from "./token-history.js";

/** What the rules of one sequence are made of. */
export interface DrawSettings {
  readonly sampling: SamplingParams;
  readonly promptIds: readonly number[];
  /** Tokens to be generated before one of `endIds` is drawn. */
  readonly minTokens: number;
  readonly endIds: Iterable<number>;
  /** What the grammar of the text allows; null: anything. */
  readonly constraint?: LogitsProcessor | null;
}

/**
 * The grammar's mask, the allowed tokens, minimum length, then logit bias, then penalties: vLLM's order.
 * @see vLLM, v1/sample/sampler.py (Sampler) and v1/sample/logits_processor/builtin.py
 */
export function drawRules({ sampling, promptIds, minTokens, endIds, constraint = null }: DrawSettings): DrawRules {
  return new DrawRules([
    ...(constraint === null ? [] : [constraint]),
    ...(sampling.allowedTokens == null ? [] : [new AllowedTokens(sampling.allowedTokens)]),
    new MinTokens(minTokens, endIds),
    new LogitBias(sampling.logitBias),
    new Penalties(sampling, promptIds),
  ]);
}

/** Masks every token but those. */
class AllowedTokens implements LogitsProcessor {
  readonly active = true;
  readonly #allowed: ReadonlySet<number>;

  constructor(allowed: readonly number[]) {
    this.#allowed = new Set(allowed);
  }

  apply(logits: Float32Array): void {
    const kept = [...this.#allowed].map((id) => [id, logits[id] ?? Number.NEGATIVE_INFINITY] as const);
    logits.fill(Number.NEGATIVE_INFINITY);
    for (const [id, logit] of kept) if (id < logits.length) logits[id] = logit;
  }

  append(): void {}
}

/** Masks the tokens that would end the text too early. */
class MinTokens implements LogitsProcessor {
  readonly #endIds: readonly number[];
  #missing: number;

  constructor(minTokens: number, endIds: Iterable<number>) {
    this.#missing = minTokens;
    this.#endIds = [...endIds];
  }

  get active(): boolean {
    return this.#missing > 0;
  }

  apply(logits: Float32Array): void {
    for (const id of this.#endIds) if (id < logits.length) logits[id] = Number.NEGATIVE_INFINITY;
  }

  append(): void {
    this.#missing--;
  }
}

/** Adds what the client wants added; a masked token stays masked. */
class LogitBias implements LogitsProcessor {
  readonly #bias: SamplingParams["logitBias"];

  constructor(bias: SamplingParams["logitBias"]) {
    this.#bias = bias;
  }

  get active(): boolean {
    return this.#bias.length > 0;
  }

  apply(logits: Float32Array): void {
    for (const [id, bias] of this.#bias) {
      const logit = logits[id];
      if (logit !== undefined) logits[id] = logit + bias;
    }
  }

  append(): void {}
}

class Penalties implements LogitsProcessor {
  readonly active: boolean;
  readonly #penalties: PenaltyParams;
  readonly #history: TokenHistory;

  constructor(penalties: PenaltyParams, promptIds: readonly number[]) {
    this.#penalties = penalties;
    this.active = hasPenalties(penalties);
    // Without penalties nobody asks which tokens there are.
    this.#history = new TokenHistory(this.active ? promptIds : []);
  }

  apply(logits: Float32Array): void {
    applyPenalties(logits, this.#penalties, this.#history);
  }

  append(tokenId: number): void {
    if (this.active) this.#history.append(tokenId);
  }
}

type PenaltyParams = Pick<SamplingParams, "presencePenalty" | "frequencyPenalty" | "repetitionPenalty">;

/** Whether `applyPenalties` would change anything. */
export function hasPenalties(penalties: PenaltyParams): boolean {
  return penalties.presencePenalty !== 0 || penalties.frequencyPenalty !== 0 || penalties.repetitionPenalty !== 1;
}

/**
 * Repetition penalty over prompt and output, then frequency and presence penalty over the output alone: vLLM's scopes
 * and order. Touches the tokens of the history only.
 *
 * @param logits [V] float32; changed in place, so pass a copy of what others read.
 * @see vLLM, v1/sample/sampler.py and model_executor/layers/utils.py (apply_penalties)
 */
export function applyPenalties(logits: Float32Array, penalties: PenaltyParams, history: TokenHistory): void {
  const { presencePenalty, frequencyPenalty, repetitionPenalty } = penalties;
  if (repetitionPenalty !== 1) {
    for (const id of history.promptIds) penalizeRepetition(logits, id, repetitionPenalty);
    for (const id of history.outputCounts.keys()) {
      if (!history.promptIds.has(id)) penalizeRepetition(logits, id, repetitionPenalty);
    }
  }
  if (presencePenalty !== 0 || frequencyPenalty !== 0) {
    for (const [id, count] of history.outputCounts) {
      const logit = logits[id];
      if (logit !== undefined) logits[id] = logit - (frequencyPenalty * count + presencePenalty);
    }
  }
}

const maxFloat32 = 3.4028234663852886e38;

function penalizeRepetition(logits: Float32Array, id: number, penalty: number): void {
  const logit = logits[id];
  if (logit === undefined || logit === Number.NEGATIVE_INFINITY) return;
  const penalized = logit > 0 ? logit / penalty : logit * penalty;
  // An extreme penalty must not overflow into the infinities, which mean "broken" and "masked".
  logits[id] = Math.max(-maxFloat32, Math.min(maxFloat32, penalized));
}
