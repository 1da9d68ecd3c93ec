/** What can go wrong, as data. No HTTP words here: the server maps each code to a status in one table. */
export type ErrorCode =
  // requests
  | "invalid_json"
  | "invalid_request"
  | "unsupported_parameter"
  | "model_not_found"
  | "context_length_exceeded"
  | "body_too_large"
  | "unsupported_encoding"
  | "route_not_found"
  | "method_not_allowed"
  | "chat_template_missing"
  | "chat_template_failed"
  // the arena
  | "contestant_not_found"
  | "contestant_failed"
  | "nothing_to_judge"
  | "battle_not_found"
  | "ballot_invalid"
  | "already_voted"
  | "battle_changed"
  | "store_failed"
  // who asks
  | "invalid_api_key"
  | "insufficient_permissions"
  | "host_not_allowed"
  | "origin_not_allowed"
  | "rate_limit_exceeded"
  // server state
  | "request_timeout"
  | "server_loading"
  | "server_draining"
  | "server_overloaded"
  | "engine_failed"
  /** The engine ended in the middle; another one is started. */
  | "engine_stopped"
  // files: converting and loading
  | "file_missing"
  | "unsupported_architecture"
  | "unsupported_rope"
  | "unsupported_tokenizer"
  | "invalid_config"
  | "missing_tensor"
  | "misshapen_tensor"
  | "corrupt_safetensors"
  | "corrupt_gguf"
  | "not_finite_weights"
  | "adapter_mismatch"
  | "invalid_adapter"
  | "adapter_exists"
  | "invalid_vector"
  | "vector_exists"
  | "output_exists"
  | "disk_full"
  | "write_failed"
  | "invalid_manifest"
  | "file_hash_mismatch"
  | "invalid_option"
  // models by name
  | "repository_not_found"
  | "repository_denied"
  | "repository_unsuitable"
  | "hub_unreachable"
  // measuring another server, or another program
  | "server_refused"
  | "peer_failed";

/**
 * A field of what the engine is asked for, as a refusal names it. What clients wrote has other names, for each endpoint
 * its own: `openai/wire-fields.ts` knows them.
 */
export type RequestField =
  | "model"
  | "prompt"
  | "prompt.messages"
  | "prompt.text"
  | "prompt.ids"
  | "prompt.rendering.continueFinalMessage"
  | "steering.adapter"
  | "sampling.logitBias"
  | "sampling.allowedTokens"
  | "stopStrings"
  | "stopTokenIds"
  | "minTokens"
  | "report.logprobs"
  | "report.promptLogprobs";

/** The same error as plain data, fit for a message between threads. */
export interface ErrorData {
  readonly code: ErrorCode;
  readonly message: string;
  /** The request field at fault, as the client wrote it (`logit_bias`), else null. */
  readonly param: string | null;
  /** The same as the engine calls it (`sampling.logitBias`), where nobody has translated it yet. */
  readonly field: RequestField | null;
}

/** An error whose message is a sentence for the person who caused it: what was wrong, the limit, what to do. */
export class ToastError extends Error {
  override readonly name = "ToastError";
  readonly code: ErrorCode;
  readonly param: string | null;
  readonly field: RequestField | null;

  constructor(
    code: ErrorCode,
    message: string,
    options: { readonly param?: string | null; readonly field?: RequestField | null; readonly cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.param = options.param ?? null;
    this.field = options.field ?? null;
  }

  toData(): ErrorData {
    return { code: this.code, message: this.message, param: this.param, field: this.field };
  }

  /** What was thrown; anything that is no ToastError counts as a failure of the engine. */
  static from(cause: unknown): ToastError {
    if (cause instanceof ToastError) return cause;
    return new ToastError("engine_failed", cause instanceof Error ? cause.message : String(cause), { cause });
  }

  static fromData({ code, message, ...at }: ErrorData): ToastError {
    return new ToastError(code, message, at);
  }
}

/** What everybody is told who asks before the models are there. @param stage how far they are, in a few words. */
export function serverLoading(stage?: string): ToastError {
  const far = stage === undefined ? "" : ` (${stage})`;
  return new ToastError("server_loading", `The server is loading${far}. Try again soon.`);
}
