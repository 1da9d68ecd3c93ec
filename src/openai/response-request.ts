import { z } from "zod";
import type { GenerationRequest } from "../engine/generation-request.js";
import { callFormatOf, type ServedModel } from "../engine/served-model.js";
import { ToastError } from "../errors.js";
import type { ChatMessage } from "../text/chat-message.js";
import { limitOf, maxTopLogprobs, samplingFields, tokenLimit } from "./generation-fields.js";
import { toGenerationRequest } from "./generation-request.js";
import { list, mostItems, table } from "./list-fields.js";
import { requestSchemas } from "./named-schemas.js";
import { constraintFields, jsonConstraint, jsonSchema, outputConstraint } from "./output-constraint.js";
import { ignoredParameters, noTokenIds, only, unsupportedParameters } from "./parameter-policy.js";
import { field, flag, integer, optional, parseBody, refuse, shownAs, text } from "./request-fields.js";
import { flatToolFields, responseToolUse, withTools } from "./tool-request.js";

const roles = ["user", "assistant", "system", "developer"] as const;

/** Parts of this kind hold text; answers that a client sends back have `output_text`. */
const textParts: ReadonlySet<string> = new Set(["input_text", "output_text", "text"]);

const contentPart = z
  .object(
    { type: z.string(field("the part's type")), text: z.unknown().optional(), refusal: z.unknown().optional() },
    field("a part such as {type: 'input_text', text: '…'}"),
  )
  .transform((part, context) => {
    if (part.type === "refusal" && typeof part.refusal === "string") return part.refusal;
    if (!textParts.has(part.type)) {
      const type = part.type.slice(0, 40);
      return refuse(context, `Content of type '${type}' is not supported: this server reads text only.`);
    }
    if (typeof part.text !== "string") {
      context.addIssue({ code: "custom", path: ["text"], message: "must be a string." });
      return z.NEVER;
    }
    return part.text;
  });

const shownPart = z.union([
  z.object({ type: z.enum(["input_text", "output_text"]), text: z.string() }),
  z.object({ type: z.literal("refusal"), refusal: z.string() }),
]);

const content = shownAs(
  z
    .preprocess(
      (value) => (typeof value === "string" ? [{ type: "input_text", text: value }] : value),
      list(contentPart, { expected: "a string or an array of text parts", item: "part", max: mostItems }).transform(
        (texts) => texts.join("\n"),
      ),
    )
    .pipe(text()),
  z.union([z.string(), z.array(shownPart)]),
);

const itemTypes = ["message", "function_call", "function_call_output", "reasoning"] as const;

/** Clients send the items of earlier answers back as they came; what is not named here is dropped. */
const knownItem = z.discriminatedUnion("type", [
  z.object({
    type: z.literal("message"),
    role: z.enum(roles, field(`one of ${roles.join(", ")}`)),
    content,
  }),
  z.object({
    type: z.literal("function_call"),
    call_id: text("the call's id"),
    name: text("the function's name"),
    arguments: text("the arguments as JSON text"),
  }),
  z.object({ type: z.literal("function_call_output"), call_id: text("the id of a call"), output: content }),
  // What another model thought: agents send it back with the rest. No template here has a place for it.
  z.object({ type: z.literal("reasoning") }),
]);

const inputItem = z.preprocess(
  // What has no type is a message.
  (value) => (isItem(value) && (value.type ?? null) === null ? { ...value, type: "message" } : value),
  z
    .looseObject({ type: z.string(field("a string")) }, field("an item such as {role: 'user', content: '…'}"))
    .superRefine(({ type }, context) => {
      if (itemTypes.some((known) => known === type)) return;
      if (type === "item_reference") {
        const message = "Nothing is stored here that 'item_reference' could name: send the item itself.";
        refuse(context, message, ["type"]);
        return;
      }
      const message = `Items of type '${type.slice(0, 40)}' are not supported: nothing is stored here, and no tools but functions are called.`;
      refuse(context, message, ["type"]);
    })
    .pipe(knownItem),
);

