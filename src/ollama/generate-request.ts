import { z } from "zod";
import type { GenerationRequest } from "../engine/generation-request.js";
import type { ServedModel } from "../engine/served-model.js";
import { toGenerationRequest } from "../openai/generation-request.js";
import { requestSchemas } from "../openai/named-schemas.js";
import { only } from "../openai/parameter-policy.js";
import { field, flag, optional, parseBody, text } from "../openai/request-fields.js";
import { constraintOf, generatingFields, imagesField, maxTokensOf, samplingOf, streamed } from "./request-options.js";

export const ollamaGenerateRequestSchema = z
  .object(
    {
      ...generatingFields,
      prompt: text("a text"),
      system: optional(text()).describe("A system message in front of the prompt."),
      raw: optional(flag()).describe("Whether the prompt goes to the model as it is, without a chat template."),
      images: imagesField,
      suffix: only([""], "Texts are written on, not filled in: 'suffix' is not supported."),
      template: only([""], "The chat template is the model's own: 'template' is not supported."),
      context: only([[]], "Nothing is kept between requests: send the conversation to POST /api/chat."),
    },
    field("a JSON object"),
  )
  .describe("Body of POST /api/generate.")
  .register(requestSchemas, { id: "OllamaGenerateRequest" });

/** A request of POST /api/generate, checked; null stands for "not given". */
export type OllamaGenerateRequest = z.output<typeof ollamaGenerateRequestSchema>;

/** @throws ToastError `invalid_request` or `unsupported_parameter`, with the `param` at fault. */
export function parseOllamaGenerateRequest(body: unknown): OllamaGenerateRequest {
  return streamed(parseBody(ollamaGenerateRequestSchema, body));
}

/** @throws ToastError `invalid_request` when the request does not fit the model. */
export function ollamaGeneration(request: OllamaGenerateRequest, model: ServedModel): GenerationRequest {
  const { prompt, system } = request;
  const instructions = system === null || system === "" ? [] : [{ role: "system" as const, content: system }];
  return toGenerationRequest(samplingOf(request, model), model, {
    prompt:
      request.raw === true
        ? { kind: "text", text: prompt, addSpecialTokens: true }
        : { kind: "chat", messages: [...instructions, { role: "user", content: prompt }] },
    choices: 1,
    maxTokens: maxTokensOf(request),
    constraint: constraintOf(request),
    logprobs: null,
    promptLogprobs: null,
  });
}
