import { z } from "zod";
import type { Usage } from "../engine/engine.js";
import type { ReportRequest } from "../engine/generation-request.js";
import type { TokenReport } from "../engine/token-report.js";
import type { CallFormat } from "../text/tool-call-format.js";
import { limitOf } from "./generation-fields.js";
import { responseSchemas } from "./named-schemas.js";
import { type ResponseHead, steeringReportSchema } from "./response-head.js";
import { type OutputItem, OutputItems } from "./response-items.js";
import type { ResponseRequest } from "./response-request.js";
import type { CollectedOutput, ResponseFinishReason } from "./stream-events.js";
import {
  chatLogprobs,
  explanation,
  explanationSchema,
  promptExplanation,
  promptExplanationSchema,
  rankedLogprobSchema,
} from "./token-reports.js";
import type { Reading } from "./tool-calls.js";
import { flatToolChoice } from "./tool-request.js";

export const outputTextSchema = z.object({
  type: z.literal("output_text"),
  text: z.string(),
  annotations: z.array(z.never()),
  logprobs: z.array(rankedLogprobSchema),
  explanation: explanationSchema.optional(),
});

export const outputMessageSchema = z
  .object({
    id: z.string(),
    type: z.literal("message"),
    role: z.literal("assistant"),
    status: z.enum(["in_progress", "completed", "incomplete"]),
    content: z.array(outputTextSchema),
  })
  .register(responseSchemas, { id: "OutputMessage" });

export const functionCallSchema = z
  .object({
    id: z.string(),
    type: z.literal("function_call"),
    call_id: z.string().describe("What `function_call_output` names."),
    name: z.string(),
    arguments: z.string().describe("JSON text; a beginning of it where the answer was cut."),
    status: z.enum(["in_progress", "completed", "incomplete"]),
    explanation: explanationSchema.optional(),
  })
  .register(responseSchemas, { id: "FunctionCall" });

export const outputItemSchema = z.discriminatedUnion("type", [outputMessageSchema, functionCallSchema]);

const responseUsageSchema = z
  .object({
    input_tokens: z.int(),
    input_tokens_details: z.object({ cached_tokens: z.int(), cache_write_tokens: z.int() }),
    output_tokens: z.int(),
    output_tokens_details: z.object({ reasoning_tokens: z.int() }),
    total_tokens: z.int(),
  })
  .describe("Tokens really computed; `cached_tokens` of the prompt's were kept from earlier requests.");

export const responseSchema = z
  .object({
    id: z.string(),
    object: z.literal("response"),
    created_at: z.int().describe("Unix seconds."),
    completed_at: z.int().nullable(),
    status: z.enum(["in_progress", "completed", "incomplete", "failed"]),
    background: z.literal(false),
    error: z.object({ code: z.literal("server_error"), message: z.string() }).nullable(),
    incomplete_details: z.object({ reason: z.literal("max_output_tokens") }).nullable(),
    instructions: z.string().nullable(),
    max_output_tokens: z.int().nullable(),
    max_tool_calls: z.int().nullable(),
    metadata: z.record(z.string(), z.string()),
    model: z.string(),
    output: z.array(outputItemSchema),
    parallel_tool_calls: z.boolean(),
    previous_response_id: z.null(),
    presence_penalty: z.number(),
    frequency_penalty: z.number(),
    prompt_cache_key: z.string().nullable(),
    reasoning: z.null().describe("No model served here reasons."),
    safety_identifier: z.string().nullable(),
    service_tier: z.literal("default"),
    store: z.literal(false).describe("Nothing is stored here."),
    temperature: z.number(),
    text: z.object({
      format: z.discriminatedUnion("type", [
        z.object({ type: z.literal("text") }),
        z.object({ type: z.literal("json_object") }),
        z.object({
          type: z.literal("json_schema"),
          name: z.string(),
          description: z.string().nullable(),
          schema: z.unknown(),
          strict: z.boolean().nullable(),
        }),
      ]),
    }),
    tool_choice: flatToolChoice,
    tools: z.array(
      z.object({
        type: z.literal("function"),
        name: z.string(),
        description: z.string().nullable(),
        parameters: z.unknown(),
        strict: z.boolean().nullable(),
      }),
    ),
    top_logprobs: z.int(),
    top_p: z.number(),
    truncation: z.literal("disabled"),
    usage: responseUsageSchema.nullable().describe("Null until the answer has ended."),
    system_fingerprint: z.string(),
    steering: steeringReportSchema,
    prompt_explanation: promptExplanationSchema.optional(),
  })
  .describe("Answer of POST /v1/responses.")
  .register(responseSchemas, { id: "Response" });

export type WireResponse = z.input<typeof responseSchema>;
type WireItem = z.input<typeof outputItemSchema>;
type OutputText = z.input<typeof outputTextSchema>;

/** How far an answer is. */
export type ResponseState =
  | { readonly kind: "in_progress" }
  | {
      readonly kind: "ended";
      readonly reason: ResponseFinishReason;
      readonly output: readonly WireItem[];
      readonly usage: Usage;
    }
  | { readonly kind: "failed"; readonly message: string };

