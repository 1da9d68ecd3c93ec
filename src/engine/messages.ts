import type { ErrorData } from "../errors.js";
import type { SamplingDefaults } from "../model/manifest.js";
import type { OutputConstraint } from "../sampling/grammar/constraint.js";
import type { SamplingParams } from "../sampling/sampling-params.js";
import type { Steering } from "../steering/steering.js";
import type { Prompt } from "./prompt.js";
import type { TextAnswers, TextQuestion } from "./text-questions.js";

export interface GenerationRequest {
  readonly prompt: Prompt;
  readonly steering: Steering;
  readonly sampling: SamplingParams;
  /** Answers to the one prompt, which is computed once; each draws with noise of its own. */
  readonly choices: number;
  /** Tokens to generate at most; null: as many as the context has room for; 0: the prompt is computed, and told of if asked. */
  readonly maxTokens: number | null;
  readonly stopStrings: readonly string[];
  /** Whether generation goes on after an end-of-sequence token, to `maxTokens` or a stop string. */
  readonly ignoreEos: boolean;
  /** Tokens before which neither an end of sequence nor a stop token is drawn, and within which no stop string ends the text. */
  readonly minTokens: number;
  /** Tokens that end the text as an end of sequence does; they are no part of it. */
  readonly stopTokenIds: readonly number[];
  /** The language that the text must be of; null: any text. */
  readonly constraint: OutputConstraint | null;
  readonly report: ReportRequest;
}

/** What a client wants to know of each token beside its text. */
export interface ReportRequest {
  /** Log probabilities of generated tokens, with so many of the likeliest others (0…20); null: none. */
  readonly logprobs: number | null;
  /** The same of the prompt's tokens. */
  readonly promptLogprobs: number | null;
  /** What the steering looked at and did, of prompt and generated tokens. Nothing in a plain request, which has no steering. */
  readonly explain: boolean;
}

/** The fields of a request that wants text and nothing else. */
export const ordinaryText = {
  minTokens: 0,
  stopTokenIds: [],
  constraint: null,
  report: { logprobs: null, promptLogprobs: null, explain: false },
} as const satisfies Partial<GenerationRequest>;

/** A token and how likely it was. */
export interface TokenLogprob {
  readonly id: number;
  /** What the token adds to the text, UTF-8; a part of a character at times, empty for a special token. */
  readonly bytes: Uint8Array;
  /** How a special token is written (`</s>`); absent for any other. */
  readonly special?: string;
  /**
   * Natural logarithm of its probability under the model's own logits, those of the steered pass in a steered request: before bias,
   * masks, penalties and temperature (vLLM's `raw_logprobs`). So a token that could not be drawn may have one like any other.
   */
  readonly logprob: number;
}

/** How the features of one place in the text were weighed and fed back. */
export interface TokenSteering {
  /** clamp(cos(hidden state, task embedding), 0, 1); strength has no part in it. */
  readonly relevance: number;
  /** For each layer, the size (root mean square) of what was added to the values, with strength and layer range applied. */
  readonly layerGains: readonly number[];
}

/**
 * What there is to tell of one token. The bytes of all reports of a text, in order, are the text: a token that a stop string cuts off
 * is not reported, one that it cuts in two has the bytes in front of the cut (and the probability of the whole token); neither is the
 * token that ends the text.
 */
export interface TokenReport {
  readonly id: number;
  /** What the token adds to the text, UTF-8; a part of a character at times, empty for a special token. */
  readonly bytes: Uint8Array;
  /** How a special token is written (`</s>`); absent for any other. */
  readonly special?: string;
  /** Null where none were asked for, and for the first token of a prompt, which nothing predicts. */
  readonly logprob: number | null;
  /** The likeliest tokens at this place, the likeliest first. */
  readonly top: readonly TokenLogprob[];
  /**
   * Of a prompt token: what steering did when the steered pass read it. Of a generated token: what it did at the place that predicted
   * it, the token before; so the first generated token has the steering of the prompt's last one. Null where it was not asked for, and
   * in a plain request.
   */
  readonly steering: TokenSteering | null;
  /** Of a generated token: whether the bottom-up pass had guessed it; none: it had not been asked. */
  readonly draft: "accepted" | "refused" | "none";
}

/** `cancelled`: the client went away or asked to stop; its text is not wanted any more. */
export type FinishReason = "stop" | "length" | "cancelled";

/** Of one choice. */
export interface Usage {
  readonly promptTokens: number;
  /** Tokens of the prompt that no lane of this request had to compute: the prefix cache had them. */
  readonly cachedTokens: number;
  /** Tokens really sampled, the end-of-sequence token included. */
  readonly completionTokens: number;
}

/** One served adapter, as the engine reports it. */
export interface AdapterInfo {
  readonly name: string;
  readonly stage: string;
  readonly licence: string | null;
  /** Short content hash: names what steered an answer (`system_fingerprint`). */
  readonly fingerprint: string;
}

