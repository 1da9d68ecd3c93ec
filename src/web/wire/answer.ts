import { brokenOff, codeOf, envelopeSentence, type Problem } from "./problem.js";
import { field, fields, list, number, numbers, text } from "./read.js";

/** A token with what the steering saw in it and did to it. */
export interface ExplainedToken {
  readonly id: number;
  /** What the token adds to the text; "�" where it is a part of a character. */
  readonly text: string;
  readonly bytes: readonly number[];
  /** 0…1, null where no steered pass read the token. */
  readonly relevance: number | null;
  /** Size of what was added to the values, for each layer. */
  readonly gains: readonly number[];
  /** How far the stream lies along each control vector of the request, before the vectors add and after. */
  readonly vectors: readonly VectorProjection[];
  readonly draft: "accepted" | "refused" | "none";
}

export interface VectorProjection {
  readonly name: string;
  /** For each layer that it steers, the lowest first. */
  readonly before: readonly number[];
  readonly after: readonly number[];
}

/** A token that was written, or might have been. */
export interface LikelyToken {
  readonly text: string;
  readonly bytes: readonly number[];
  /** Natural, of the model's own distribution: before temperature, penalties and what else draws. */
  readonly logprob: number;
}

/** A written token with what was likeliest in its place. */
export interface RankedToken extends LikelyToken {
  /** Likeliest first. */
  readonly top: readonly LikelyToken[];
}

/** One streamed answer, as far as it has come. Times are milliseconds of one clock. */
export interface Answer {
  readonly phase: "waiting" | "streaming" | "done" | "stopped" | "failed";
  readonly text: string;
  readonly finishReason: string | null;
  readonly promptTokens: number | null;
  readonly completionTokens: number | null;
  readonly cachedTokens: number | null;
  readonly tokens: readonly ExplainedToken[];
  readonly promptExplanation: readonly ExplainedToken[];
  /** For each token, where that was asked for. */
  readonly ranked: readonly RankedToken[];
  readonly problem: Problem | null;
  readonly startedAt: number;
  readonly firstTextAt: number | null;
  readonly endedAt: number | null;
}

export type StreamEvent =
  /** One `data:` line of the stream. */
  | { readonly kind: "chunk"; readonly chunk: unknown }
  /** `[DONE]`. */
  | { readonly kind: "done" }
  | { readonly kind: "stopped" }
  | { readonly kind: "failed"; readonly problem: Problem };

export function emptyAnswer(startedAt: number): Answer {
  return {
    phase: "waiting",
    text: "",
    finishReason: null,
    promptTokens: null,
    completionTokens: null,
    cachedTokens: null,
    tokens: [],
    promptExplanation: [],
    ranked: [],
    problem: null,
    startedAt,
    firstTextAt: null,
    endedAt: null,
  };
}

export function isRunning({ phase }: Pick<Answer, "phase">): boolean {
  return phase === "waiting" || phase === "streaming";
}

/**
 * The answer after one more event. An ended answer stays as it is.
 * @param at when the event came.
 */
export function reduceAnswer(answer: Answer, event: StreamEvent, at: number): Answer {
  if (!isRunning(answer)) return answer;
  switch (event.kind) {
    case "chunk":
      return withChunk(answer, event.chunk, at);
    case "done":
      // `[DONE]` without a finish reason is a server that was cut off and a proxy that was polite about it.
      return answer.finishReason === null
        ? { ...answer, phase: "failed", problem: brokenOff, endedAt: at }
        : { ...answer, phase: "done", endedAt: at };
    case "stopped":
      return { ...answer, phase: "stopped", endedAt: at };
    case "failed":
      return { ...answer, phase: "failed", problem: event.problem, endedAt: at };
  }
}

function withChunk(answer: Answer, chunk: unknown, at: number): Answer {
  const sentence = envelopeSentence(chunk);
  if (sentence !== null) {
    return { ...answer, phase: "failed", problem: { kind: "refused", sentence, ...codeOf(chunk) }, endedAt: at };
  }
  const body = fields(chunk);
  const usage = fields(field(body, "usage"));
  const choice = fields(list(field(body, "choices"))[0]);
  const content = text(field(choice, "delta", "content")) ?? "";
  const tokens = explainedTokens(field(choice, "explanation", "tokens"));
  const promptExplanation = explainedTokens(field(body, "prompt_explanation", "tokens"));
  const ranked = rankedTokens(field(choice, "logprobs", "content"));
  return {
    ...answer,
    phase: content === "" ? answer.phase : "streaming",
    text: answer.text + content,
    firstTextAt: answer.firstTextAt ?? (content === "" ? null : at),
    finishReason: text(field(choice, "finish_reason")) ?? answer.finishReason,
    promptTokens: number(field(usage, "prompt_tokens")) ?? answer.promptTokens,
    completionTokens: number(field(usage, "completion_tokens")) ?? answer.completionTokens,
    cachedTokens: number(field(usage, "prompt_tokens_details", "cached_tokens")) ?? answer.cachedTokens,
    tokens: tokens.length === 0 ? answer.tokens : [...answer.tokens, ...tokens],
    promptExplanation: promptExplanation.length === 0 ? answer.promptExplanation : promptExplanation,
    ranked: ranked.length === 0 ? answer.ranked : [...answer.ranked, ...ranked],
  };
}

function explainedTokens(value: unknown): readonly ExplainedToken[] {
  return list(value).map((item) => {
    const token = fields(item);
    const { draft } = token;
    return {
      id: number(field(token, "id")) ?? -1,
      text: text(field(token, "text")) ?? "",
      bytes: numbers(field(token, "bytes")),
      relevance: number(field(token, "relevance")),
      gains: numbers(field(token, "gains")),
      vectors: list(field(token, "vectors")).map((vector) => ({
        name: text(field(vector, "name")) ?? "",
        before: numbers(field(vector, "before")),
        after: numbers(field(vector, "after")),
      })),
      draft: draft === "accepted" || draft === "refused" ? draft : "none",
    };
  });
}

function rankedTokens(value: unknown): readonly RankedToken[] {
  return list(value).map((item) => ({
    ...likelyToken(item),
    top: list(field(item, "top_logprobs")).map(likelyToken),
  }));
}

function likelyToken(value: unknown): LikelyToken {
  return {
    text: text(field(value, "token")) ?? "",
    bytes: numbers(field(value, "bytes")),
    logprob: number(field(value, "logprob")) ?? Number.NEGATIVE_INFINITY,
  };
}

export interface Pace {
  /** Milliseconds until the first text; null before it. */
  readonly firstTextMs: number | null;
  /** After the first text; null until there is enough to tell. */
  readonly tokensPerSecond: number | null;
}

/** How fast an ended answer came. Tokens are the server's own count. */
export function paceOf({ startedAt, firstTextAt, endedAt, completionTokens }: Answer): Pace {
  const firstTextMs = firstTextAt === null ? null : firstTextAt - startedAt;
  const decodeMs = firstTextAt === null || endedAt === null ? 0 : endedAt - firstTextAt;
  // The first token is the prefill's; a rate needs one more, and a clock that moved.
  const tokensPerSecond =
    completionTokens === null || completionTokens < 2 || decodeMs <= 0
      ? null
      : ((completionTokens - 1) * 1000) / decodeMs;
  return { firstTextMs, tokensPerSecond };
}
