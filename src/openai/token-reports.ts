import { z } from "zod";
import type { TokenReport } from "../engine/token-report.js";
import { responseSchemas } from "./named-schemas.js";

/** How OpenAI's APIs write minus infinity: JSON has no word for it, and clients expect a number. */
const impossible = -9999;

const strictUtf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** A token by what it adds to the text, and by how it is written where that is nothing. */
export type WrittenToken = Pick<TokenReport, "bytes" | "special">;

/**
 * @returns the token's text; where its bytes are part of a character only, they are written out: `\xf0\x9f`, as OpenAI
 *   does. A special token is called by its name, as vLLM does, so that several of them can be told apart; its bytes are
 *   none all the same.
 */
export function tokenText({ bytes, special }: WrittenToken): string {
  if (special !== undefined) return special;
  try {
    return strictUtf8.decode(bytes);
  } catch {
    return Array.from(bytes, (byte) => `\\x${byte.toString(16).padStart(2, "0")}`).join("");
  }
}

export function wireLogprob(logprob: number): number {
  return Number.isFinite(logprob) ? logprob : impossible;
}

export const tokenLogprobSchema = z.object({
  token: z.string(),
  logprob: z.number(),
  bytes: z.array(z.int().min(0).max(255)),
});

export const rankedLogprobSchema = tokenLogprobSchema.extend({ top_logprobs: z.array(tokenLogprobSchema) });

export const chatLogprobsSchema = z
  .object({
    content: z.array(rankedLogprobSchema),
    refusal: z.null(),
  })
  .describe("How likely each token was; the `bytes` of all tokens are the text.")
  .register(responseSchemas, { id: "ChatLogprobs" });

/** Log probabilities in the shape of chat completions. */
export function chatLogprobs(reports: readonly TokenReport[]): z.output<typeof chatLogprobsSchema> {
  const entry = (token: WrittenToken & { readonly logprob: number | null }) => ({
    token: tokenText(token),
    logprob: wireLogprob(token.logprob ?? Number.NEGATIVE_INFINITY),
    bytes: [...token.bytes],
  });
  return {
    content: reports.map((report) => ({ ...entry(report), top_logprobs: report.top.map(entry) })),
    refusal: null,
  };
}

export const promptLogprobsSchema = z
  .array(
    z
      .record(z.string(), z.object({ logprob: z.number(), rank: z.int().nullable(), decoded_token: z.string() }))
      .nullable(),
  )
  .describe("vLLM's: for each prompt token, by id, the token itself and the likeliest ones; null for the first.");

/** Log probabilities of a prompt's tokens in vLLM's shape. */
export function promptLogprobs(reports: readonly TokenReport[]): z.output<typeof promptLogprobsSchema> {
  return reports.map((report) => {
    if (report.logprob === null) return null;
    const entry = (token: WrittenToken, logprob: number, rank: number | null) => ({
      logprob: wireLogprob(logprob),
      rank,
      decoded_token: tokenText(token),
    });
    return {
      [String(report.id)]: entry(report, report.logprob, report.rank ?? null),
      ...Object.fromEntries(
        report.top.map((other, at) => [String(other.id), entry(other, other.logprob, rankAt(at, report))]),
      ),
    };
  });
}

/** Of the likeliest token `at` that place; the token itself has the rank that was counted. */
function rankAt(at: number, { id, rank, top }: TokenReport): number {
  return top[at]?.id === id ? (rank ?? at + 1) : at + 1;
}

export const tokenIdsSchema = z
  .array(z.int())
  .describe("vLLM's, with `return_token_ids`: of all sampled tokens, the one that ended the text included.");

export const promptTokenIdsSchema = z.array(z.int()).describe("vLLM's, with `return_token_ids`.");

const explainedPromptToken = z.object({
  id: z.int(),
  text: z.string(),
  bytes: z.array(z.int().min(0).max(255)),
  relevance: z
    .number()
    .nullable()
    .describe("clamp(cos(hidden state, task embedding), 0, 1); null where nothing steered."),
  gains: z.array(z.number()).describe("For each layer the root mean square of what was added to the values."),
  vectors: z
    .array(
      z.object({
        name: z.string(),
        before: z.array(z.number().nullable()).describe("Without what the control vectors added behind the layer."),
        after: z.array(z.number().nullable()),
      }),
    )
    .optional()
    .describe(
      "For each control vector, in the order of `steering.vectors`, how far the residual stream reaches along it behind each of its layers; null where it has no direction. Left out where none steered.",
    ),
});

const explainedToken = explainedPromptToken.extend({
  draft: z
    .enum(["accepted", "refused", "none"])
    .describe("Whether the bottom-up pass had guessed the token; none: it was not asked."),
});

export const explanationSchema = z
  .object({ tokens: z.array(explainedToken) })
  .describe(
    "What steering looked at and did, for each generated token of this choice; numbers have 4 significant digits.",
  )
  .register(responseSchemas, { id: "Explanation" });

export const promptExplanationSchema = z
  .object({ tokens: z.array(explainedPromptToken) })
  .describe("The same for the prompt's tokens.")
  .register(responseSchemas, { id: "PromptExplanation" });

export function explanation(reports: readonly TokenReport[]): z.output<typeof explanationSchema> {
  return { tokens: reports.map((report) => ({ ...explained(report), draft: report.draft })) };
}

export function promptExplanation(reports: readonly TokenReport[]): z.output<typeof promptExplanationSchema> {
  return { tokens: reports.map(explained) };
}

function explained({ id, bytes, steering, vectors }: TokenReport) {
  return {
    id,
    text: tokenText({ bytes }),
    bytes: [...bytes],
    relevance: steering === null ? null : rounded(steering.relevance),
    gains: steering === null ? [] : steering.layerGains.map(rounded),
    ...(vectors.length === 0
      ? {}
      : {
          vectors: vectors.map(({ name, before, after }) => ({
            name,
            before: before.map(roundedOrNull),
            after: after.map(roundedOrNull),
          })),
        }),
  };
}

/** More digits would say nothing of what was looked at, and triple the size. */
function rounded(value: number): number {
  return Number(value.toPrecision(4));
}

function roundedOrNull(value: number | null): number | null {
  return value === null ? null : rounded(value);
}
