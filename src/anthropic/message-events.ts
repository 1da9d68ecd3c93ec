import { z } from "zod";
import type { TokenReport } from "../engine/token-report.js";
import { toHttpError } from "../openai/error-envelope.js";
import { responseSchemas } from "../openai/named-schemas.js";
import type { ResponseHead } from "../openai/response-head.js";
import { eventFrame } from "../openai/server-sent-events.js";
import { finishReasonOf, type ResponseFinishReason } from "../openai/stream-events.js";
import type { StreamFrames } from "../openai/stream-frames.js";
import { explanation, explanationSchema, promptExplanation, promptExplanationSchema } from "../openai/token-reports.js";
import { messageError, messageErrorSchema } from "./error-object.js";
import {
  begunBlock,
  begunMessage,
  endOf,
  type MessageOptions,
  messageSchema,
  messageUsage,
  messageUsageSchema,
  stopReason,
  textBlockSchema,
  toolUseBlockSchema,
} from "./message.js";
import { type BlockStep, MessageBlocks } from "./message-blocks.js";

const index = z.int();

export const messageEventSchema = z
  .discriminatedUnion("type", [
    z.object({ type: z.literal("message_start"), message: messageSchema }),
    z.object({
      type: z.literal("content_block_start"),
      index,
      content_block: z.discriminatedUnion("type", [textBlockSchema, toolUseBlockSchema]),
    }),
    z.object({
      type: z.literal("content_block_delta"),
      index,
      delta: z.discriminatedUnion("type", [
        z.object({ type: z.literal("text_delta"), text: z.string() }),
        z.object({ type: z.literal("input_json_delta"), partial_json: z.string() }),
      ]),
      explanation: explanationSchema.optional(),
    }),
    z.object({
      type: z.literal("content_block_stop"),
      index,
      explanation: explanationSchema.optional().describe("Of a call's tokens."),
    }),
    z.object({
      type: z.literal("message_delta"),
      delta: z.object({
        stop_reason: stopReason,
        stop_sequence: z.string().nullable(),
        stop_details: z.null(),
        container: z.null(),
      }),
      usage: messageUsageSchema.describe("Of the whole answer."),
      prompt_explanation: promptExplanationSchema.optional(),
    }),
    z.object({ type: z.literal("message_stop") }),
    messageErrorSchema,
  ])
  .describe(
    "One event of a streamed POST /v1/messages, in the order of this list, the events of each block together; an error in place of the rest.",
  )
  .register(responseSchemas, { id: "MessageEvent" });

type MessageEvent = z.input<typeof messageEventSchema>;

/** The events of one streamed message. There is no `[DONE]` in this API: `message_stop` is the last. */
export function messageFrames(
  head: ResponseHead,
  options: MessageOptions & { readonly promptTokens: number; readonly requestId: string },
): StreamFrames {
  const { report, promptTokens, requestId } = options;
  const blocks = new MessageBlocks(options);
  let promptReports: readonly TokenReport[] = [];
  let reason: ResponseFinishReason = "stop";

  const frame = (event: MessageEvent): string => eventFrame(event);
  const told = (reports: readonly TokenReport[]) => (report.explain ? { explanation: explanation(reports) } : {});

  const frameOf = (step: BlockStep): string => {
    const { at } = step;
    switch (step.kind) {
      case "textOpened":
      case "callOpened":
        return frame({ type: "content_block_start", index: at, content_block: begunBlock(step) });
      case "text": {
        const delta = { type: "text_delta" as const, text: step.text };
        return frame({ type: "content_block_delta", index: at, delta, ...told(step.reports) });
      }
      case "arguments": {
        const delta = { type: "input_json_delta" as const, partial_json: step.text };
        return frame({ type: "content_block_delta", index: at, delta });
      }
      case "closed":
        return frame({
          type: "content_block_stop",
          index: at,
          ...(step.reports.length === 0 ? {} : told(step.reports)),
        });
    }
  };

  return {
    opening: () => [frame({ type: "message_start", message: begunMessage(head, promptTokens) })],
    event(event) {
      switch (event.kind) {
        case "prompt":
          promptReports = event.reports;
          return [];
        case "delta":
          return blocks.push(event.text, event.reports).map(frameOf);
        case "finished":
          reason = finishReasonOf(event.reason);
          return blocks.finish(reason).map(frameOf);
      }
    },
    end: (usage) => [
      frame({
        type: "message_delta",
        delta: { ...endOf(reason, blocks, usage, options.maxTokens), container: null },
        usage: messageUsage(usage, usage.promptTokens),
        ...(report.explain ? { prompt_explanation: promptExplanation(promptReports) } : {}),
      }),
      frame({ type: "message_stop" }),
    ],
    failure: (error) => [frame(messageError(toHttpError(error), requestId))],
  };
}
