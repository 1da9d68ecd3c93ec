import { z } from "zod";
import type { GenerationRequest } from "../engine/generation-request.js";
import { callFormatOf, type ServedModel } from "../engine/served-model.js";
import { ToastError } from "../errors.js";
import type { ChatMessage } from "../text/chat-message.js";
import { generationFields, limitOf, maxTopLogprobs, parseGenerationBody, tokenLimit } from "./generation-fields.js";
import { toGenerationRequest } from "./generation-request.js";
import { list, mostItems } from "./list-fields.js";
import { requestSchemas } from "./named-schemas.js";
import { constraintFields, outputConstraint } from "./output-constraint.js";
import { ignoredParameters, only, unsupportedChatParameters, unsupportedParameters } from "./parameter-policy.js";
import { renderingFields, renderingOf } from "./rendering-fields.js";
import { field, flag, integer, optional, refuse, shownAs, text } from "./request-fields.js";
import { chatToolUse, toolFields, withTools } from "./tool-request.js";

/** Text parts join with a line break, as vLLM and llama.cpp join them. */
const partSeparator = "\n";

/**
 * One part of a message's content. Parts that are not text are known and refused, naming the part: a model that reads
 * text only must not answer as if it had seen a picture.
 */
const contentPart = z
  .object(
    { type: z.string(field("the part's type")), text: z.unknown().optional(), refusal: z.unknown().optional() },
    field("a part such as {type: 'text', text: '…'}"),
  )
  .transform((part, context) => {
    // What an earlier answer said instead of an answer: text, all the same.
    if (part.type === "refusal" && typeof part.refusal === "string") return part.refusal;
    if (part.type !== "text") {
      return refuse(
        context,
        `Content of type '${part.type.slice(0, 40)}' is not supported: this server reads text only.`,
      );
    }
    if (typeof part.text !== "string") {
      context.addIssue({ code: "custom", path: ["text"], message: "must be a string." });
      return z.NEVER;
    }
    return part.text;
  });

const contentParts = list(contentPart, {
  expected: "a string or an array of text parts",
  item: "part",
  max: mostItems,
})
  .transform((texts) => texts.join(partSeparator))
  .pipe(text());

/** A string or `[{type: "text", text}]`, for every role; flattened to one string. */
const content = shownAs(
  z.unknown().transform((value, context): string => {
    // At once: a conversation may have thousands, and as a list of one part each would cost several times as much.
    if (typeof value === "string") return value.toWellFormed();
    const parsed = contentParts.safeParse(value);
    if (parsed.success) return parsed.data;
    for (const issue of parsed.error.issues) context.addIssue({ ...issue });
    return z.NEVER;
  }),
  z.union([
    z.string(),
    z.array(
      z.union([
        z.object({ type: z.literal("text"), text: z.string() }),
        z.object({ type: z.literal("refusal"), refusal: z.string() }),
      ]),
    ),
  ]),
);

const roles = ["system", "developer", "user", "assistant", "tool"] as const;

const role = shownAs(
  z.string(field(`one of ${roles.join(", ")}`)).transform((value, context): ChatMessage["role"] => {
    switch (value) {
      case "system":
      case "user":
      case "assistant":
      case "tool":
        return value;
      case "developer":
        // No template of an open model knows this newer word for the same thing.
        return "system";
      default:
        if (value === "function") {
          return refuse(context, "Messages of role 'function' are not supported; use 'tools' and the role 'tool'.");
        }
        context.addIssue({ code: "custom", message: `must be one of ${roles.join(", ")}.` });
        return z.NEVER;
    }
  }),
  z.enum(roles),
);

/** A call as an earlier answer had it. */
const pastCall = z.object(
  {
    id: text("the call's id"),
    type: z.literal("function", field("'function'")).optional(),
    function: z.object(
      { name: text("the function's name"), arguments: text("the arguments as JSON text") },
      field("an object with `name` and `arguments`"),
    ),
  },
  field("a call such as {id, type: 'function', function: {name, arguments}}"),
);

const anyMessage = z
  // What is not named here is dropped: clients send back whole answers (`annotations: []`, `refusal: null`).
  .object(
    {
      role,
      content: content.nullish(),
      name: optional(text()).describe("Who speaks, for templates that write it."),
      tool_calls: optional(list(pastCall, { expected: "an array of calls", item: "call", max: mostItems })),
      tool_call_id: optional(text()),
      function_call: only([], "'function_call' is not supported; use 'tool_calls'."),
    },
    field("an object with `role` and `content`"),
  )
  .transform(({ role, content, name, tool_calls, tool_call_id }, context): ChatMessage => {
    const named = name === null ? {} : { name };
    if (role === "assistant" && tool_calls !== null && tool_calls.length > 0) {
      const toolCalls = tool_calls.map(({ id, function: { name, arguments: words } }) => ({
        id,
        name,
        arguments: words,
      }));
      return { role, content: content ?? "", toolCalls, ...named };
    }
    if (role === "tool" && tool_call_id === null) {
      context.addIssue({ code: "custom", path: ["tool_call_id"], message: "is missing; it must be the id of a call." });
      return z.NEVER;
    }
    // Histories of agents have turns in which nothing was said.
    if (role === "assistant") return { role, content: content ?? "", ...named };
    if (content === undefined || content === null) {
      context.addIssue({ code: "custom", path: ["content"], message: "must be a string or an array of text parts." });
      return z.NEVER;
    }
    const message = { role, content, ...named };
    return role === "tool" && tool_call_id !== null ? { ...message, toolCallId: tool_call_id } : message;
  });

