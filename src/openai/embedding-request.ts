import { z } from "zod";
import { type GenerationRequest, poolings, promptAlone } from "../engine/generation-request.js";
import type { ServedModel } from "../engine/served-model.js";
import { ToastError } from "../errors.js";
import { requestSchemas } from "./named-schemas.js";
import { ignoredParameters, only } from "./parameter-policy.js";
import { field, flag, integer, optional } from "./request-fields.js";
import { resolveSteering, steeringField } from "./steering-field.js";
import { enginePrompt, textsOrTokens } from "./wire-prompt.js";

/** OpenAI's limit. */
const maxInputs = 2048;

export const embeddingRequestSchema = z
  .object(
    {
      model: optional(z.string(field("the id of a served model (see GET /v1/models)"))).describe(
        "May be left out where one model is served.",
      ),
      input: textsOrTokens(`What to embed: a text, or token ids; or up to ${maxInputs} of them.`),
      encoding_format: optional(z.enum(["float", "base64"], field("'float' or 'base64'"))).describe(
        "Numbers, which is the default, or float32 in base64, little-endian.",
      ),
      dimensions: optional(integer(1)).describe("The model's own number or nothing: vectors are not cut."),
      pooling: optional(z.enum(poolings, field("'mean' or 'last'"))).describe(
        "Ours: over all tokens, which is the default, or the last token alone.",
      ),
      add_special_tokens: optional(flag()).describe(
        "Whether a text gets the tokenizer's own tokens around it (LLaMA: BOS in front); default true.",
      ),
      truncate_prompt_tokens: only([], "Texts are not cut: 'truncate_prompt_tokens' is not supported here."),
      steering: optional(steeringField),
      user: ignoredParameters.user,
    },
    field("a JSON object"),
  )
  .describe("Body of POST /v1/embeddings.")
  .register(requestSchemas, { id: "EmbeddingRequest" });

/** A request of POST /v1/embeddings, checked; null stands for "not given". */
export type EmbeddingRequest = z.output<typeof embeddingRequestSchema>;

/**
 * @returns one request for no tokens for each input.
 * @throws ToastError `invalid_request` or `unsupported_parameter`, with the `param` at fault.
 */
export function embeddingGenerationRequests(
  request: EmbeddingRequest,
  model: ServedModel,
): readonly GenerationRequest[] {
  const { input, dimensions, steering } = request;
  const { hiddenSize } = model.base;
  if (input.length > maxInputs) {
    const message = `${input.length} inputs are more than the ${maxInputs} of one request. Send several requests.`;
    throw new ToastError("invalid_request", message, { param: "input" });
  }
  const empty = input.indexOf("");
  if (empty !== -1) {
    const param = input.length === 1 ? "input" : `input[${empty}]`;
    throw new ToastError("invalid_request", `'${param}' must not be empty: nothing can be said of no text.`, { param });
  }
  if (dimensions !== null && dimensions !== hiddenSize) {
    const message = `The vectors of '${model.id}' have ${hiddenSize} numbers, and none was trained to be cut: 'dimensions' must be ${hiddenSize}, or left out.`;
    throw new ToastError("unsupported_parameter", message, { param: "dimensions" });
  }
  if (steering?.explain === true) {
    const message = "'steering.explain' explains texts that are generated. Leave it out.";
    throw new ToastError("unsupported_parameter", message, { param: "steering.explain" });
  }
  const shared = {
    ...promptAlone,
    steering: resolveSteering(steering, model),
    pooling: request.pooling ?? "mean",
  } as const;
  return input.map((one) => ({ ...shared, prompt: enginePrompt(one, request.add_special_tokens) }));
}
