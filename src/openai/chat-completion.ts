import { createHash, randomBytes } from "node:crypto";
import type { FinishReason, Usage } from "../engine/messages.js";
import type { Steering } from "../steering/steering.js";
import type { ServedModel } from "./served-model.js";

/** What steered an answer, as the client is told; null: nothing, the base model spoke. */
export interface SteeringReport {
  readonly adapter: string;
  readonly strength: number;
  readonly layers: readonly [from: number, to: number];
}

/** What all chunks of an answer share. */
export interface AnswerHead {
  readonly id: string;
  /** Unix seconds. */
  readonly created: number;
  /** The served id that the client asked for, never a path. */
  readonly model: string;
  readonly systemFingerprint: string;
  readonly steering: SteeringReport | null;
}

/** @returns the head of a new answer; its id is unique. */
export function answerHead(model: ServedModel, steering: Steering, now: Date): AnswerHead {
  return {
    id: `chatcmpl-${randomBytes(16).toString("hex")}`,
    created: Math.floor(now.getTime() / 1000),
    model: model.id,
    systemFingerprint: systemFingerprint(model, steering),
    steering: reportOf(steering),
  };
}

function reportOf(steering: Steering): SteeringReport | null {
  switch (steering.kind) {
    case "plain":
      return null;
    case "steered":
      return { adapter: steering.adapter, strength: steering.strength, layers: steering.layers };
  }
}

/** Everything beside the request that decides the text: weights, adapter, strength, layers. */
function systemFingerprint({ base }: ServedModel, steering: Steering): string {
  const hash = createHash("sha256").update(base.fingerprint);
  if (steering.kind === "steered") {
    const adapter = base.adapters.find(({ name }) => name === steering.adapter);
    hash.update(`:${adapter?.fingerprint ?? steering.adapter}:${steering.strength}:${steering.layers.join("-")}`);
  }
  return `fp_${hash.digest("hex").slice(0, 12)}`;
}

/** The reasons that an answer can end with on the wire: a cancelled one has no reader. */
export type AnsweredReason = Exclude<FinishReason, "cancelled">;

/** One choice of an unstreamed answer. */
export interface Choice {
  readonly text: string;
  readonly reason: AnsweredReason;
}

/** @param usages of every choice: they share the prompt. */
function wireUsage(usages: readonly Usage[]) {
  const promptTokens = usages[0]?.promptTokens ?? 0;
  const completionTokens = usages.reduce((sum, usage) => sum + usage.completionTokens, 0);
  return {
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    total_tokens: promptTokens + completionTokens,
    prompt_tokens_details: { cached_tokens: usages[0]?.cachedTokens ?? 0 },
  };
}

/** The body of an unstreamed answer. */
export function chatCompletion(head: AnswerHead, choices: readonly Choice[], usages: readonly Usage[]) {
  return {
    id: head.id,
    object: "chat.completion" as const,
    created: head.created,
    model: head.model,
    choices: choices.map(({ text, reason }, index) => ({
      index,
      message: { role: "assistant" as const, content: text, refusal: null, annotations: [] },
      logprobs: null,
      finish_reason: reason,
    })),
    usage: wireUsage(usages),
    system_fingerprint: head.systemFingerprint,
    steering: head.steering,
  };
}

interface Delta {
  readonly role?: "assistant";
  readonly content?: string;
}

/**
 * Builds the chunks of one streamed answer. `usage` stands on them only when the client asked for it: then null on all
 * but the last.
 */
export function chunkBuilder(head: AnswerHead, includeUsage: boolean) {
  const shared = {
    id: head.id,
    object: "chat.completion.chunk" as const,
    created: head.created,
    model: head.model,
    system_fingerprint: head.systemFingerprint,
  };
  const noUsage = includeUsage ? { usage: null } : {};
  const chunk = (index: number, delta: Delta, reason: AnsweredReason | null) => ({
    ...shared,
    choices: [{ index, delta, logprobs: null, finish_reason: reason }],
    ...noUsage,
  });
  return {
    /** A choice's only chunk with the role, and with what steers the answer. */
    opening: (index: number) => ({
      ...chunk(index, { role: "assistant", content: "" }, null),
      steering: head.steering,
    }),
    text: (index: number, content: string) => chunk(index, { content }, null),
    /** Carries no text: clients drop the delta of a chunk that has a reason. */
    finish: (index: number, reason: AnsweredReason) => chunk(index, {}, reason),
    usage: (usages: readonly Usage[]) => ({ ...shared, choices: [], usage: wireUsage(usages) }),
  };
}
