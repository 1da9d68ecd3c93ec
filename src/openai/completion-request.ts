import { z } from "zod";
import type { ServedModel } from "../engine/served-model.js";
import { ToastError } from "../errors.js";
import {
  generationFields,
  limitOf,
  maxChoices,
  maxTopLogprobs,
  parseGenerationBody,
  tokenLimit,
} from "./generation-fields.js";
import { toGenerationRequest } from "./generation-request.js";
import { requestSchemas } from "./named-schemas.js";
import { constraintFields, outputConstraint } from "./output-constraint.js";
import { ignoredParameters, only, unsupportedParameters } from "./parameter-policy.js";
import { field, flag, integer, optional } from "./request-fields.js";
import { enginePrompt, textsOrTokens, type WirePrompt } from "./wire-prompt.js";

/** OpenAI's default: a completion has no end of its own. */
const defaultMaxTokens = 16;

export const completionRequestSchema = z
  .object(
    {
      ...generationFields,
      prompt: textsOrTokens("What to go on from."),
      max_tokens: optional(tokenLimit(0)).describe(
        `Tokens to write at most; default ${defaultMaxTokens}. 0: the prompt is only computed, for 'echo' with 'logprobs'; -1: what the context has room for.`,
      ),
      n_predict: optional(tokenLimit(0)).describe("llama.cpp's name of `max_tokens`."),
      echo: optional(flag()).describe("Whether the text begins with the prompt."),
      logprobs: optional(integer(0, maxTopLogprobs)).describe("So many of the likeliest tokens at each place."),
      best_of: optional(integer(1)).describe("Only as large as 'n': what is generated is returned."),
      add_special_tokens: optional(flag()).describe(
        "Whether a prompt in text gets the tokenizer's own tokens around it (LLaMA: BOS in front); default true.",
      ),
      suffix: only([""], "'suffix' is not supported: the models served here write on, not in between."),
      max_completion_tokens: only([], "'max_completion_tokens' belongs to chat completions; use 'max_tokens'."),
      prompt_logprobs: optional(integer(0, maxTopLogprobs)).describe(
        "How likely the prompt's tokens were, in vLLM's shape, with so many of the likeliest ones.",
      ),
      ...constraintFields,
      ...ignoredParameters,
      ...unsupportedParameters,
    },
    field("a JSON object"),
  )
  .describe("Body of POST /v1/completions.")
  .register(requestSchemas, { id: "CompletionRequest" });

/** A request of POST /v1/completions, checked; null stands for "not given". */
export type CompletionRequest = z.output<typeof completionRequestSchema>;

/** @throws ToastError `invalid_request` or `unsupported_parameter`, with the `param` at fault. */
export function parseCompletionRequest(body: unknown): CompletionRequest {
  const request = parseGenerationBody(completionRequestSchema, body);
  const choices = request.n ?? 1;
  if (request.best_of !== null && request.best_of !== choices) {
    const message = `'best_of' is ${request.best_of} and 'n' is ${choices}: only as many answers are generated as are returned, so they must be equal.`;
    throw new ToastError("unsupported_parameter", message, { param: "best_of" });
  }
  if (request.prompt.length * choices > maxChoices) {
    const message = `${request.prompt.length} prompts with ${choices} answers each are more than the ${maxChoices} answers of one request. Send several requests.`;
    throw new ToastError("invalid_request", message, { param: "prompt" });
  }
  if (request.steering?.explain === true && request.prompt.length > 1) {
    const message = "'steering.explain' explains one prompt at a time. Send each prompt in a request of its own.";
    throw new ToastError("invalid_request", message, { param: "steering.explain" });
  }
  return request;
}

/**
 * @returns one generation for each prompt.
 * @throws ToastError `invalid_request` when the request does not fit the model.
 */
export function completionGenerationRequests(request: CompletionRequest, model: ServedModel) {
  const constraint = outputConstraint(request);
  const generationOf = (prompt: WirePrompt) =>
    toGenerationRequest(request, model, {
      prompt: enginePrompt(prompt, request.add_special_tokens),
      choices: request.n ?? 1,
      maxTokens: limitOf(request.max_tokens ?? request.n_predict ?? defaultMaxTokens),
      constraint,
      tokenIds: request.return_token_ids ?? false,
      logprobs: request.logprobs,
      promptLogprobs: greatest(request.echo === true ? request.logprobs : null, request.prompt_logprobs),
    });
  const [first, ...others] = request.prompt;
  if (first === undefined) throw new Error("a checked request has a prompt");
  return [generationOf(first), ...others.map(generationOf)] as const;
}

/** What both may be told from; null when neither asks. */
function greatest(one: number | null, other: number | null): number | null {
  return one === null || other === null ? (one ?? other) : Math.max(one, other);
}
