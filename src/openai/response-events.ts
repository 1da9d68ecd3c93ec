import { z } from "zod";
import type { ReportRequest, TokenReport } from "../engine/messages.js";
import { type AnsweredReason, answered } from "./answer-events.js";
import type { AnswerFrames } from "./answer-frames.js";
import { type AnswerHead, newId } from "./answer-head.js";
import { toHttpError } from "./error-envelope.js";
import {
  outputMessage,
  outputMessageSchema,
  outputText,
  outputTextSchema,
  responseObject,
  responseSchema,
} from "./response.js";
import type { ResponseRequest } from "./response-request.js";
import { eventFrame } from "./server-sent-events.js";
import { explanationSchema, promptExplanation, promptExplanationSchema, rankedLogprobSchema } from "./token-reports.js";

const sequence = { sequence_number: z.int().describe("Counts the events of a stream, from 0.") };
const ofItem = { item_id: z.string(), output_index: z.int(), content_index: z.int() };

const lifeEvent = <Type extends string>(type: Type) =>
  z.object({ type: z.literal(type), response: responseSchema, ...sequence });
const itemEvent = <Type extends string>(type: Type) =>
  z.object({ type: z.literal(type), output_index: z.int(), item: outputMessageSchema, ...sequence });
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
    itemEvent("response.output_item.done"),
    lifeEvent("response.completed"),
    lifeEvent("response.incomplete"),
    lifeEvent("response.failed"),
  ])
  .describe(
    "One event of a streamed POST /v1/responses, in the order of this list; the last is one of the last three.",
  );

type ResponseEvent = z.input<typeof responseEventSchema>;
/** An event before its number is known. */
type Unnumbered<Event> = Event extends ResponseEvent ? Omit<Event, "sequence_number"> : never;

/** The events of one streamed response. There is no `[DONE]` in this API: the last event says how it ended. */
export function responseFrames(head: AnswerHead, request: ResponseRequest, report: ReportRequest): AnswerFrames {
  const itemId = newId("msg");
  const place = { item_id: itemId, output_index: 0, content_index: 0 };
  let number = 0;
  let item: "none" | "open" = "none";
  let text = "";
  const reports: TokenReport[] = [];
  let promptReports: readonly TokenReport[] = [];
  let reason: AnsweredReason = "stop";

  const frame = (event: Unnumbered<ResponseEvent>): string => {
    const numbered = { ...event, sequence_number: number++ };
    return eventFrame(numbered);
  };
  const prompt = () => (report.explain ? { prompt_explanation: promptExplanation(promptReports) } : {});

  /** Item and part, before the first text. */
  const openItem = (): readonly string[] => {
    if (item === "open") return [];
    item = "open";
    return [
      frame({
        type: "response.output_item.added",
        output_index: 0,
        item: outputMessage(itemId, "in_progress", []),
      }),
      frame({
        type: "response.content_part.added",
        ...place,
        part: { type: "output_text", text: "", annotations: [], logprobs: [] },
      }),
    ];
  };

  const whole = () => {
    const part = outputText(text, reports, report);
    return { part, message: outputMessage(itemId, reason === "length" ? "incomplete" : "completed", [part]) };
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
        case "delta": {
          if (event.text === "" && event.reports.length === 0) return [];
          const isFirst = item === "none";
          text += event.text;
          reports.push(...event.reports);
          const { logprobs, explanation } = outputText(event.text, event.reports, report);
          return [
            ...openItem(),
            frame({
              type: "response.output_text.delta",
              ...place,
              delta: event.text,
              logprobs,
              ...(explanation === undefined ? {} : { explanation }),
              ...(isFirst ? prompt() : {}),
            }),
          ];
        }
        case "finished": {
          reason = answered(event.reason);
          const opening = openItem();
          const { part, message } = whole();
          return [
            ...opening,
            frame({ type: "response.output_text.done", ...place, text, logprobs: part.logprobs }),
            frame({ type: "response.content_part.done", ...place, part }),
            frame({ type: "response.output_item.done", output_index: 0, item: message }),
          ];
        }
      }
    },
    end(usage) {
      const { message } = whole();
      const response = {
        ...responseObject(head, request, { kind: "ended", reason, output: message, usage }),
        ...prompt(),
      };
      return [frame({ type: reason === "length" ? "response.incomplete" : "response.completed", response })];
    },
    failure(error) {
      const { message } = toHttpError(error).envelope.error;
      return [frame({ type: "response.failed", response: responseObject(head, request, { kind: "failed", message }) })];
    },
  };
}
