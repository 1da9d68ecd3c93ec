import { z } from "zod";
import type { ReportRequest } from "../engine/generation-request.js";
import type { TokenReport } from "../engine/token-report.js";
import { type AnswerEvent, answered, type CollectedAnswer } from "./answer-events.js";
import type { AnswerChunks } from "./answer-frames.js";
import { type AnswerHead, steeringReportSchema } from "./answer-head.js";
import { LegacyLogprobs, legacyLogprobsSchema } from "./legacy-logprobs.js";
import { answerSchemas } from "./named-schemas.js";
import { explanation, explanationSchema, promptExplanation, promptExplanationSchema } from "./token-reports.js";
import { usageSchema, wireUsage } from "./usage.js";

const finishReason = z.enum(["stop", "length"]);

const choice = z.object({
  index: z.int(),
  text: z.string(),
  logprobs: legacyLogprobsSchema.nullable(),
  finish_reason: finishReason,
  explanation: explanationSchema.optional(),
});

const head = {
  id: z.string(),
  object: z.literal("text_completion"),
  created: z.int().describe("Unix seconds."),
  model: z.string(),
  system_fingerprint: z.string(),
};

export const completionSchema = z
  .object({
    ...head,
    choices: z.array(choice),
    usage: usageSchema,
    steering: steeringReportSchema,
    prompt_explanation: promptExplanationSchema.optional(),
  })
  .describe("Answer of POST /v1/completions.")
  .register(answerSchemas, { id: "Completion" });

export const completionChunkSchema = z
  .object({
    ...head,
    choices: z.array(choice.extend({ finish_reason: finishReason.nullable() })),
    usage: usageSchema
      .nullable()
      .optional()
      .describe("Only with stream_options.include_usage, and null but on the last chunk."),
    steering: steeringReportSchema.optional().describe("On the first chunk."),
    prompt_explanation: promptExplanationSchema.optional(),
  })
  .describe("One event of a streamed POST /v1/completions.")
  .register(answerSchemas, { id: "CompletionChunk" });

type Completion = z.input<typeof completionSchema>;
type CompletionChunk = z.input<typeof completionChunkSchema>;

/** What the answers of one request have in common. */
export interface CompletionOptions {
  /** Of each prompt. */
  readonly choices: number;
  readonly report: ReportRequest;
  /** The text of each prompt, to begin its answers with; null: they begin behind it. */
  readonly echo: readonly string[] | null;
}

/** The body of an unstreamed answer. */
export function completion(head: AnswerHead, answer: CollectedAnswer, options: CompletionOptions): Completion {
  const { report } = options;
  return {
    id: head.id,
    object: "text_completion",
    created: head.created,
    model: head.model,
    choices: answer.choices.map(({ text, reports, reason }, index) => {
      const prompt = Math.floor(index / options.choices);
      const promptReports = options.echo === null ? [] : (answer.prompts[prompt] ?? []);
      return {
        index,
        text: `${options.echo?.[prompt] ?? ""}${text}`,
        logprobs: report.logprobs === null ? null : new LegacyLogprobs().of([...promptReports, ...reports]),
        finish_reason: reason,
        ...explanationOf(reports, report),
      };
    }),
    usage: wireUsage(answer.usage),
    system_fingerprint: head.systemFingerprint,
    steering: head.steering,
    ...(report.explain ? { prompt_explanation: promptExplanation(answer.prompts[0] ?? []) } : {}),
  };
}

/**
 * The chunks of one streamed answer. `usage` stands on them only when the client asked for it: then null on all but the
 * last.
 */
export function completionChunks(
  head: AnswerHead,
  options: CompletionOptions & { readonly prompts: number; readonly includeUsage: boolean },
): AnswerChunks {
  const { report, echo, choices, prompts } = options;
  const shared = {
    id: head.id,
    object: "text_completion" as const,
    created: head.created,
    model: head.model,
    system_fingerprint: head.systemFingerprint,
  };
  const noUsage = options.includeUsage ? { usage: null } : {};
  const logprobs = Array.from({ length: prompts * choices }, () => new LegacyLogprobs());
  const promptReports = new Array<readonly TokenReport[]>(prompts).fill([]);
  const echoed = new Set<number>();
  /** What the first chunk says, and none behind it. */
  let once: Partial<CompletionChunk> = { steering: head.steering };
  let ofPrompt: Partial<CompletionChunk> = {};

  const chunk = (
    index: number,
    text: string,
    reports: readonly TokenReport[],
    reason: "stop" | "length" | null,
  ): CompletionChunk => {
    const told = { ...once, ...ofPrompt };
    once = {};
    ofPrompt = {};
    const logprobsOf = report.logprobs === null || reason !== null ? null : (logprobs[index]?.of(reports) ?? null);
    return {
      ...shared,
      choices: [
        {
          index,
          text,
          logprobs: logprobsOf,
          finish_reason: reason,
          ...(reason === null ? explanationOf(reports, report) : {}),
        },
      ],
      ...noUsage,
      ...told,
    };
  };

  /** The chunk that repeats the prompt, in front of a choice's first. */
  const echoChunks = (index: number, prompt: number): readonly CompletionChunk[] => {
    if (echo === null || echoed.has(index)) return [];
    echoed.add(index);
    const told = chunk(index, echo[prompt] ?? "", promptReports[prompt] ?? [], null);
    // The prompt's tokens are explained in `prompt_explanation`.
    return [{ ...told, choices: told.choices.map(({ explanation: _, ...rest }) => rest) }];
  };

  return {
    opening: () => [],
    event(event: AnswerEvent) {
      switch (event.kind) {
        case "prompt":
          promptReports[event.prompt] = event.reports;
          if (report.explain) ofPrompt = { prompt_explanation: promptExplanation(event.reports) };
          return [];
        case "delta":
          if (event.text === "" && event.reports.length === 0) return [];
          return [...echoChunks(event.choice, event.prompt), chunk(event.choice, event.text, event.reports, null)];
        case "finished":
          return [...echoChunks(event.choice, event.prompt), chunk(event.choice, "", [], answered(event.reason))];
      }
    },
    usage: (usage): CompletionChunk => ({ ...shared, choices: [], usage: wireUsage(usage) }),
  };
}

function explanationOf(reports: readonly TokenReport[], report: ReportRequest) {
  return report.explain ? { explanation: explanation(reports) } : {};
}