/** The response object at any time of its life. */
export function responseObject(head: ResponseHead, request: ResponseRequest, state: ResponseState): WireResponse {
  const ended = state.kind === "ended" ? state : null;
  const incomplete = ended?.reason === "length";
  return {
    id: head.id,
    object: "response",
    created_at: head.created,
    completed_at: ended !== null && !incomplete ? Math.floor(Date.now() / 1000) : null,
    status:
      ended === null ? (state.kind === "failed" ? "failed" : "in_progress") : incomplete ? "incomplete" : "completed",
    background: false,
    error: state.kind === "failed" ? { code: "server_error", message: state.message } : null,
    incomplete_details: incomplete ? { reason: "max_output_tokens" } : null,
    instructions: request.instructions,
    max_output_tokens: limitOf(request.max_output_tokens),
    max_tool_calls: request.max_tool_calls,
    metadata: request.metadata ?? {},
    model: head.model,
    output: ended === null ? [] : [...ended.output],
    parallel_tool_calls: request.parallel_tool_calls ?? true,
    previous_response_id: null,
    presence_penalty: request.presence_penalty ?? 0,
    frequency_penalty: request.frequency_penalty ?? 0,
    prompt_cache_key: request.prompt_cache_key,
    reasoning: null,
    safety_identifier: request.safety_identifier,
    service_tier: "default",
    store: false,
    temperature: request.temperature ?? 1,
    text: { format: formatOf(request) },
    tool_choice: request.tool_choice ?? "auto",
    tools: (request.tools ?? []).map(({ parameters, ...tool }) => ({
      ...tool,
      parameters: parameters === null ? null : (JSON.parse(parameters) as unknown),
    })),
    top_logprobs: request.top_logprobs ?? 0,
    top_p: request.top_p ?? 1,
    truncation: "disabled",
    usage: ended === null ? null : responseUsage(ended.usage),
    system_fingerprint: head.systemFingerprint,
    steering: head.steering,
  };
}

function formatOf({ text }: ResponseRequest): WireResponse["text"]["format"] {
  const format = text?.format ?? { type: "text" };
  switch (format.type) {
    case "text":
      return format;
    case "json_object":
      return { type: "json_object" };
    case "json_schema":
      return { ...format, name: format.name ?? "", schema: JSON.parse(format.schema) as unknown };
  }
}

function responseUsage({ promptTokens, cachedTokens, completionTokens }: Usage): z.input<typeof responseUsageSchema> {
  return {
    input_tokens: promptTokens,
    input_tokens_details: { cached_tokens: cachedTokens, cache_write_tokens: 0 },
    output_tokens: completionTokens,
    output_tokens_details: { reasoning_tokens: 0 },
    total_tokens: promptTokens + completionTokens,
  };
}

/** A whole text as a content part. */
export function outputText(text: string, reports: readonly TokenReport[], report: ReportRequest): OutputText {
  return {
    type: "output_text",
    text,
    annotations: [],
    logprobs: report.logprobs === null ? [] : chatLogprobs(reports).content,
    ...(report.explain ? { explanation: explanation(reports) } : {}),
  };
}

/** An item that has only begun: nothing of its content. */
export function begunItem(item: OutputItem): WireItem {
  const { id } = item;
  const status = "in_progress";
  if (item.kind === "message") return { id, type: "message", role: "assistant", status, content: [] };
  return { id, type: "function_call", call_id: item.callId, name: item.name, arguments: "", status };
}

/**
 * @param isCut whether the answer ends with this item, at its length. A call says itself whether all of it is there.
 */
export function endedItem(item: OutputItem, isCut: boolean, report: ReportRequest): WireItem {
  if (item.kind === "message") {
    const content = [outputText(item.text, item.reports, report)];
    return { id: item.id, type: "message", role: "assistant", status: isCut ? "incomplete" : "completed", content };
  }
  const { id, callId, name } = item;
  return {
    id,
    type: "function_call",
    call_id: callId,
    name,
    arguments: item.arguments,
    status: isJson(item.arguments) ? "completed" : "incomplete",
    ...(report.explain ? { explanation: explanation(item.reports) } : {}),
  };
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** All items of an answer that ended for `reason`. */
export function endedItems(
  items: readonly OutputItem[],
  reason: ResponseFinishReason,
  report: ReportRequest,
): readonly WireItem[] {
  return items.map((item, at) => endedItem(item, reason === "length" && at === items.length - 1, report));
}

/** The body of an unstreamed answer. */
export function response(
  head: ResponseHead,
  request: ResponseRequest,
  output: CollectedOutput,
  {
    report,
    reading,
    format,
  }: { readonly report: ReportRequest; readonly reading: Reading; readonly format?: CallFormat | undefined },
): WireResponse {
  const [choice] = output.choices;
  if (choice === undefined) throw new Error("a collected output has a choice");
  // Put together by the same parts as a stream, so an answer reads the same either way.
  const items = new OutputItems(reading, format);
  items.push(choice.text, choice.reports);
  items.finish();
  const wireItems = endedItems(items.items, choice.reason, report);
  return {
    ...responseObject(head, request, { kind: "ended", reason: choice.reason, output: wireItems, usage: output.usage }),
    ...(report.explain ? { prompt_explanation: promptExplanation(output.prompts[0] ?? []) } : {}),
  };
}
