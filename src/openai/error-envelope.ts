import { z } from "zod";
import { type ErrorCode, type ErrorData, ToastError } from "../errors.js";
import { responseSchemas } from "./named-schemas.js";

/** Clients read all four keys of the object inside, so all four are always there. */
export const errorEnvelopeSchema = z
  .object({
    error: z.object({
      message: z.string(),
      type: z.enum(["invalid_request_error", "rate_limit_error", "server_error"]),
      param: z.string().nullable().describe("The request's field at fault, `messages[0].content` say."),
      code: z.string().nullable(),
    }),
  })
  .describe("What every refusal and failure says.")
  .register(responseSchemas, { id: "Error" });

export type ErrorEnvelope = z.output<typeof errorEnvelopeSchema>;
export type WireError = ErrorEnvelope["error"];

/** An error as the wire shows it. */
export interface HttpError {
  readonly status: 400 | 401 | 403 | 404 | 405 | 408 | 409 | 413 | 415 | 429 | 500 | 502 | 503 | 507;
  /** Seconds for the `retry-after` header, null where trying again as it stands cannot help. */
  readonly retryAfter: number | null;
  readonly envelope: ErrorEnvelope;
}

type Row = readonly [status: HttpError["status"], type: WireError["type"], retryAfter: number | null];

const badRequest: Row = [400, "invalid_request_error", null];
const ownFault: Row = [500, "server_error", null];

/**
 * The one table from error code to status. Clients retry 408, 409, 429 and everything from 500 on, so a failure that
 * would repeat itself must never be one of those. What is wrong with an adapter's files is told to whoever sent them;
 * the other codes of files can reach a client only as our own fault.
 */
const rows: Readonly<Record<ErrorCode, Row>> = {
  invalid_json: badRequest,
  invalid_request: badRequest,
  unsupported_parameter: badRequest,
  context_length_exceeded: badRequest,
  chat_template_missing: badRequest,
  chat_template_failed: badRequest,
  model_not_found: [404, "invalid_request_error", null],
  contestant_not_found: [404, "invalid_request_error", null],
  battle_not_found: [404, "invalid_request_error", null],
  ballot_invalid: [403, "invalid_request_error", null],
  already_voted: [409, "invalid_request_error", null],
  battle_changed: [409, "invalid_request_error", null],
  contestant_failed: [502, "server_error", null],
  nothing_to_judge: [502, "server_error", null],
  // Whoever runs the server has to act; the log says what is wrong.
  store_failed: [503, "server_error", 30],
  route_not_found: [404, "invalid_request_error", null],
  method_not_allowed: [405, "invalid_request_error", null],
  body_too_large: [413, "invalid_request_error", null],
  unsupported_encoding: [415, "invalid_request_error", null],
  invalid_api_key: [401, "invalid_request_error", null],
  insufficient_permissions: [403, "invalid_request_error", null],
  host_not_allowed: [403, "invalid_request_error", null],
  origin_not_allowed: [403, "invalid_request_error", null],
  // The limiter knows how long to wait, and says so itself.
  rate_limit_exceeded: [429, "rate_limit_error", null],
  // Clients are told not to try again: what took too long once will do so again.
  request_timeout: [408, "invalid_request_error", null],
  server_overloaded: [429, "rate_limit_error", 1],
  server_loading: [503, "server_error", 2],
  server_draining: [503, "server_error", 5],
  engine_failed: ownFault,
  // Another one is started within seconds.
  engine_stopped: [503, "server_error", 2],
  file_missing: badRequest,
  unsupported_architecture: ownFault,
  unsupported_rope: ownFault,
  unsupported_tokenizer: ownFault,
  invalid_config: ownFault,
  missing_tensor: badRequest,
  misshapen_tensor: badRequest,
  corrupt_safetensors: badRequest,
  corrupt_gguf: ownFault,
  not_finite_weights: badRequest,
  adapter_mismatch: badRequest,
  invalid_adapter: badRequest,
  // Not 409, which clients retry.
  adapter_exists: badRequest,
  invalid_vector: badRequest,
  vector_exists: badRequest,
  output_exists: badRequest,
  disk_full: [507, "server_error", null],
  write_failed: ownFault,
  invalid_manifest: badRequest,
  file_hash_mismatch: badRequest,
  invalid_option: ownFault,
  repository_not_found: ownFault,
  repository_denied: ownFault,
  repository_unsuitable: ownFault,
  hub_unreachable: ownFault,
  server_refused: ownFault,
  peer_failed: ownFault,
};

/**
 * @returns what the wire says of `error`, whatever was thrown. An unknown error tells a client nothing of its inside.
 */
export function toHttpError(error: unknown): HttpError {
  if (error instanceof ToastError) {
    return fromErrorData(error.toData());
  }
  return {
    status: 500,
    retryAfter: null,
    envelope: {
      error: {
        message: "The server failed while it handled this request. Its log names the cause under this x-request-id.",
        type: "server_error",
        param: null,
        code: "internal_error",
      },
    },
  };
}

function fromErrorData(data: ErrorData): HttpError {
  const [status, type, retryAfter] = rows[data.code];
  return {
    status,
    retryAfter,
    envelope: { error: { message: data.message, type, param: data.param, code: data.code } },
  };
}
