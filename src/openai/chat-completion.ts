import { z } from "zod";
import type { ReportRequest } from "../engine/generation-request.js";
import type { TokenReport } from "../engine/token-report.js";
import type { CallFormat } from "../text/tool-call-format.js";
import { responseSchemas } from "./named-schemas.js";
import { type ResponseHead, steeringReportSchema } from "./response-head.js";
import { type CollectedOutput, finishReasonOf, type ResponseFinishReason, type StreamEvent } from "./stream-events.js";
import type { StreamChunks } from "./stream-frames.js";
import {
  chatLogprobs,
  chatLogprobsSchema,
  explanation,
  explanationSchema,
  promptExplanation,
  promptExplanationSchema,
  promptLogprobs,
  promptLogprobsSchema,
  promptTokenIdsSchema,
  tokenIdsSchema,
} from "./token-reports.js";
import { type DeltaPart, type Reading, ToolCallParser } from "./tool-calls.js";
import { usageSchema, wireUsage } from "./usage.js";

const finishReason = z.enum(["stop", "length", "tool_calls"]);

const calledFunction = z.object({ name: z.string(), arguments: z.string().describe("JSON text.") });

const toolCallSchema = z.object({ id: z.string(), type: z.literal("function"), function: calledFunction });

/** The first piece of a call has id, type and name; the arguments come in pieces that are to be joined. */
const toolCallPieceSchema = z.object({
  index: z.int(),
  id: z.string().optional(),
  type: z.literal("function").optional(),
  function: z.object({ name: z.string().optional(), arguments: z.string() }),
});

/** What a prompt has to tell, once in an answer. */
const promptReportFields = {
  prompt_explanation: promptExplanationSchema.optional(),
  prompt_logprobs: promptLogprobsSchema.optional(),
  prompt_token_ids: promptTokenIdsSchema.optional(),
};

const choiceReportFields = {
  logprobs: chatLogprobsSchema.nullable(),
  explanation: explanationSchema.optional(),
  token_ids: tokenIdsSchema.optional(),
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
          tool_calls: z.array(toolCallSchema).optional(),
        }),
        ...choiceReportFields,
        finish_reason: finishReason,
      }),
    ),
    usage: usageSchema,
    system_fingerprint: z.string(),
    steering: steeringReportSchema,
    ...promptReportFields,
  })
  .describe("Answer of POST /v1/chat/completions.")
  .register(responseSchemas, { id: "ChatCompletion" });

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
        delta: z.object({
          role: z.literal("assistant").optional(),
          content: z.string().optional(),
          tool_calls: z.array(toolCallPieceSchema).optional(),
        }),
        ...choiceReportFields,
        finish_reason: finishReason.nullable(),
      }),
    ),
    usage: usageSchema
      .nullable()
      .optional()
      .describe("Only with stream_options.include_usage, and null but on the last chunk."),
    steering: steeringReportSchema.optional().describe("On the first chunk of each choice."),
    ...promptReportFields,
  })
  .describe("One event of a streamed POST /v1/chat/completions.")
  .register(responseSchemas, { id: "ChatCompletionChunk" });

type ChatCompletion = z.input<typeof chatCompletionSchema>;
type ChatCompletionChunk = z.input<typeof chatCompletionChunkSchema>;
type Delta = ChatCompletionChunk["choices"][number]["delta"];

/** The body of an unstreamed answer. */
export function chatCompletion(
  head: ResponseHead,
  output: CollectedOutput,
  report: ReportRequest,
  reading: Reading = "text",
  format?: CallFormat | undefined,
): ChatCompletion {
  return {
    id: head.id,
    object: "chat.completion",
    created: head.created,
    model: head.model,
    choices: output.choices.map(({ text, reports, tokenIds, reason }, index) => ({
      index,
      ...(reading === "text" ? textMessage(text, reason) : callMessage(text, reason, reading, format)),
      ...choiceReports(reports, tokenIds, report),
    })),
    usage: wireUsage(output.usage),
    system_fingerprint: head.systemFingerprint,
    steering: head.steering,
    ...promptReportsOf(output.prompts[0] ?? [], output.promptIds[0] ?? [], report),
  };
}

function textMessage(content: string, reason: ResponseFinishReason) {
  const message = { role: "assistant" as const, content, refusal: null, annotations: [] };
  return { message, finish_reason: reason };
}

/** Put together by the parser of streams: cut into pieces or not, an answer reads the same. */
function callMessage(text: string, reason: ResponseFinishReason, reading: Reading, format?: CallFormat | undefined) {
  const parser = new ToolCallParser(reading, undefined, format);
  const calls: z.input<typeof toolCallSchema>[] = [];
  let content = "";
  for (const part of [...parser.push(text), ...parser.flush()]) {
    if (part.kind === "content") content += part.text;
    else if (part.kind === "callStart") {
      calls.push({ id: part.id, type: "function", function: { name: part.name, arguments: "" } });
    } else {
      const called = calls[part.index]?.function;
      if (called !== undefined) called.arguments += part.text;
    }
  }
  if (calls.length === 0) return textMessage(content, reason);
  const message = {
    role: "assistant" as const,
    content: content === "" ? null : content,
    refusal: null,
    annotations: [],
  };
  return { message: { ...message, tool_calls: calls }, finish_reason: withCalls(reason, parser) };
}

