import { z } from "zod";
import type { ReportRequest, TokenReport } from "../engine/messages.js";
import { type AnswerEvent, answered, type CollectedAnswer } from "./answer-events.js";
import type { AnswerChunks } from "./answer-frames.js";
import { type AnswerHead, steeringReportSchema } from "./answer-head.js";
import {
  chatLogprobs,
  chatLogprobsSchema,
  explanation,
  explanationSchema,
  promptExplanation,
  promptExplanationSchema,
  promptLogprobs,
  promptLogprobsSchema,
} from "./token-reports.js";
import { usageSchema, wireUsage } from "./usage.js";

const finishReason = z.enum(["stop", "length"]);

/** What a prompt has to tell, once in an answer. */
const promptTold = {
  prompt_explanation: promptExplanationSchema.optional(),
  prompt_logprobs: promptLogprobsSchema.optional(),
};

const choiceTold = {
  logprobs: chatLogprobsSchema.nullable(),
  explanation: explanationSchema.optional(),
};

export const chatCompletionSchema = z
  .object({
    id: z.string(),
    object: z.literal("chat.completion"),
    created: z.int().describe("Unix seconds."),
    model: z.string(),
    choices: z.array(
      z.object({
        index: z.int(),
        message: z.object({
          role: z.literal("assistant"),
          content: z.string().nullable(),
          refusal: z.null(),
          annotations: z.array(z.never()),
        }),
        ...choiceTold,
        finish_reason: finishReason,
      }),
    ),
    usage: usageSchema,
    system_fingerprint: z.string(),
    steering: steeringReportSchema,
    ...promptTold,
  })
  .describe("Answer of POST /v1/chat/completions.");

export const chatCompletionChunkSchema = z
  .object({
    id: z.string(),
    object: z.literal("chat.completion.chunk"),
    created: z.int().describe("Unix seconds."),
    model: z.string(),
    system_fingerprint: z.string(),
    choices: z.array(
      z.object({
        index: z.int(),
        delta: z.object({ role: z.literal("assistant").optional(), content: z.string().optional() }),
        ...choiceTold,
        finish_reason: finishReason.nullable(),
      }),
    ),
    usage: usageSchema
      .nullable()
      .optional()
      .describe("Only with stream_options.include_usage, and null but on the last chunk."),
    steering: steeringReportSchema.optional().describe("On the first chunk of each choice."),
    ...promptTold,
  })
  .describe("One event of a streamed POST /v1/chat/completions.");

type ChatCompletion = z.input<typeof chatCompletionSchema>;
type ChatCompletionChunk = z.input<typeof chatCompletionChunkSchema>;
type Delta = ChatCompletionChunk["choices"][number]["delta"];

/** The body of an unstreamed answer. */
export function chatCompletion(head: AnswerHead, answer: CollectedAnswer, report: ReportRequest): ChatCompletion {
  return {
    id: head.id,
    object: "chat.completion",
    created: head.created,
    model: head.model,
    choices: answer.choices.map(({ text, reports, reason }, index) => ({
      index,
      message: { role: "assistant", content: text, refusal: null, annotations: [] },
      ...toldOfChoice(reports, report),
      finish_reason: reason,
    })),
    usage: wireUsage(answer.usage),
    system_fingerprint: head.systemFingerprint,
    steering: head.steering,
    ...toldOfPrompt(answer.prompts[0] ?? [], report),
  };
}

/**
 * The chunks of one streamed answer. `usage` stands on them only when the client asked for it: then null on all but the last.
 */
export function chatCompletionChunks(
  head: AnswerHead,
  options: { readonly choices: number; readonly includeUsage: boolean; readonly report: ReportRequest },
): AnswerChunks {
  const shared = {
    id: head.id,
    object: "chat.completion.chunk" as const,
    created: head.created,
    model: head.model,
    system_fingerprint: head.systemFingerprint,
  };
  const noUsage = options.includeUsage ? { usage: null } : {};
  /** Told on the next chunk, whichever choice it is of. */
  let ofPrompt: ReturnType<typeof toldOfPrompt> = {};
  const chunk = (
    index: number,
    delta: Delta,
    reason: "stop" | "length" | null,
    told: ReturnType<typeof toldOfChoice> = { logprobs: null },
  ): ChatCompletionChunk => {
    const prompt = ofPrompt;
    ofPrompt = {};
    return { ...shared, choices: [{ index, delta, ...told, finish_reason: reason }], ...noUsage, ...prompt };
  };
  return {
    /** A choice's only chunk with the role, and with what steers the answer. */
    opening: () =>
      Array.from({ length: options.choices }, (_, index) => ({
        ...chunk(index, { role: "assistant", content: "" }, null),
        steering: head.steering,
      })),
    event(event: AnswerEvent) {
      switch (event.kind) {
        case "prompt":
          ofPrompt = toldOfPrompt(event.reports, options.report);
          return [];
        case "delta":
          // Held-back text (half a character, a possible stop string) makes empty deltas; a client has no use for them.
          if (event.text === "" && event.reports.length === 0) return [];
          return [chunk(event.choice, { content: event.text }, null, toldOfChoice(event.reports, options.report))];
        case "finished":
          // Carries no text: clients drop the delta of a chunk that has a reason.
          return [chunk(event.choice, {}, answered(event.reason))];
      }
    },
    usage: (usage): ChatCompletionChunk => ({ ...shared, choices: [], usage: wireUsage(usage) }),
  };
}

function toldOfChoice(reports: readonly TokenReport[], report: ReportRequest) {
  return {
    logprobs: report.logprobs === null ? null : chatLogprobs(reports),
    ...(report.explain ? { explanation: explanation(reports) } : {}),
  };
}

function toldOfPrompt(reports: readonly TokenReport[], report: ReportRequest) {
  return {
    ...(report.explain ? { prompt_explanation: promptExplanation(reports) } : {}),
    ...(report.promptLogprobs === null ? {} : { prompt_logprobs: promptLogprobs(reports) }),
  };
}
