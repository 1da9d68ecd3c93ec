import { z } from "zod";
import type { Usage } from "../engine/engine.js";
import type { ReportRequest } from "../engine/generation-request.js";
import type { TokenReport } from "../engine/token-report.js";
import { parseBeginning } from "../json-tree.js";
import { responseSchemas } from "../openai/named-schemas.js";
import { type ResponseHead, steeringReportSchema } from "../openai/response-head.js";
import type { CollectedOutput, ResponseFinishReason } from "../openai/stream-events.js";
import { explanation, explanationSchema, promptExplanation, promptExplanationSchema } from "../openai/token-reports.js";
import { type BlockOptions, type BlockStep, MessageBlocks } from "./message-blocks.js";
import type { MessageRequest } from "./message-request.js";

export const stopReason = z.enum([
  "end_turn",
  "max_tokens",
  "stop_sequence",
  "tool_use",
  "model_context_window_exceeded",
]);

export const textBlockSchema = z.object({
  type: z.literal("text"),
  text: z.string(),
  citations: z.null(),
  explanation: explanationSchema.optional(),
});

export const toolUseBlockSchema = z.object({
  type: z.literal("tool_use"),
  id: z.string().describe("What `tool_result` names."),
  name: z.string(),
  input: z.looseObject({}).describe("As far as it came, where the answer was cut."),
  caller: z.object({ type: z.literal("direct") }),
  explanation: explanationSchema.optional(),
});

export const messageUsageSchema = z
  .object({
    input_tokens: z.int().describe("Of the prompt's, those that were computed."),
    cache_creation: z.null(),
    cache_creation_input_tokens: z.literal(0).describe("Keeping a prefix is no work of its own here."),
    cache_read_input_tokens: z
      .int()
      .nullable()
      .describe("Of the prompt's, those kept from earlier requests; null while that is not known."),
    output_tokens: z.int(),
    output_tokens_details: z.null(),
    inference_geo: z.null(),
    server_tool_use: z.null(),
    service_tier: z.literal("standard"),
    speed: z.null(),
  })
  .register(responseSchemas, { id: "MessageUsage" });

export const messageSchema = z
  .object({
    id: z.string(),
    type: z.literal("message"),
    role: z.literal("assistant"),
    model: z.string(),
    content: z.array(z.discriminatedUnion("type", [textBlockSchema, toolUseBlockSchema])),
    stop_reason: stopReason.nullable(),
    stop_sequence: z.string().nullable().describe("The one that ended the text, which does not hold it."),
    stop_details: z.null(),
    container: z.null(),
    diagnostics: z.null(),
    usage: messageUsageSchema,
    system_fingerprint: z.string(),
    steering: steeringReportSchema,
    prompt_explanation: promptExplanationSchema.optional(),
  })
  .describe("Answer of POST /v1/messages.")
  .register(responseSchemas, { id: "Message" });

export type WireMessage = z.input<typeof messageSchema>;
type ContentBlock = WireMessage["content"][number];

/** What of a request its answer is written by. */
export interface MessageOptions extends BlockOptions {
  readonly report: ReportRequest;
  readonly maxTokens: number | null;
}

/** How an answer came to its end. */
export function endOf(
  reason: ResponseFinishReason,
  { stopped, calls }: Pick<MessageBlocks, "stopped" | "calls">,
  usage: Usage,
  maxTokens: MessageRequest["max_tokens"],
): Pick<WireMessage, "stop_sequence" | "stop_details"> & { readonly stop_reason: z.output<typeof stopReason> } {
  const none = { stop_sequence: null, stop_details: null };
  if (reason === "length") {
    const isFull = usage.completionTokens === maxTokens;
    return { stop_reason: isFull ? "max_tokens" : "model_context_window_exceeded", ...none };
  }
  if (calls > 0) return { stop_reason: "tool_use", ...none };
  if (stopped !== null) return { stop_reason: "stop_sequence", stop_sequence: stopped, stop_details: null };
  return { stop_reason: "end_turn", ...none };
}

/** @param usage null: of an answer that begins. @param promptTokens of the whole prompt, however they came. */
export function messageUsage(usage: Usage | null, promptTokens: number): z.input<typeof messageUsageSchema> {
  return {
    input_tokens: promptTokens - (usage?.cachedTokens ?? 0),
    cache_creation: null,
    cache_creation_input_tokens: 0,
    cache_read_input_tokens: usage?.cachedTokens ?? null,
    output_tokens: usage?.completionTokens ?? 0,
    output_tokens_details: null,
    inference_geo: null,
    server_tool_use: null,
    service_tier: "standard",
    speed: null,
  };
}

/** A message that has only begun: nothing of its content. */
export function begunMessage(head: ResponseHead, promptTokens: number): WireMessage {
  return {
    id: head.id,
    type: "message",
    role: "assistant",
    model: head.model,
    content: [],
    stop_reason: null,
    stop_sequence: null,
    stop_details: null,
    container: null,
    diagnostics: null,
    usage: messageUsage(null, promptTokens),
    system_fingerprint: head.systemFingerprint,
    steering: head.steering,
  };
}

/** The body of an unstreamed answer, put together by the same parts as a stream. */
export function message(head: ResponseHead, output: CollectedOutput, options: MessageOptions): WireMessage {
  const [choice] = output.choices;
  if (choice === undefined) throw new Error("a collected output has a choice");
  const blocks = new MessageBlocks(options);
  const steps = [...blocks.push(choice.text, choice.reports), ...blocks.finish(choice.reason)];
  const { usage } = output;
  return {
    ...begunMessage(head, usage.promptTokens),
    content: contentOf(steps, options.report),
    ...endOf(choice.reason, blocks, usage, options.maxTokens),
    usage: messageUsage(usage, usage.promptTokens),
    ...(options.report.explain ? { prompt_explanation: promptExplanation(output.prompts[0] ?? []) } : {}),
  };
}

function contentOf(steps: readonly BlockStep[], report: ReportRequest): ContentBlock[] {
  const content: ContentBlock[] = [];
  let text = "";
  let reports: TokenReport[] = [];
  for (const step of steps) {
    switch (step.kind) {
      case "textOpened":
      case "callOpened":
        text = "";
        reports = [];
        content.push(begunBlock(step));
        break;
      case "text":
        text += step.text;
        reports.push(...step.reports);
        break;
      case "arguments":
        text += step.text;
        break;
      case "closed": {
        const begun = content.pop();
        if (begun === undefined) throw new Error("a block is opened before it is closed");
        reports.push(...step.reports);
        const told = report.explain ? { explanation: explanation(reports) } : {};
        const filled = begun.type === "text" ? { ...begun, text } : { ...begun, input: inputOf(text) };
        content.push({ ...filled, ...told });
      }
    }
  }
  return content;
}

/** A block that has only begun. */
export function begunBlock(step: BlockStep & { readonly kind: "textOpened" | "callOpened" }): ContentBlock {
  if (step.kind === "textOpened") return { type: "text", text: "", citations: null };
  return { type: "tool_use", id: step.id, name: step.name, input: {}, caller: { type: "direct" } };
}

/** Arguments that the length has cut are told as far as they came: `stop_reason` says that there may be more. */
function inputOf(text: string): Record<string, unknown> {
  const input = parseBeginning(text);
  return typeof input === "object" && input !== null && !Array.isArray(input) ? { ...input } : {};
}