/** One loaded model folder. */
export interface ModelInfo {
  /** The base's model id. */
  readonly id: string;
  readonly layers: number;
  readonly contextLength: number;
  readonly vocabSize: number;
  readonly quantization: string;
  /** What applies where a request does not say. */
  readonly sampling: SamplingDefaults;
  readonly licence: string | null;
  readonly fingerprint: string;
  readonly adapters: readonly AdapterInfo[];
}

/** HTTP thread → engine worker. */
export type EngineCommand =
  | {
      readonly kind: "generate";
      readonly requestId: string;
      readonly request: GenerationRequest;
      /** Of the adapter that the client is told of: one that has replaced it meanwhile must not answer in its place. */
      readonly adapterFingerprint: string | null;
    }
  | { readonly kind: "cancel"; readonly requestId: string }
  | { readonly kind: "inspect"; readonly inspectId: number }
  | { readonly kind: "loadAdapter"; readonly callId: number; readonly adapter: AdapterToLoad }
  | { readonly kind: "unloadAdapter"; readonly callId: number; readonly name: string }
  | { readonly kind: "ask"; readonly askId: number; readonly question: TextQuestion }
  | { readonly kind: "shutdown" };

/** A converted adapter folder that is to be served while the engine runs. */
export interface AdapterToLoad {
  /** Served as `<base>:<name>`, whatever the folder or its manifest is called. */
  readonly name: string;
  readonly folder: string;
  /** What becomes of an adapter that has the name: `add` is refused then, `replace` lets it end with the requests that use it. */
  readonly mode: "add" | "replace";
}

/** What the engine holds right now; waiting, running, lanes and cache are zero when idle. */
export interface EngineStatus {
  readonly waiting: number;
  readonly running: number;
  readonly lanesInUse: number;
  /** Bytes of key/value blocks that running sequences hold. */
  readonly cacheBytes: number;
  /** Bytes that the prefix cache holds for later requests. */
  readonly prefixBytes: number;
  /** Bytes that both may take together. */
  readonly cacheLimitBytes: number;
  /** Forwards since loading; their ratio to tokens is what steering costs. */
  readonly forwards: number;
  /** Of these, those that computed a longer stretch of a prompt; the others decode. */
  readonly prefillForwards: number;
  /** Rows computed in those forwards, by lane. */
  readonly rows: { readonly bottomUp: number; readonly steered: number };
  /** Tokens guessed by the bottom-up pass, and those of them that the steered pass then chose. */
  readonly drafts: { readonly proposed: number; readonly accepted: number };
  /** Prompt tokens looked up in the prefix cache, and those of them that it had for every lane of their request. */
  readonly prefixTokens: { readonly queried: number; readonly hit: number };
  /** How often a running sequence gave its memory back and waited again. */
  readonly preemptions: number;
  /** Milliseconds since loading: in the decoder's and adapters' graphs, and in whole steps; the difference is the engine's own. */
  readonly time: { readonly graphMs: number; readonly stepMs: number };
  /** Violations found by the integrity check; empty when all is well. */
  readonly violations: readonly string[];
}

/** Engine worker → HTTP thread. */
export type EngineEvent =
  | { readonly kind: "loading"; readonly stage: string; readonly fraction: number }
  | { readonly kind: "ready"; readonly model: ModelInfo }
  /** The engine cannot go on (loading failed, or the native run failed). */
  | { readonly kind: "failed"; readonly error: ErrorData }
  | { readonly kind: "accepted"; readonly requestId: string; readonly promptTokens: number }
  /** Once for each request: its first choice has its lanes. */
  | { readonly kind: "started"; readonly requestId: string; readonly queueMs: number }
  /** Before any token: a bad prompt, a template that failed, a context too small. */
  | { readonly kind: "rejected"; readonly requestId: string; readonly error: ErrorData }
  | {
      readonly kind: "delta";
      readonly requestId: string;
      readonly choice: number;
      readonly text: string;
      readonly tokens: number;
      /** Of the tokens whose last byte `text` has, when the request asked for reports; else empty. Without text: of tokens without any. */
      readonly reports: readonly TokenReport[];
    }
  /** Once, before the first delta, when a report of the prompt was asked for. */
  | { readonly kind: "prompt"; readonly requestId: string; readonly reports: readonly TokenReport[] }
  | {
      readonly kind: "finished";
      readonly requestId: string;
      readonly choice: number;
      readonly reason: FinishReason;
      readonly usage: Usage;
    }
  /** After `accepted`: this request alone cannot go on, none of its choices. */
  | { readonly kind: "errored"; readonly requestId: string; readonly error: ErrorData }
  | { readonly kind: "status"; readonly inspectId: number; readonly status: EngineStatus }
  /** The adapters from now on, changed by the call; always before that call's `adapterCall`. */
  | { readonly kind: "adapters"; readonly callId: number; readonly adapters: readonly AdapterInfo[] }
  /** A `loadAdapter` or `unloadAdapter` is done with; null: as it was asked for. */
  | { readonly kind: "adapterCall"; readonly callId: number; readonly error: ErrorData | null }
  | { readonly kind: "answer"; readonly askId: number; readonly answer: TextAnswers[keyof TextAnswers] }
  /** A question that cannot be answered. */
  | { readonly kind: "unanswered"; readonly askId: number; readonly error: ErrorData };
