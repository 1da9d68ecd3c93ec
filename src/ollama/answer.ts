import { z } from "zod";
import type { Usage } from "../engine/engine.js";
import { parseBeginning } from "../json-tree.js";
import { toHttpError } from "../openai/error-envelope.js";
import { responseSchemas } from "../openai/named-schemas.js";
import { type ResponseHead, steeringReportSchema } from "../openai/response-head.js";
import { type CollectedOutput, finishReasonOf, type ResponseFinishReason } from "../openai/stream-events.js";
import type { StreamFrames } from "../openai/stream-frames.js";
import { type Reading, ToolCallParser } from "../openai/tool-calls.js";
import type { CallFormat } from "../text/tool-call-format.js";
import { ollamaError } from "./error-object.js";

/** Nanoseconds of a generation. */
export interface Durations {
  readonly total: number;
  /** Until the first token. */
  readonly prompt: number;
  readonly answer: number;
}

const ending = {
  done_reason: z.enum(["stop", "length"]).optional(),
  total_duration: z.int().optional().describe("Nanoseconds, as all durations."),
  load_duration: z.literal(0).optional().describe("Models are loaded before."),
  prompt_eval_count: z.int().optional(),
  prompt_eval_duration: z.int().optional().describe("Until the first token."),
  eval_count: z.int().optional(),
  eval_duration: z.int().optional(),
  system_fingerprint: z.string().optional(),
  steering: steeringReportSchema.optional(),
};

const beginning = { model: z.string(), created_at: z.string() };

export const ollamaChatSchema = z
  .object({
    ...beginning,
    message: z.object({
      role: z.literal("assistant"),
      content: z.string(),
      tool_calls: z
        .array(z.object({ function: z.object({ name: z.string(), arguments: z.looseObject({}) }) }))
        .optional(),
    }),
    done: z.boolean().describe("The last line, or the only one, has what comes behind this field."),
    ...ending,
  })
  .describe("Answer of POST /api/chat, and each line of a streamed one.")
  .register(responseSchemas, { id: "OllamaChat" });

export const ollamaGenerateSchema = z
  .object({
    ...beginning,
    response: z.string(),
    done: z.boolean().describe("The last line, or the only one, has what comes behind this field."),
    ...ending,
  })
  .describe("Answer of POST /api/generate, and each line of a streamed one.")
  .register(responseSchemas, { id: "OllamaGenerate" });

type Call = NonNullable<z.input<typeof ollamaChatSchema>["message"]["tool_calls"]>[number];

/** A piece of an answer as one of the two routes writes it. */
export type Piece = (text: string, calls: readonly Call[]) => object;

export const chatPiece: Piece = (content, calls) => ({
  message: { role: "assistant", content, ...(calls.length === 0 ? {} : { tool_calls: [...calls] }) },
});

export const generatePiece: Piece = (response) => ({ response });

export interface AnswerOptions {
  readonly piece: Piece;
  readonly reading: Reading;
  readonly format: CallFormat | undefined;
  readonly durations: () => Durations;
}

/** Tells text from calls; a call goes out whole, once its arguments have come. */
class Calls {
  readonly #parser: ToolCallParser;
  #open: { readonly name: string; words: string } | null = null;

  constructor({ reading, format }: AnswerOptions) {
    this.#parser = new ToolCallParser(reading, undefined, format);
  }

  push(text: string): { readonly text: string; readonly calls: readonly Call[] } {
    return this.#read(this.#parser.push(text), false);
  }

  finish(): { readonly text: string; readonly calls: readonly Call[] } {
    return this.#read(this.#parser.flush(), true);
  }

  #read(parts: ReturnType<ToolCallParser["push"]>, isEnd: boolean) {
    let text = "";
    const calls: Call[] = [];
    for (const part of parts) {
      if (part.kind === "content") text += part.text;
      else if (part.kind === "arguments") {
        if (this.#open !== null) this.#open.words += part.text;
      } else {
        calls.push(...this.#close());
        this.#open = { name: part.name, words: "" };
      }
    }
    if (isEnd) calls.push(...this.#close());
    return { text, calls };
  }

  #close(): readonly Call[] {
    const open = this.#open;
    this.#open = null;
    if (open === null) return [];
    // As far as they came, where the answer was cut.
    const words = parseBeginning(open.words);
    const isObject = typeof words === "object" && words !== null && !Array.isArray(words);
    return [{ function: { name: open.name, arguments: isObject ? (words as Record<string, unknown>) : {} } }];
  }
}

/** The body of an unstreamed answer. */
export function ollamaAnswer(head: ResponseHead, output: CollectedOutput, options: AnswerOptions): object {
  const [choice] = output.choices;
  if (choice === undefined) throw new Error("an answer has one choice");
  const parser = new Calls(options);
  const first = parser.push(choice.text);
  const rest = parser.finish();
  const piece = options.piece(first.text + rest.text, [...first.calls, ...rest.calls]);
  return { ...begun(head), ...piece, done: true, ...endOf(head, choice.reason, output.usage, options) };
}

/** A streamed answer: a line of JSON for each piece. */
export function ollamaFrames(head: ResponseHead, options: AnswerOptions): StreamFrames {
  const parser = new Calls(options);
  let reason: ResponseFinishReason = "stop";
  const linesOf = ({ text, calls }: ReturnType<Calls["push"]>) =>
    text === "" && calls.length === 0 ? [] : [line({ ...begun(head), ...options.piece(text, calls), done: false })];
  return {
    opening: () => [],
    event(event) {
      if (event.kind === "delta") return linesOf(parser.push(event.text));
      if (event.kind !== "finished") return [];
      reason = finishReasonOf(event.reason);
      return linesOf(parser.finish());
    },
    end: (usage) => [
      line({ ...begun(head), ...options.piece("", []), done: true, ...endOf(head, reason, usage, options) }),
    ],
    failure: (error) => [line(ollamaError(toHttpError(error)))],
  };
}

function line(value: object): string {
  return `${JSON.stringify(value)}\n`;
}

function begun({ model }: ResponseHead): z.output<z.ZodObject<typeof beginning>> {
  return { model, created_at: new Date().toISOString() };
}

function endOf(
  { systemFingerprint, steering }: ResponseHead,
  reason: ResponseFinishReason,
  usage: Usage,
  { durations }: AnswerOptions,
): z.output<z.ZodObject<typeof ending>> {
  const { total, prompt, answer } = durations();
  return {
    done_reason: reason,
    total_duration: total,
    load_duration: 0,
    prompt_eval_count: usage.promptTokens,
    prompt_eval_duration: prompt,
    eval_count: usage.completionTokens,
    eval_duration: answer,
    system_fingerprint: systemFingerprint,
    steering,
  };
}
