import { z } from "zod";
import type { ReportRequest } from "../engine/generation-request.js";
import type { TokenReport } from "../engine/token-report.js";
import type { CallFormat } from "../text/tool-call-format.js";
import { toHttpError } from "./error-envelope.js";
import { responseSchemas } from "./named-schemas.js";
import {
  begunItem,
  endedItem,
  endedItems,
  outputItemSchema,
  outputText,
  outputTextSchema,
  responseObject,
  responseSchema,
} from "./response.js";
import type { ResponseHead } from "./response-head.js";
import { type ItemStep, type OutputItem, OutputItems } from "./response-items.js";
import type { ResponseRequest } from "./response-request.js";
import { eventFrame } from "./server-sent-events.js";
import { finishReasonOf, type ResponseFinishReason } from "./stream-events.js";
import type { StreamFrames } from "./stream-frames.js";
import { explanationSchema, promptExplanation, promptExplanationSchema, rankedLogprobSchema } from "./token-reports.js";
import type { Reading } from "./tool-calls.js";

const sequence = { sequence_number: z.int().describe("Counts the events of a stream, from 0.") };
const ofItem = { item_id: z.string(), output_index: z.int(), content_index: z.int() };

const lifeEvent = <Type extends string>(type: Type) =>
  z.object({ type: z.literal(type), response: responseSchema, ...sequence });
const itemEvent = <Type extends string>(type: Type) =>
  z.object({ type: z.literal(type), output_index: z.int(), item: outputItemSchema, ...sequence });
const partEvent = <Type extends string>(type: Type) =>
  z.object({ type: z.literal(type), ...ofItem, part: outputTextSchema, ...sequence });

export const responseEventSchema = z
  .discriminatedUnion("type", [
    lifeEvent("response.created"),
    lifeEvent("response.in_progress"),
    itemEvent("response.output_item.added"),
    partEvent("response.content_part.added"),
    z.object({
      type: z.literal("response.output_text.delta"),
      ...ofItem,
      delta: z.string(),
      logprobs: z.array(rankedLogprobSchema),
      explanation: explanationSchema.optional(),
      prompt_explanation: promptExplanationSchema.optional().describe("On the first delta."),
      ...sequence,
    }),
    z.object({
      type: z.literal("response.output_text.done"),
      ...ofItem,
      text: z.string(),
      logprobs: z.array(rankedLogprobSchema),
      ...sequence,
    }),
    partEvent("response.content_part.done"),
    z.object({
      type: z.literal("response.function_call_arguments.delta"),
      item_id: z.string(),
      output_index: z.int(),
      delta: z.string(),
      ...sequence,
    }),
    z.object({
      type: z.literal("response.function_call_arguments.done"),
      item_id: z.string(),
      output_index: z.int(),
      name: z.string(),
      arguments: z.string(),
      ...sequence,
    }),
    itemEvent("response.output_item.done"),
    lifeEvent("response.completed"),
    lifeEvent("response.incomplete"),
    lifeEvent("response.failed"),
  ])
  .describe(
    "One event of a streamed POST /v1/responses, in the order of this list, the events of each item together; the last is one of the last three.",
  )
  .register(responseSchemas, { id: "ResponseEvent" });

type ResponseEvent = z.input<typeof responseEventSchema>;
/** An event before its number is known. */
type Unnumbered<Event> = Event extends ResponseEvent ? Omit<Event, "sequence_number"> : never;

/** The events of one streamed response. There is no `[DONE]` in this API: the last event says how it ended. */
export function responseFrames(
  head: ResponseHead,
  request: ResponseRequest,
  {
    report,
    reading,
    format,
  }: { readonly report: ReportRequest; readonly reading: Reading; readonly format?: CallFormat | undefined },
): StreamFrames {
  const items = new OutputItems(reading, format);
  let number = 0;
  let promptReports: readonly TokenReport[] = [];
  let isPromptReported = false;
  let reason: ResponseFinishReason = "stop";

  const frame = (event: Unnumbered<ResponseEvent>): string => {
    const numbered = { ...event, sequence_number: number++ };
    return eventFrame(numbered);
  };
  const prompt = () => (report.explain ? { prompt_explanation: promptExplanation(promptReports) } : {});
  const promptOnce = () => {
    const told = isPromptReported ? {} : prompt();
    isPromptReported = true;
    return told;
  };

  const opened = (at: number, item: OutputItem): readonly string[] => {
    const added = frame({ type: "response.output_item.added", output_index: at, item: begunItem(item) });
    if (item.kind === "call") return [added];
    const part = outputText("", [], { ...report, explain: false });
    return [added, frame({ type: "response.content_part.added", ...placeOf(at, item), content_index: 0, part })];
  };

  const closed = (at: number, item: OutputItem, isCut: boolean): readonly string[] => {
    const place = placeOf(at, item);
    const done = () =>
      frame({ type: "response.output_item.done", output_index: at, item: endedItem(item, isCut, report) });
    if (item.kind === "call") {
      const { name, arguments: words } = item;
      return [frame({ type: "response.function_call_arguments.done", ...place, name, arguments: words }), done()];
    }
    const part = outputText(item.text, item.reports, report);
    const { text, logprobs } = part;
    return [
      frame({ type: "response.output_text.done", ...place, content_index: 0, text, logprobs }),
      frame({ type: "response.content_part.done", ...place, content_index: 0, part }),
      done(),
    ];
  };

  const framesOfStep = (step: ItemStep, isCut: boolean): readonly string[] => {
    switch (step.kind) {
      case "opened":
        return opened(step.at, step.item);
      case "text": {
        const { text: delta, logprobs, explanation } = outputText(step.text, step.reports, report);
        return [
          frame({
            type: "response.output_text.delta",
            ...placeOf(step.at, step.item),
            content_index: 0,
            delta,
            logprobs,
            ...(explanation === undefined ? {} : { explanation }),
            ...promptOnce(),
          }),
        ];
      }
      case "arguments":
        return [
          frame({
            type: "response.function_call_arguments.delta",
            ...placeOf(step.at, step.item),
            delta: step.text,
          }),
        ];
      case "closed":
        return closed(step.at, step.item, isCut);
    }
  };

  return {
    opening() {
      const started = responseObject(head, request, { kind: "in_progress" });
      return [
        frame({ type: "response.created", response: started }),
        frame({ type: "response.in_progress", response: started }),
      ];
    },
    event(event) {
      switch (event.kind) {
        case "prompt":
          promptReports = event.reports;
          return [];
        case "delta":
          return items.push(event.text, event.reports).flatMap((step) => framesOfStep(step, false));
        case "finished": {
          reason = finishReasonOf(event.reason);
          const steps = items.finish();
          return steps.flatMap((step, at) => framesOfStep(step, reason === "length" && at === steps.length - 1));
        }
      }
    },
    end(usage) {
      const output = endedItems(items.items, reason, report);
      const response = { ...responseObject(head, request, { kind: "ended", reason, output, usage }), ...prompt() };
      return [frame({ type: reason === "length" ? "response.incomplete" : "response.completed", response })];
    },
    failure(error) {
      const { message } = toHttpError(error).envelope.error;
      return [frame({ type: "response.failed", response: responseObject(head, request, { kind: "failed", message }) })];
    },
  };
}

function placeOf(at: number, { id }: OutputItem) {
  return { item_id: id, output_index: at };
}
