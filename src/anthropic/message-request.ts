import { z } from "zod";
import type { GenerationRequest } from "../engine/generation-request.js";
import { callFormatOf, type ServedModel } from "../engine/served-model.js";
import { ToastError } from "../errors.js";
import { samplingFields } from "../openai/generation-fields.js";
import { toGenerationRequest } from "../openai/generation-request.js";
import { list, mostItems } from "../openai/list-fields.js";
import { requestSchemas } from "../openai/named-schemas.js";
import { jsonConstraint, jsonSchema } from "../openai/output-constraint.js";
import { noTokenIds, only, unsupportedParameters } from "../openai/parameter-policy.js";
import { field, integer, optional, parseBody, refuse, shownAs, text } from "../openai/request-fields.js";
import { withTools } from "../openai/tool-request.js";
import { messages, system } from "./message-content.js";
import { messageToolFields, messageToolUse } from "./message-tools.js";

/** As many as chat completions take. */
const maxStops = 64;

/** Thinking that may be left out is left out; thinking that was asked for cannot be had. */
const thinking = shownAs(
  z
    .looseObject({ type: z.string(field("a string")) }, field("an object with `type`"))
    .superRefine(({ type }, context) => {
      if (type === "disabled" || type === "adaptive") return;
      const message = `No model served here thinks: 'thinking' of type '${type.slice(0, 40)}' is not supported. Leave it out, or send {type: 'disabled'}.`;
      refuse(context, message, ["type"]);
    }),
  z.looseObject({ type: z.enum(["disabled", "adaptive"]) }),
);

const outputFormat = z.object(
  { type: z.literal("json_schema", field("'json_schema'")), schema: jsonSchema },
  field("{type: 'json_schema', schema}"),
);

const outputConfig = z.object(
  {
    format: optional(outputFormat),
    /** How much a model that thinks shall think: a wish, which no other model hears. */
    effort: z.unknown().optional(),
  },
  field("an object"),
);

/** What clears thoughts asks for nothing: none are ever read. */
const contextManagement = shownAs(
  z
    .looseObject(
      {
        edits: list(z.looseObject({ type: z.string(field("a string")) }, field("an edit")), {
          expected: "an array of edits",
          item: "edit",
          max: mostItems,
        }).nullish(),
      },
      field("an object"),
    )
    .superRefine(({ edits }, context) => {
      for (const [at, { type }] of (edits ?? []).entries()) {
        if (type.startsWith("clear_thinking_")) continue;
        const message = `Contexts are not managed here: '${type.slice(0, 40)}' is not supported. Send what the model shall read.`;
        refuse(context, message, ["edits", at, "type"]);
      }
    }),
  z.looseObject({ edits: z.array(z.looseObject({ type: z.string() })).nullish() }),
);

/** Accepted and ignored; each says why nothing of what the client may expect is lost. */
const ignored = {
  /** Names the end user for Anthropic's abuse reports; this server reports to nobody. */
  metadata: z.unknown().optional(),
  /** Hints on Anthropic's cache, which changes cost and no text; prefixes are kept here in any case. */
  cache_control: z.unknown().optional(),
  /** How fast Anthropic answers, and at what price; there is one way here, which answers say. */
  service_tier: z.unknown().optional(),
  /** Asks why a cache was missed; answers have null there. */
  diagnostics: z.unknown().optional(),
  /** Whose account it is. */
  user_profile_id: z.unknown().optional(),
  workspace_id: z.unknown().optional(),
};

const refused = {
  container: only([], "Nothing is run here: 'container' is not supported."),
  mcp_servers: only([[]], "MCP servers are not called from here: send their tools as 'tools'."),
  inference_geo: only([], "Where this server stands is not chosen by requests: leave 'inference_geo' out."),
  speed: only(["standard"], "There is one speed here: 'speed' must be 'standard'."),
  fallbacks: only([[]], "A request is answered by the model that it names: 'fallbacks' is not supported."),
  compaction: only([], "Contexts are not managed here: 'compaction' is not supported."),
  thread: only([], "Nothing is stored here: send the whole conversation as 'messages'."),
  stop: only([[]], "'stop' belongs to other endpoints; use 'stop_sequences'."),
  stop_token_ids: only([[]], "'stop_token_ids' is not supported here; use 'stop_sequences'."),
  include_stop_str_in_output: only([false], "An answer tells its 'stop_sequence' beside the text."),
  max_completion_tokens: only([], "'max_completion_tokens' belongs to other endpoints; use 'max_tokens'."),
  n: only([1], "A message has one answer."),
  max_tokens_to_sample: only([], "'max_tokens_to_sample' belongs to another endpoint; use 'max_tokens'."),
};