const plainRoles: Readonly<Record<string, ChatMessage["role"]>> = {
  system: "system",
  developer: "system",
  user: "user",
  assistant: "assistant",
};

/** A message of a role and a text, as nearly all are; null for any other, which the schema reads. */
function plainMessage(value: unknown): ChatMessage | null {
  if (typeof value !== "object" || value === null || Object.keys(value).length !== 2) return null;
  const { role, content } = value as { role?: unknown; content?: unknown };
  if (typeof role !== "string" || typeof content !== "string" || !Object.hasOwn(plainRoles, role)) return null;
  const known = plainRoles[role];
  return known === undefined ? null : { role: known, content: content.toWellFormed() };
}

/** By hand where it is plain: by the schema, 4,000 took the thread that answers everybody tens of milliseconds. */
const message = shownAs(
  z.unknown().transform((value, context): ChatMessage => {
    const plain = plainMessage(value);
    if (plain !== null) return plain;
    const parsed = anyMessage.safeParse(value);
    if (parsed.success) return parsed.data;
    for (const issue of parsed.error.issues) context.addIssue({ ...issue });
    return z.NEVER;
  }),
  anyMessage,
);

/** Messages, and how the template writes them: the same wherever messages are taken. */
export const messageFields = {
  messages: list(message, { expected: "an array of messages", item: "message", min: 1, max: mostItems }),
  ...renderingFields,
};

export const chatCompletionRequestSchema = z
  .object(
    {
      ...generationFields,
      ...messageFields,
      max_tokens: optional(tokenLimit(1)).describe("Superseded by max_completion_tokens, which wins."),
      max_completion_tokens: optional(tokenLimit(1)).describe(
        "Tokens to write at most; default and -1: what the context has room for.",
      ),
      n_predict: optional(tokenLimit(1)).describe("llama.cpp's name of `max_tokens`."),
      logprobs: optional(flag()).describe("Whether the answer tells how likely each token was."),
      top_logprobs: optional(integer(0, maxTopLogprobs)).describe(
        "So many of the likeliest tokens at each place, too.",
      ),
      prompt_logprobs: optional(integer(0, maxTopLogprobs)).describe(
        "The same for the prompt's tokens, in vLLM's shape.",
      ),
      ...constraintFields,
      ...toolFields,
      ...ignoredParameters,
      ...unsupportedParameters,
      ...unsupportedChatParameters,
    },
    field("a JSON object"),
  )
  .describe("Body of POST /v1/chat/completions.")
  .register(requestSchemas, { id: "ChatCompletionRequest" });

/** A request of POST /v1/chat/completions, checked; null stands for "not given" as OpenAI's clients send it. */
export type ChatCompletionRequest = z.output<typeof chatCompletionRequestSchema>;

/**
 * Checks what a client sent. Knows no model: whether the adapter exists and the layers fit is decided where it is
 * known. Fields that no list names are ignored (clients add new ones all the time).
 * @throws ToastError `invalid_request` or `unsupported_parameter`, with the `param` at fault.
 */
export function parseChatCompletionRequest(body: unknown): ChatCompletionRequest {
  const request = parseGenerationBody(chatCompletionRequestSchema, body);
  if ((request.top_logprobs ?? 0) > 0 && request.logprobs !== true) {
    throw new ToastError("invalid_request", "'top_logprobs' is allowed only together with 'logprobs': true.", {
      param: "top_logprobs",
    });
  }
  return request;
}

/** @throws ToastError `invalid_request` when the request does not fit the model. */
export function chatGenerationRequest(request: ChatCompletionRequest, model: ServedModel): GenerationRequest {
  const { steering } = request;
  const format = callFormatOf(
    model,
    steering?.strength === 0 ? null : (steering?.adapter ?? model.adapter?.name ?? null),
  );
  const use = chatToolUse(request, format);
  return toGenerationRequest(request, model, {
    prompt: { kind: "chat", messages: request.messages, rendering: { ...renderingOf(request), tools: use.tools } },
    choices: request.n ?? 1,
    maxTokens: limitOf(request.max_completion_tokens ?? request.max_tokens ?? request.n_predict),
    constraint: withTools(use, outputConstraint(request)),
    format,
    tokenIds: request.return_token_ids ?? false,
    logprobs: request.logprobs === true ? (request.top_logprobs ?? 0) : null,
    promptLogprobs: request.prompt_logprobs,
  });
}