function isItem(value: unknown): value is { readonly type?: unknown } {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

const input = shownAs(
  z
    .preprocess(
      (value) => (typeof value === "string" ? [{ role: "user", content: value }] : value),
      list(inputItem, { expected: "a string or an array of items", item: "item", min: 1, max: mostItems }),
    )
    .transform(messagesOf),
  z.union([
    z.string(),
    z.array(
      z.union([
        z.object({
          type: z.literal("message").nullish(),
          role: z.enum(roles),
          content: z.union([z.string(), z.array(shownPart)]),
        }),
        z.object({
          type: z.literal("function_call"),
          call_id: z.string(),
          name: z.string(),
          arguments: z.string().describe("JSON text."),
        }),
        z.object({
          type: z.literal("function_call_output"),
          call_id: z.string(),
          output: z.union([z.string(), z.array(z.object({ type: z.literal("input_text"), text: z.string() }))]),
        }),
        z.object({ type: z.literal("reasoning") }).describe("Passed over."),
      ]),
    ),
  ]),
);

/** Items as the template's messages: calls belong to the assistant's message in front of them, where there is one. */
function messagesOf(items: readonly z.output<typeof knownItem>[], context: z.core.$RefinementCtx): ChatMessage[] {
  const messages: ChatMessage[] = [];
  const callIds = new Set<string>();
  for (const [at, item] of items.entries()) {
    switch (item.type) {
      case "message":
        messages.push({ role: item.role === "developer" ? "system" : item.role, content: item.content });
        break;
      case "function_call": {
        callIds.add(item.call_id);
        const last = messages.at(-1);
        const turn = last?.role === "assistant" ? last : { role: "assistant" as const, content: "" };
        if (turn === last) messages.pop();
        const call = { id: item.call_id, name: item.name, arguments: item.arguments };
        messages.push({ ...turn, toolCalls: [...(turn.toolCalls ?? []), call] });
        break;
      }
      case "function_call_output":
        if (!callIds.has(item.call_id)) {
          const message = "must be the id of a 'function_call' in front of it.";
          context.addIssue({ code: "custom", path: [at, "call_id"], message });
        }
        messages.push({ role: "tool", content: item.output, toolCallId: item.call_id });
        break;
      case "reasoning":
    }
  }
  return messages;
}

const logprobsIncluded = "message.output_text.logprobs";

/** Beside log probabilities these are parts of items that never occur here, so nothing of them is missing. */
const includable = [
  logprobsIncluded,
  "reasoning.encrypted_content",
  "file_search_call.results",
  "web_search_call.results",
  "web_search_call.action.sources",
  "message.input_image.image_url",
  "computer_call_output.output.image_url",
  "code_interpreter_call.outputs",
] as const;

const metadataText = z.string(field("a string")).max(512, "must have 512 characters at most.");
const metadata = shownAs(
  table(metadataText, "an object of strings")
    .refine(
      (labels) => Object.keys(labels).every((name) => name.length <= 64),
      "must have names of 64 characters at most.",
    )
    .refine((labels) => Object.keys(labels).length <= 16, "takes up to 16 labels."),
  z.record(z.string().max(64), metadataText),
);

/** As `response_format` of chat completions, written flat. */
const textFormat = z.discriminatedUnion(
  "type",
  [
    z.object({ type: z.literal("text") }),
    z.object({ type: z.literal("json_object"), schema: optional(jsonSchema) }),
    z.object({
      type: z.literal("json_schema"),
      /** Names nothing here; OpenAI asks for one. */
      name: optional(z.string(field("a name"))),
      description: optional(z.string(field("a string"))),
      schema: jsonSchema,
      /** The output always keeps to the schema, strictly asked for or not. */
      strict: optional(z.boolean(field("a boolean"))),
    }),
  ],
  field("{type: 'text'}, {type: 'json_object'} or {type: 'json_schema', name, schema}"),
);

const textOptions = z.object(
  {
    format: optional(textFormat),
    /** A wish, as `verbosity` of chat completions. */
    verbosity: z.unknown().optional(),
  },
  field("an object"),
);

const { metadata: _, prompt_cache_key: ___, safety_identifier: ____, ...ignored } = ignoredParameters;
/** A response has `text.format` in its place. */
const { response_format: __, ...constraints } = constraintFields;

export const responseRequestSchema = z
  .object(
    {
      ...samplingFields,
      input,
      instructions: optional(text()).describe("A system message in front of the input."),
      max_output_tokens: optional(tokenLimit(1)).describe(
        "Tokens to write at most; default and -1: what the context has room for.",
      ),
      include: optional(
        list(z.enum(includable, field(`one of ${includable.join(", ")}`)), {
          expected: "an array of strings",
          item: "string",
          max: mostItems,
        }),
      ).describe(`'${logprobsIncluded}' tells how likely each token was.`),
      top_logprobs: optional(integer(0, maxTopLogprobs)).describe(
        "So many of the likeliest tokens at each place, too.",
      ),
      metadata: optional(metadata).describe("Labels, sent back with the answer."),
      prompt_cache_key: optional(z.string(field("a string"))).describe("Sent back with the answer."),
      safety_identifier: optional(z.string(field("a string"))).describe("Sent back with the answer."),
      text: optional(textOptions),
      stream_options: optional(
        z.object({ include_obfuscation: optional(flag()).describe("There is none.") }, field("an object")),
      ),
      reasoning: optional(z.looseObject({}, field("an object"))).describe(
        "A wish of reasoning models; none is served, and no summary comes of it.",
      ),
      previous_response_id: only([], "Nothing is stored here: send the whole conversation as 'input'."),
      conversation: only([], "Nothing is stored here: send the whole conversation as 'input'."),
      background: only([false], "Answers are not generated in the background: leave 'background' out."),
      truncation: only(
        ["disabled", "auto"],
        "'truncation' must be 'disabled' or 'auto'; a conversation that is too long is refused either way.",
      ),
      prompt: only([], "Prompt templates are not stored here; send 'input'."),
      context_management: only([[]], "Contexts are not managed here; send what the model shall read."),
      ...flatToolFields,
      n: only([1], "A response has one answer."),
      max_tokens: only([], "'max_tokens' belongs to other endpoints; use 'max_output_tokens'."),
      /** Counts calls of OpenAI's own tools, of which there are none. */
      max_tool_calls: optional(integer(1)).describe("Sent back with the answer."),
      ...constraints,
      ...ignored,
      ...unsupportedParameters,
      ...noTokenIds,
    },
    field("a JSON object"),
  )
  .describe("Body of POST /v1/responses.")
  .register(requestSchemas, { id: "ResponseRequest" });

/** A request of POST /v1/responses, checked; null stands for "not given". */
export type ResponseRequest = z.output<typeof responseRequestSchema>;

/** @throws ToastError `invalid_request` or `unsupported_parameter`, with the `param` at fault. */
export function parseResponseRequest(body: unknown): ResponseRequest {
  const request = parseBody(responseRequestSchema, body);
  if ((request.top_logprobs ?? 0) > 0 && request.include?.includes(logprobsIncluded) !== true) {
    const message = `'top_logprobs' is allowed only together with 'include': ['${logprobsIncluded}'].`;
    throw new ToastError("invalid_request", message, { param: "top_logprobs" });
  }
  return request;
}

/** @throws ToastError `invalid_request` when the request does not fit the model. */
export function responseGenerationRequest(request: ResponseRequest, model: ServedModel): GenerationRequest {
  const { steering } = request;
  const format = callFormatOf(
    model,
    steering?.strength === 0 ? null : (steering?.adapter ?? model.adapter?.name ?? null),
  );
  const use = responseToolUse(request, format);
  const instructions =
    request.instructions === null ? [] : [{ role: "system" as const, content: request.instructions }];
  return toGenerationRequest(request, model, {
    prompt: {
      kind: "chat",
      messages: [...instructions, ...request.input],
      rendering: { addGenerationPrompt: true, continueFinalMessage: false, variables: {}, tools: use.tools },
    },
    choices: 1,
    maxTokens: limitOf(request.max_output_tokens),
    constraint: withTools(use, constraintOf(request)),
    format,
    logprobs: request.include?.includes(logprobsIncluded) === true ? (request.top_logprobs ?? 0) : null,
    promptLogprobs: null,
  });
}

/** @throws ToastError `invalid_request` when two fields ask. */
function constraintOf(request: ResponseRequest): GenerationRequest["constraint"] {
  const format = formatConstraint(request);
  const other = outputConstraint({ ...request, response_format: null });
  if (format !== null && other !== null) {
    const message = `'${format.param}' and '${other.param}' cannot both hold. Leave one of them out.`;
    throw new ToastError("invalid_request", message, { param: other.param });
  }
  return format ?? other;
}

function formatConstraint({ text: options }: ResponseRequest): GenerationRequest["constraint"] {
  const format = options?.format ?? null;
  return format === null || format.type === "text" ? null : jsonConstraint(format.schema, "text.format");
}