const { stop: _, stop_token_ids: __, include_stop_str_in_output: ___, ...sampling } = samplingFields;

export const messageRequestSchema = z
  .object(
    {
      ...sampling,
      messages,
      system: optional(system).describe("A system message in front of the others."),
      max_tokens: optional(integer(1)).describe(
        "Tokens to write at most; default, and where it is no less than the context: what the context has room for.",
      ),
      stop_sequences: optional(
        list(text().min(1, "must not be empty."), { expected: "an array of strings", item: "string", max: maxStops }),
      ),
      ...messageToolFields,
      thinking: optional(thinking).describe("No model served here thinks."),
      output_config: optional(outputConfig),
      output_format: optional(outputFormat).describe("Older name of `output_config.format`."),
      context_management: optional(contextManagement),
      ...ignored,
      ...refused,
      ...unsupportedParameters,
      ...noTokenIds,
    },
    field("a JSON object"),
  )
  .describe("Body of POST /v1/messages.")
  .register(requestSchemas, { id: "MessageRequest" });

/** A request of POST /v1/messages, checked; null stands for "not given". */
export type MessageRequest = z.output<typeof messageRequestSchema>;

/** @throws ToastError `invalid_request` or `unsupported_parameter`, with the `param` at fault. */
export function parseMessageRequest(body: unknown): MessageRequest {
  return parseBody(messageRequestSchema, body);
}

/** @throws ToastError `invalid_request` when the request does not fit the model, or contradicts itself. */
export function messageGenerationRequest(request: MessageRequest, model: ServedModel): GenerationRequest {
  const { steering, stop_sequences: stop, max_tokens: most } = request;
  const last = request.messages.at(-1);
  if (last?.role === "assistant" && last.toolCalls !== undefined) {
    const message = "The last message calls tools: send their results behind it, as blocks of type 'tool_result'.";
    throw new ToastError("invalid_request", message, { param: "messages" });
  }
  const format = callFormatOf(
    model,
    steering?.strength === 0 ? null : (steering?.adapter ?? model.adapter?.name ?? null),
  );
  const use = messageToolUse(request, format);
  const instructions = request.system === null ? [] : [{ role: "system" as const, content: request.system }];
  // The beginning of an answer that the client has written: the model goes on with it.
  const isBegun = last?.role === "assistant";
  const common = {
    ...request,
    stop,
    stop_token_ids: null,
    // Which of them ended the text is known by its end; what goes out is cut there (message-blocks.ts).
    include_stop_str_in_output: stop !== null,
  };
  return toGenerationRequest(common, model, {
    prompt: {
      kind: "chat",
      messages: [...instructions, ...request.messages],
      rendering: { addGenerationPrompt: !isBegun, continueFinalMessage: isBegun, variables: {}, tools: use.tools },
    },
    choices: 1,
    maxTokens: most === null || most >= model.base.contextLength ? null : most,
    constraint: withTools(use, constraintOf(request)),
    format,
    logprobs: null,
    promptLogprobs: null,
  });
}

/** @throws ToastError `invalid_request` when two fields ask. */
function constraintOf({
  output_config: config,
  output_format: older,
}: MessageRequest): GenerationRequest["constraint"] {
  const newer = config?.format ?? null;
  if (newer !== null && older !== null) {
    const message = "'output_config.format' and 'output_format' cannot both hold. Leave one of them out.";
    throw new ToastError("invalid_request", message, { param: "output_format" });
  }
  const format = newer ?? older;
  return format === null
    ? null
    : jsonConstraint(format.schema, newer === null ? "output_format" : "output_config.format");
}
