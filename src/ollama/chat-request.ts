import { z } from "zod";
import type { GenerationRequest } from "../engine/generation-request.js";
import { callFormatOf, type ServedModel } from "../engine/served-model.js";
import { toGenerationRequest } from "../openai/generation-request.js";
import { requestSchemas } from "../openai/named-schemas.js";
import { field, optional, parseBody, shownAs, text } from "../openai/request-fields.js";
import { chatToolUse, toolFields, withTools } from "../openai/tool-request.js";
import type { ChatMessage, ToolCall } from "../text/chat-message.js";
import { constraintOf, generatingFields, imagesField, maxTokensOf, samplingOf, streamed } from "./request-options.js";

const roles = ["system", "user", "assistant", "tool"] as const;

const call = z.object(
  {
    id: optional(text("the call's id")),
    function: z.object(
      { name: text("the function's name"), arguments: z.looseObject({}, field("an object")) },
      field("an object with `name` and `arguments`"),
    ),
  },
  field("a call such as {function: {name, arguments}}"),
);

const message = z.object(
  {
    role: z.enum(roles, field(`one of ${roles.join(", ")}`)),
    content: optional(text()),
    images: imagesField,
    tool_calls: optional(z.array(call, field("an array of calls"))),
    tool_name: optional(text()).describe("Of a result: whose it is; default: the first call without one."),
    tool_call_id: optional(text()),
    /** What another model thought: no chat template served here has a place for it. */
    thinking: z.unknown().optional(),
  },
  field("an object with `role` and `content`"),
);

/** Calls without ids: a result belongs to the first call of its name that has none yet. */
const messages = shownAs(
  z
    .array(message, field("an array of messages"))
    .min(1, "must hold at least one message.")
    .transform((sent, context): readonly ChatMessage[] => {
      const open: ToolCall[] = [];
      let calls = 0;
      return sent.map(({ role, content, ...one }, at): ChatMessage => {
        if (role === "assistant" && one.tool_calls !== null && one.tool_calls.length > 0) {
          const toolCalls = one.tool_calls.map(({ id, function: { name, arguments: words } }) => ({
            id: id ?? `call_${calls++}`,
            name,
            arguments: JSON.stringify(words),
          }));
          open.push(...toolCalls);
          return { role, content: content ?? "", toolCalls };
        }
        if (role !== "tool") return { role, content: content ?? "" };
        const { tool_call_id: id, tool_name: name } = one;
        const found = open.findIndex((known) => (id === null ? name === null || known.name === name : known.id === id));
        const [answered] = found === -1 ? [] : open.splice(found, 1);
        if (answered === undefined) {
          context.addIssue({ code: "custom", path: [at], message: "is the result of no call in front of it." });
          return z.NEVER;
        }
        return { role, content: content ?? "", toolCallId: answered.id };
      });
    }),
  z.array(message).min(1),
);

export const ollamaChatRequestSchema = z
  .object({ ...generatingFields, messages, tools: toolFields.tools }, field("a JSON object"))
  .describe("Body of POST /api/chat.")
  .register(requestSchemas, { id: "OllamaChatRequest" });

/** A request of POST /api/chat, checked; null stands for "not given". */
export type OllamaChatRequest = z.output<typeof ollamaChatRequestSchema>;

/** @throws ToastError `invalid_request` or `unsupported_parameter`, with the `param` at fault. */
export function parseOllamaChatRequest(body: unknown): OllamaChatRequest {
  return streamed(parseBody(ollamaChatRequestSchema, body));
}

/** @throws ToastError `invalid_request` when the request does not fit the model. */
export function ollamaChatGeneration(request: OllamaChatRequest, model: ServedModel): GenerationRequest {
  const { steering } = request;
  const adapter = steering?.strength === 0 ? null : (steering?.adapter ?? model.adapter?.name ?? null);
  const format = callFormatOf(model, adapter);
  const use = chatToolUse({ tools: request.tools, tool_choice: null, parallel_tool_calls: null }, format);
  // A beginning of the answer: the model goes on with it, as Ollama has it.
  const isBegun = request.messages.at(-1)?.role === "assistant";
  return toGenerationRequest(samplingOf(request, model), model, {
    prompt: {
      kind: "chat",
      messages: request.messages,
      rendering: { addGenerationPrompt: !isBegun, continueFinalMessage: isBegun, variables: {}, tools: use.tools },
    },
    choices: 1,
    maxTokens: maxTokensOf(request),
    constraint: withTools(use, constraintOf(request)),
    format,
    logprobs: null,
    promptLogprobs: null,
  });
}
