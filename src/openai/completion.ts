import { z } from "zod";
import type { ReportRequest } from "../engine/generation-request.js";
import type { TokenReport } from "../engine/token-report.js";
import { LegacyLogprobs, legacyLogprobsSchema } from "./legacy-logprobs.js";
import { responseSchemas } from "./named-schemas.js";
import { type ResponseHead, steeringReportSchema } from "./response-head.js";
import { type CollectedOutput, finishReasonOf, type StreamEvent } from "./stream-events.js";
import type { StreamChunks } from "./stream-frames.js";
import {
  explanation,
  explanationSchema,
  promptExplanation,
  promptExplanationSchema,
  promptLogprobs,
  promptLogprobsSchema,
  promptTokenIdsSchema,
  tokenIdsSchema,
} from "./token-reports.js";
import { usageSchema, wireUsage } from "./usage.js";

const finishReason = z.enum(["stop", "length"]);

const choice = z.object({
  index: z.int(),
  text: z.string(),
  prompt_logprobs: promptLogprobsSchema.optional(),
  logprobs: legacyLogprobsSchema.nullable(),
  finish_reason: finishReason,
  explanation: explanationSchema.optional(),
  token_ids: tokenIdsSchema.optional(),
  prompt_token_ids: promptTokenIdsSchema.optional(),
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
  .register(responseSchemas, { id: "Completion" });

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
  .register(responseSchemas, { id: "CompletionChunk" });

type Completion = z.input<typeof completionSchema>;
type CompletionChunk = z.input<typeof completionChunkSchema>;

/** What the answers of one request have in common. */
export interface CompletionOptions {
  /** Of each prompt. */
  readonly choices: number;
  readonly report: ReportRequest;
  /** Likeliest tokens to tell of each place of the prompt, in vLLM's shape; null: none. */
  readonly promptLogprobs: number | null;
  /** The text of each prompt, to begin its answers with; null: they begin behind it. */
  readonly echo: readonly string[] | null;
}

/** The body of an unstreamed answer. */
export function completion(head: ResponseHead, output: CollectedOutput, options: CompletionOptions): Completion {
  const { report } = options;
  return {
    id: head.id,
    object: "text_completion",
    created: head.created,
    model: head.model,
    choices: output.choices.map(({ text, reports, tokenIds, reason }, index) => {
      const prompt = Math.floor(index / options.choices);
      const promptReports = options.echo === null ? [] : (output.prompts[prompt] ?? []);
      return {
        index,
        text: `${options.echo?.[prompt] ?? ""}${text}`,
        logprobs:
          report.logprobs === null
            ? null
            : new LegacyLogprobs().of([...promptReports, ...reports].map(likeliest(report.logprobs))),
        finish_reason: reason,
        ...explanationOf(reports, report),
        ...promptLogprobsOf(output.prompts[prompt] ?? [], options),
        ...(report.tokenIds === true
          ? { token_ids: [...tokenIds], prompt_token_ids: [...(output.promptIds[prompt] ?? [])] }
          : {}),
      };
    }),
    usage: wireUsage(output.usage),
    system_fingerprint: head.systemFingerprint,
    steering: head.steering,
    ...(report.explain ? { prompt_explanation: promptExplanation(output.prompts[0] ?? []) } : {}),
  };
}

/**
 * The chunks of one streamed answer. `usage` stands on them only when the client asked for it: then null on all but the
 * last.
 */
export function completionChunks(
  head: ResponseHead,
  options: CompletionOptions & { readonly prompts: number; readonly includeUsage: boolean },
): StreamChunks {
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
  const promptIds = new Array<readonly number[]>(prompts).fill([]);
  const echoed = new Set<number>();
  const begun = new Set<number>();
  /** What the first chunk says, and none behind it. */
  let once: Partial<CompletionChunk> = { steering: head.steering };
  let ofPrompt: Partial<CompletionChunk> = {};

  const chunk = (
    index: number,
    text: string,
    reports: readonly TokenReport[],
    reason: "stop" | "length" | null,
    ids: readonly number[] = [],
  ): CompletionChunk => {
    const told = { ...once, ...ofPrompt };
    const isFirst = !begun.has(index);
    begun.add(index);
    once = {};
    ofPrompt = {};
    const logprobsOf =
      report.logprobs === null || reason !== null
        ? null
        : (logprobs[index]?.of(reports.map(likeliest(report.logprobs))) ?? null);
    return {
      ...shared,
      choices: [
        {
          index,
          text,
          logprobs: logprobsOf,
          finish_reason: reason,
          ...(reason === null ? explanationOf(reports, report) : {}),
          ...(isFirst ? promptLogprobsOf(promptReports[Math.floor(index / choices)] ?? [], options) : {}),
          ...(report.tokenIds === true && reason === null ? { token_ids: [...ids] } : {}),
          ...(report.tokenIds === true && isFirst
            ? { prompt_token_ids: [...(promptIds[Math.floor(index / choices)] ?? [])] }
            : {}),
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
    event(event: StreamEvent) {
      switch (event.kind) {
        case "prompt":
          promptReports[event.prompt] = event.reports;
          promptIds[event.prompt] = event.tokenIds ?? [];
          if (report.explain) ofPrompt = { prompt_explanation: promptExplanation(event.reports) };
          return [];
        case "delta": {
          const { choice, prompt, text, reports, tokenIds = [] } = event;
          if (text === "" && reports.length === 0 && tokenIds.length === 0) return [];
          return [...echoChunks(choice, prompt), chunk(choice, text, reports, null, tokenIds)];
        }
        case "finished":
          return [...echoChunks(event.choice, event.prompt), chunk(event.choice, "", [], finishReasonOf(event.reason))];
      }
    },
    usage: (usage): CompletionChunk => ({ ...shared, choices: [], usage: wireUsage(usage) }),
  };
}

/** Of each choice: a choice goes on from a prompt of its own. */
function promptLogprobsOf(reports: readonly TokenReport[], { promptLogprobs: count }: CompletionOptions) {
  return count === null ? {} : { prompt_logprobs: promptLogprobs(reports.map(likeliest(count))) };
}

/** A report with no more of the likeliest tokens than were asked for in this place. */
function likeliest(count: number) {
  return (report: TokenReport): TokenReport => ({ ...report, top: report.top.slice(0, count) });
}

function explanationOf(reports: readonly TokenReport[], report: ReportRequest) {
  return report.explain ? { explanation: explanation(reports) } : {};
}
