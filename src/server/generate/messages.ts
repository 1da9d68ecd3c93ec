import type { Context } from "hono";
import { type MessageOptions, message } from "../../anthropic/message.js";
import { messageFrames } from "../../anthropic/message-events.js";
import { type MessageRequest, messageGenerationRequest, parseMessageRequest } from "../../anthropic/message-request.js";
import { responseHead } from "../../openai/response-head.js";
import { readingOf } from "../../openai/tool-calls.js";
import type { ServerDeps } from "../server-deps.js";
import { type GenerationCall, type GenerationEndpoint, handleGeneration } from "./generation-endpoint.js";

/** POST /v1/messages: Anthropic's form of a conversation. */
export function handleMessages(context: Context, deps: ServerDeps): Promise<Response> {
  return handleGeneration(messages, context, deps);
}

const messages: GenerationEndpoint<MessageRequest> = {
  name: "messages",
  parse: parseMessageRequest,
  generations: (request, model) => [messageGenerationRequest(request, model)],
  head: (model, { steering }) => responseHead("msg", model, steering, new Date()),
  response: (head, output, call) => message(head, output, optionsOf(call)),
  frames: (head, call) => {
    const { promptTokens, requestId } = call;
    return messageFrames(head, { ...optionsOf(call), promptTokens, requestId });
  },
};

function optionsOf({ request, generations: [generation] }: GenerationCall<MessageRequest>): MessageOptions {
  return {
    reading: readingOf(generation),
    format: generation.calls?.format,
    stopSequences: generation.stopStrings,
    report: generation.report,
    maxTokens: request.max_tokens,
  };
}
