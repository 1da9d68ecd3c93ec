import type { OutputConstraint } from "../grammar/constraint.js";
import type { SamplingParams } from "../sampling/sampling-params.js";
import type { Steering } from "../steering/steering.js";
import type { CallMarkup } from "../text/call-spans.js";
import type { Prompt } from "./prompt.js";

export interface GenerationRequest {
  /** Who asks, as far as turns go round between callers (see FairTurns); absent: one caller of all that say nothing. */
  readonly caller?: string;
  readonly prompt: Prompt;
  readonly steering: Steering;
  readonly sampling: SamplingParams;
  /** Answers to the one prompt, which is computed once; each draws with noise of its own. */
  readonly choices: number;
  /**
   * Tokens to generate at most; null: as many as the context has room for; 0: the prompt is computed, and reported if
   * asked.
   */
  readonly maxTokens: number | null;
  readonly stopStrings: readonly string[];
  /** Whether the stop string or stop token that ends the text is part of it. */
  readonly keepsStop?: boolean;
  /** The calls that the text may have, in which no stop string is looked for; null or absent: none. */
  readonly calls?: CallMarkup | null;
  /** Whether special tokens are left out of the text; default true. */
  readonly skipsSpecialTokens?: boolean;
  /** Tokens of the prompt's end that are kept; `room`: as many as the context has room for; absent: all of them. */
  readonly truncatePrompt?: number | "room";
  /** Whether generation goes on after an end-of-sequence token, to `maxTokens` or a stop string. */
  readonly ignoreEos: boolean;
  /**
   * Tokens before which neither an end of sequence nor a stop token is drawn, and within which no stop string ends the
   * text.
   */
  readonly minTokens: number;
  /** Tokens that end the text as an end of sequence does; they are no part of it. */
  readonly stopTokenIds: readonly number[];
  /** The language that the text must be of; null: any text. */
  readonly constraint: OutputConstraint | null;
  readonly report: ReportRequest;
  /**
   * Of a request for no tokens: it ends with one vector of its prompt, made of the last layer's outputs behind the
   * final norm, in the pass that decides. Absent: with none.
   */
  readonly pooling?: Pooling;
}

/** `mean`: over all tokens of the prompt. `last`: the last one's alone, which has seen them all. */
export const poolings = ["mean", "last"] as const;
export type Pooling = (typeof poolings)[number];

/** Likeliest tokens that are reported of one place. */
export const maxLogprobs = 20;

/** What a client wants to know of each token beside its text. */
export interface ReportRequest {
  /** Log probabilities of generated tokens, with so many of the likeliest others (0 … `maxLogprobs`); null: none. */
  readonly logprobs: number | null;
  /** The same of the prompt's tokens. */
  readonly promptLogprobs: number | null;
  /** The first token of the prompt that `promptLogprobs` is about: what lies before may come from the prefix cache. */
  readonly promptLogprobsFrom?: number;
  /**
   * What the steering looked at and did, of prompt and generated tokens. Nothing in a plain request, which has no
   * steering.
   */
  readonly explain: boolean;
  /** The ids of the prompt's tokens and of all that are sampled, the one that ends the text included. */
  readonly tokenIds?: boolean;
}

/** The fields of a request that wants text and nothing else. */
export const ordinaryText = {
  minTokens: 0,
  stopTokenIds: [],
  constraint: null,
  report: { logprobs: null, promptLogprobs: null, explain: false },
} as const satisfies Partial<GenerationRequest>;

/** What a request has that wants nothing drawn: its prompt is computed, and reported or looked into. */
export const promptAlone = {
  ...ordinaryText,
  sampling: {
    temperature: 0,
    topP: 1,
    topK: null,
    minP: 0,
    presencePenalty: 0,
    frequencyPenalty: 0,
    repetitionPenalty: 1,
    logitBias: [],
    seed: 0,
  },
  choices: 1,
  maxTokens: 0,
  stopStrings: [],
  ignoreEos: false,
} as const satisfies Omit<GenerationRequest, "prompt" | "steering">;
