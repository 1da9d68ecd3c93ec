import type { Context } from "hono";
import { chunkFrames } from "../../openai/answer-frames.js";
import { answerHead } from "../../openai/answer-head.js";
import { chatCompletion, chatCompletionChunks } from "../../openai/chat-completion.js";
import {
  type ChatCompletionRequest,
  chatGenerationRequest,
  parseChatCompletionRequest,
} from "../../openai/chat-completion-request.js";
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
  head: (model, { steering }) => answerHead("chatcmpl", model, steering, new Date()),
  response: (head, answer, { generations: [generation] }) =>
    chatCompletion(head, answer, generation.report, readingOf(generation)),
  frames(head, { request, generations: [generation] }) {
    const includeUsage = request.stream_options?.include_usage === true;
    const choices = request.n ?? 1;
    const options = { choices, includeUsage, report: generation.report, reading: readingOf(generation) };
    return chunkFrames(chatCompletionChunks(head, options), includeUsage);
  },
};