/** A text that calls and is complete waits for the calls' results. */
function withCalls(reason: ResponseFinishReason, { calls }: ToolCallParser) {
  return reason === "stop" && calls > 0 ? ("tool_calls" as const) : reason;
}

function deltaOf(part: DeltaPart): Delta {
  switch (part.kind) {
    case "content":
      return { content: part.text };
    case "callStart": {
      const { index, id, name } = part;
      return { tool_calls: [{ index, id, type: "function", function: { name, arguments: "" } }] };
    }
    case "arguments":
      return { tool_calls: [{ index: part.index, function: { arguments: part.text } }] };
  }
}

/**
 * The chunks of one streamed answer. `usage` stands on them only when the client asked for it: then null on all but the
 * last.
 */
export function chatCompletionChunks(
  head: ResponseHead,
  options: {
    readonly choices: number;
    readonly includeUsage: boolean;
    readonly report: ReportRequest;
    readonly reading?: Reading;
    readonly format?: CallFormat | undefined;
  },
): StreamChunks {
  const shared = {
    id: head.id,
    object: "chat.completion.chunk" as const,
    created: head.created,
    model: head.model,
    system_fingerprint: head.systemFingerprint,
  };
  const noUsage = options.includeUsage ? { usage: null } : {};
  /** Told on the next chunk, whichever choice it is of. */
  let ofPrompt: ReturnType<typeof promptReportsOf> = {};
  const chunk = (
    index: number,
    delta: Delta,
    reason: z.output<typeof finishReason> | null,
    told: ReturnType<typeof choiceReports> = { logprobs: null },
  ): ChatCompletionChunk => {
    const prompt = ofPrompt;
    ofPrompt = {};
    return { ...shared, choices: [{ index, delta, ...told, finish_reason: reason }], ...noUsage, ...prompt };
  };
  /** For each choice, what tells its calls from its text. */
  const readers =
    (options.reading ?? "text") === "text"
      ? null
      : Array.from({ length: options.choices }, (_, index) => callReader(index));
  function callReader(index: number) {
    const parser = new ToolCallParser(options.reading, undefined, options.format);
    // Reports of markup have no text to go with; they come with the next chunk.
    let reports: TokenReport[] = [];
    let ids: number[] = [];
    const chunksOf = (parts: readonly DeltaPart[]): ChatCompletionChunk[] =>
      parts.map((part) => {
        return chunk(index, deltaOf(part), null, told());
      });
    const told = () => {
      const all = choiceReports(reports, ids, options.report);
      reports = [];
      ids = [];
      return all;
    };
    return {
      delta(event: StreamEvent & { readonly kind: "delta" }) {
        reports.push(...event.reports);
        ids.push(...(event.tokenIds ?? []));
        return chunksOf(parser.push(event.text));
      },
      finished(reason: ResponseFinishReason) {
        const last = chunksOf(parser.flush());
        if (reports.length > 0 || ids.length > 0) last.push(chunk(index, {}, null, told()));
        return [...last, chunk(index, {}, withCalls(reason, parser))];
      },
    };
  }
  return {
    /** A choice's only chunk with the role, and with what steers the answer. */
    opening: () =>
      Array.from({ length: options.choices }, (_, index) => ({
        ...chunk(index, { role: "assistant", content: "" }, null),
        steering: head.steering,
      })),
    event(event: StreamEvent) {
      switch (event.kind) {
        case "prompt":
          ofPrompt = promptReportsOf(event.reports, event.tokenIds ?? [], options.report);
          return [];
        case "delta": {
          const { choice, text, reports, tokenIds = [] } = event;
          // Held-back text (half a character, a possible stop string) makes empty deltas; a client has no use for them.
          if (text === "" && reports.length === 0 && tokenIds.length === 0) return [];
          if (readers !== null) return readers[choice]?.delta(event) ?? [];
          return [chunk(choice, { content: text }, null, choiceReports(reports, tokenIds, options.report))];
        }
        case "finished":
          if (readers !== null) return readers[event.choice]?.finished(finishReasonOf(event.reason)) ?? [];
          // Carries no text: clients drop the delta of a chunk that has a reason.
          return [chunk(event.choice, {}, finishReasonOf(event.reason))];
      }
    },
    usage: (usage): ChatCompletionChunk => ({ ...shared, choices: [], usage: wireUsage(usage) }),
  };
}

function choiceReports(reports: readonly TokenReport[], ids: readonly number[], report: ReportRequest) {
  return {
    logprobs: report.logprobs === null ? null : chatLogprobs(reports),
    ...(report.explain ? { explanation: explanation(reports) } : {}),
    ...(report.tokenIds === true ? { token_ids: [...ids] } : {}),
  };
}

function promptReportsOf(reports: readonly TokenReport[], ids: readonly number[], report: ReportRequest) {
  return {
    ...(report.explain ? { prompt_explanation: promptExplanation(reports) } : {}),
    ...(report.promptLogprobs === null ? {} : { prompt_logprobs: promptLogprobs(reports) }),
    ...(report.tokenIds === true ? { prompt_token_ids: [...ids] } : {}),
  };
}
