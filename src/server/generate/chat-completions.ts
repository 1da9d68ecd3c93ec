import type { Context } from "hono";
import { chatCompletion, chatCompletionChunks } from "../../openai/chat-completion.js";
import {
  type ChatCompletionRequest,
  chatGenerationRequest,
  parseChatCompletionRequest,
} from "../../openai/chat-completion-request.js";
import { responseHead } from "../../openai/response-head.js";
import { chunkFrames } from "../../openai/stream-frames.js";
import { readingOf } from "../../openai/tool-calls.js";
import { type GenerationDeps, type GenerationEndpoint, handleGeneration } from "./generation-endpoint.js";

/** POST /v1/chat/completions. */
export function handleChatCompletions(context: Context, deps: GenerationDeps): Promise<Response> {
  return handleGeneration(chatCompletions, context, deps);
}

const chatCompletions: GenerationEndpoint<ChatCompletionRequest> = {
  name: "chatCompletions",
  parse: parseChatCompletionRequest,
  generations: (request, model) => [chatGenerationRequest(request, model)],
  head: (model, { steering }) => responseHead("chatcmpl", model, steering, new Date()),
  response: (head, output, { generations: [generation] }) =>
    chatCompletion(head, output, generation.report, readingOf(generation), generation.calls?.format),
  frames(head, { request, generations: [generation] }) {
    const includeUsage = request.stream_options?.include_usage === true;
    const choices = request.n ?? 1;
    const { report, calls } = generation;
    const options = { choices, includeUsage, report, reading: readingOf(generation), format: calls?.format };
    return chunkFrames(chatCompletionChunks(head, options), includeUsage);
  },
};
