import { z } from "zod";
import type { HttpError } from "../openai/error-envelope.js";
import { responseSchemas } from "../openai/named-schemas.js";

const errorType = z.enum([
  "invalid_request_error",
  "authentication_error",
  "permission_error",
  "not_found_error",
  "timeout_error",
  "request_too_large",
  "rate_limit_error",
  "api_error",
  "overloaded_error",
]);

export const messageErrorSchema = z
  .object({
    type: z.literal("error"),
    error: z.object({
      type: errorType,
      message: z.string(),
      details: z.object({
        error_code: z.string().nullable(),
        param: z.string().nullable().describe("The request's field at fault, `messages[0].content` say."),
      }),
    }),
    request_id: z.string(),
  })
  .describe("What every refusal and failure of Anthropic's routes says.")
  .register(responseSchemas, { id: "MessageError" });

const types: Readonly<Partial<Record<HttpError["status"], z.output<typeof errorType>>>> = {
  401: "authentication_error",
  403: "permission_error",
  404: "not_found_error",
  408: "timeout_error",
  413: "request_too_large",
  429: "rate_limit_error",
  500: "api_error",
  502: "api_error",
  503: "overloaded_error",
  507: "api_error",
};

/** An error as Anthropic's clients read it; the status stays. @param requestId that of the answer's headers */
export function messageError(
  { status, envelope: { error } }: HttpError,
  requestId: string,
): z.output<typeof messageErrorSchema> {
  const type = types[status] ?? "invalid_request_error";
  const details = { error_code: error.code, param: error.param };
  return { type: "error", error: { type, message: error.message, details }, request_id: requestId };
}
